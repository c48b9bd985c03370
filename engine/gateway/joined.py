"""Turns of a session that are judged together with those before them: a payload may come in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa


class Joined:
    """Judges joined turns by the screener in force, which ``screener`` gives.

    A joined text at which it fails shows nothing, whatever stands beside it: its turns were judged one by one all the
    same. ``say`` is told.
    """

    def __init__(self, screener: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._screener, self._say = screener, say

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """REQUESTS in, VERDICTS out: same rows, same order."""
        screener = self._screener()
        try:
            found: pa.RecordBatch = screener.screen_batch(batch)
        except Exception as error:
            if batch.num_rows == 1:
                problem = f"{type(error).__name__}: {error}"
                self._say(f"joined turns of a session could not be judged: {problem[:200]}")
                unjudged: pa.RecordBatch = screener.unjudged(batch, problem)
                return unjudged
            half = batch.num_rows // 2
            parts = [self.screen_batch(batch.slice(0, half)), self.screen_batch(batch.slice(half))]
            return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
        return found
