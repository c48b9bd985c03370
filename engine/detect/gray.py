"""Which texts, and which windows of them, the deep stage judges.

In profile ``cascade`` it sees the gray zone: texts that the stages before it find unusual, but not so much that they
are certain to be blocked. In ``full`` it sees every text. Of a long text it sees the windows the linear heads rank
highest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aimds.detect.classifier import ATTACK, INDIRECT
from aimds.detect.features import Windows

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PROFILES = ("fast", "cascade", "full")
GRAY = 0.2
"""Texts with a p-value up to this are in the gray zone, where nothing else is said."""
CERTAIN = 1e-4
"""Texts with a p-value up to this are certain without the deep stage."""
MAX_WINDOWS = 4
"""Windows of one text the deep stage sees."""


def rows(profile: str, p_value: F64, gray: float) -> Rows:
    """Rows the deep stage judges, ascending, from the fused ``p_value`` float64 (B,) of the stages before it."""
    if profile == "full":
        return np.arange(len(p_value))
    return np.flatnonzero((p_value <= gray) & (p_value > CERTAIN)) if profile == "cascade" else np.zeros(0, np.int64)


def windows(pieces: Windows, logits: F32, chosen: Rows, untrusted: npt.NDArray[np.bool_]) -> Rows:
    """Windows to judge, at most MAX_WINDOWS of each row of ``chosen``, in order of the rows and best first.

    ``logits`` float32 (W, H) are those of the linear heads, ``untrusted`` bool (B,) of all rows.
    """
    row = pieces.row
    mine = np.flatnonzero(np.isin(row, chosen))
    rank = logits[mine, ATTACK]
    rank = np.where(untrusted[row[mine]], np.maximum(rank, logits[mine, INDIRECT]), rank)
    order = mine[np.lexsort((mine, -rank, row[mine]))]
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    return np.asarray(order[place < MAX_WINDOWS], np.int64)
