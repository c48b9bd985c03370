"""Steps of fusion, and of what follows it, over rows in compiled code: for a batch of one row a call of NumPy costs
more than its work.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def row_highest(scores, out):  # type: ignore[no-untyped-def]
    """The highest of each row of ``scores`` float32 (B, K), into ``out`` float32 (B,); what is not a number wins."""
    for row in range(len(scores)):
        out[row] = scores[row, 0]
        for k in range(1, scores.shape[1]):
            if scores[row, k] > out[row] or np.isnan(scores[row, k]):
                out[row] = scores[row, k]


@njit(cache=True, nogil=True)
def any_above(values, least):  # type: ignore[no-untyped-def]
    """Whether any of ``values`` (B,) is above ``least``."""
    found = False
    for k in range(len(values)):
        found |= values[k] > least
    return found


@njit(cache=True, nogil=True)
def any_bit(flags, bits):  # type: ignore[no-untyped-def]
    """Whether any of ``flags`` uint32 (B,) has one of ``bits``."""
    found = False
    for k in range(len(flags)):
        found |= flags[k] & bits != 0
    return found


@njit(cache=True, nogil=True)
def logistic(p, slope, intercept, out):  # type: ignore[no-untyped-def]
    """The logistic function of ``p`` float64 (B,), its log10 times ``slope`` less ``intercept``, into ``out`` float32
    (B,)."""
    for k in range(len(p)):
        out[k] = rises(p[k], slope, intercept)


@njit(cache=True, nogil=True)
def rises(p, slope, intercept):  # type: ignore[no-untyped-def]
    """The logistic function of one ``p``, which rises as ``p`` falls."""
    return 1.0 / (1.0 + np.exp(slope * np.log10(p) - intercept))


@njit(cache=True, nogil=True)
def fill(columns, threat, scores, truncated, flags, valid, states, notable, numbers):  # type: ignore[no-untyped-def]
    """Writes the columns of `aimds.detect.stages.Scores` into ``numbers``; returns how many rows are not finite, were
    cut, are not UTF-8, are notable, are null."""
    places, threat_at, status_at, first, ok, partial, invalid = states
    unfit = cut = broken = special = null = 0
    for row in range(len(numbers)):
        mine = numbers[row]
        mine[places[0]], mine[places[1]] = columns[0][row], columns[1][row]
        mine[places[2]], mine[places[3]], mine[places[4]] = columns[2][row], columns[3][row], columns[4][row]
        mine[threat_at] = threat[row]
        wrong = flags[row] & invalid != 0
        mine[status_at] = partial if truncated[row] or wrong else ok
        for code in range(scores.shape[1]):
            mine[first + code] = scores[row, code]
        finite = True
        for column in range(numbers.shape[1]):
            finite &= np.isfinite(mine[column])
        unfit += not finite
        cut += truncated[row]
        broken += wrong
        special += columns[0][row] <= notable
        null += not valid[row]
    return unfit, cut, broken, special, null
