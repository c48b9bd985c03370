"""Screeners for scans that run in processes of their own."""

from __future__ import annotations

import pyarrow as pa
from fake_screener import FakeScreener


def slow() -> FakeScreener:
    """Takes a moment for each batch, so that there is time to be killed."""
    return FakeScreener(delay_s=0.01)


class _Chatty(FakeScreener):
    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        print('{"kind": "done", "value": {}}', flush=True)
        return super().screen_batch(batch)


def chatty() -> FakeScreener:
    """Prints what could be taken for an answer."""
    return _Chatty()
