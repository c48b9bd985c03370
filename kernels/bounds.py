"""Bounds of integers, for `aimds.kernels.ragged`: one way through, ended early where it can be."""

from __future__ import annotations

from numba import njit

from aimds.kernels.ragged import OUTSIDE


@njit(cache=True, nogil=True)
def falls_below(values, low):  # type: ignore[no-untyped-def]
    k = 0
    while k < len(values) and values[k] >= low:
        k += 1
    return k < len(values)


@njit(cache=True, nogil=True)
def fall(offsets, size):  # type: ignore[no-untyped-def]
    # Row of the first fall in ``offsets`` int64 (B+1,), -1 where there is none, OUTSIDE where they leave 0 .. size.
    if offsets[0] < 0 or offsets[-1] > size:
        return OUTSIDE
    for row in range(len(offsets) - 1):
        if offsets[row + 1] < offsets[row]:
            return row
    return -1


@njit(cache=True, nogil=True)
def lies(values, low, high):  # type: ignore[no-untyped-def]
    inside = True
    for k in range(len(values)):
        inside &= low <= values[k] <= high
    return inside


@njit(cache=True, nogil=True)
def longest(offsets):  # type: ignore[no-untyped-def]
    # Values of the longest row of ``offsets`` int64 (B+1,), 0 where there is none.
    most = 0
    for row in range(len(offsets) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    return most
