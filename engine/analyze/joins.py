"""Turns joined with those that came before them: a payload in pieces stands whole in what they make together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze import traces
from aimds.detect.texts import Texts

STITCH_BYTES: Final = 1024
"""So much of what came in before is joined to a new turn; one of as many bytes or more is not joined."""
F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Judged = Callable[[pa.Array, Ints], F64]
"""From joined texts (large_string) and their rows, int64 (N,), to their surprises, float64 (N,)."""


def tails(capacity: int) -> dict[str, npt.NDArray[Any]]:
    """What is kept of the texts of ``capacity`` sessions: ``tails`` uint8 (capacity, STITCH_BYTES), ``tail_sizes``
    int32 (capacity,)."""
    return {"tails": np.zeros((capacity, STITCH_BYTES), np.uint8), "tail_sizes": np.zeros(capacity, np.int32)}


def surprises(
    kept: dict[str, npt.NDArray[Any]], slots: Ints, counted: npt.NDArray[np.uint8], texts: Texts, judged: Judged
) -> F64:
    """Surprise of each of B rows with what came before it, float64 (B,), not a number where there is nothing to join.

    Rows come one after another; ``kept``, as `tails` makes it, goes on. ``slots`` int64 (B,): their sessions ·
    ``counted`` uint8 (B,): whether the row is a turn that was not there yet. Of ``texts`` the last STITCH_BYTES are
    enough.
    """
    out = np.empty(len(slots) * (2 * STITCH_BYTES + 1), np.uint8)
    offsets = np.empty(len(slots) + 1, np.int64)
    size = traces.stitched(kept["tails"], kept["tail_sizes"], slots, counted, texts.values, texts.offsets, out, offsets)
    joined = np.full(len(slots), np.nan)
    rows = np.flatnonzero(np.diff(offsets) > 0)
    if len(rows):
        whole = pa.LargeStringArray.from_buffers(len(slots), pa.py_buffer(offsets), pa.py_buffer(out[:size]))
        joined[rows] = judged(whole.take(pa.array(rows)), rows)
    return joined
