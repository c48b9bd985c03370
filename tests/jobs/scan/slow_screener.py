"""Screeners for scans that run in processes of their own."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
from fake_screener import FakeScreener

LONG_S = 30.0


def slow() -> FakeScreener:
    """Takes a moment for each batch, so that there is time to be killed."""
    return FakeScreener(delay_s=0.01)


def first_only(flag: str) -> FakeScreener:
    """The first is made at once; others are long in the making, and then cannot be made. ``flag``: a file."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        time.sleep(LONG_S)
        raise
    return FakeScreener()


class _Chatty(FakeScreener):
    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        print('{"kind": "done", "value": {}}', flush=True)
        return super().screen_batch(batch)


def chatty() -> FakeScreener:
    """Prints what could be taken for an answer."""
    return _Chatty()
