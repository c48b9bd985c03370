"""Where alignments begin: the way back from the end of a match, for many windows and one pattern at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def starts(  # type: ignore[no-untyped-def]
    tokens: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    ends: Any,  # int32 (B,): last token of the match, counted in the row
    local: Any,  # int32: row of the cost table of each token
    cost: Any,  # uint8 (V, L, LANES)
    lane: Any,
):
    # D of `kernels.subsequence_dtw` and, as second key, the latest start among the paths that cost D.
    length = cost.shape[1]
    spent = np.empty(length, np.int64)
    begun = np.empty(length, np.int64)
    out = np.empty(len(ends), np.int32)
    for row in range(len(ends)):
        spent[:] = 1 << 40
        begun[:] = -1
        for i in range(ends[row] + 1):
            costs = cost[local[tokens[offsets[row] + i]]]
            corner, corner_start = np.int64(0), i
            left, left_start = np.int64(0), i
            for j in range(length):
                up, up_start = spent[j], begun[j]
                least, start = corner, corner_start
                if up < least or (up == least and up_start > start):
                    least, start = up, up_start
                if left < least or (left == least and left_start > start):
                    least, start = left, left_start
                corner, corner_start = up, up_start
                left, left_start = least + np.int64(costs[j, lane]), start
                spent[j], begun[j] = left, start
        out[row] = begun[length - 1]
    return out
