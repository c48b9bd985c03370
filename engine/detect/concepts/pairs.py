"""What the heads over concepts see: the concepts of a window, and the pairs of them that stand near each other."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

LONE: Final = 255
"""Stands for the second concept in the feature of a concept alone."""
FEATURES: Final = 1 << 16
SPREAD: Final = np.uint32(0x9E3779B1)


@njit(cache=True, nogil=True)
def features(concept, offsets, reach):  # type: ignore[no-untyped-def]
    """Concepts, and pairs of them at most ``reach`` apart in either order, of each of W windows.

    Returns:
        CSR: indptr int64 (W+1,), indices int32 (Z,) and counts float32 (Z,). A pair (a, b), a <= b, is 256 a + b, a
        concept alone 256 a + LONE.
    """
    room, most = len(concept) * (reach + 1), np.int64(0)
    for w in range(len(offsets) - 1):
        most = max(most, offsets[w + 1] - offsets[w])
    bits = 4
    while 1 << bits < min(2 * most * (reach + 1), FEATURES):
        bits += 1
    # Each feature of a window has a slot of its own: what stands there from the windows before is free.
    place = np.full(1 << bits, -1, np.int64)
    shift, mask = np.uint32(32 - bits), np.int64((1 << bits) - 1)
    indices, counts = np.empty(room, np.int32), np.empty(room, np.float32)
    indptr = np.zeros(len(offsets), np.int64)
    n = 0
    for w in range(len(offsets) - 1):
        first = n
        for i in range(offsets[w], offsets[w + 1]):
            for j in range(i, min(i + reach + 1, offsets[w + 1])):
                a, b = np.int64(concept[i]), np.int64(concept[j])
                if j == i:
                    b = np.int64(LONE)
                elif a > b:
                    a, b = b, a
                at = a * 256 + b
                slot = np.int64(np.uint32(np.uint32(at) * SPREAD) >> shift)
                while place[slot] >= first and indices[place[slot]] != at:
                    slot = (slot + 1) & mask
                if place[slot] < first:
                    place[slot] = n
                    indices[n], counts[n] = at, 1.0
                    n += 1
                else:
                    counts[place[slot]] += 1.0
        indptr[w + 1] = n
    return indptr, indices[:n].copy(), counts[:n].copy()
