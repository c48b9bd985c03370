"""Which of the alignments of a window are candidates for a match, and which of these are kept.

In compiled code, window by window: for a single prompt a call of NumPy costs more than its work.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def margins(window, pattern, distance, limits, slack, margin, best):  # type: ignore[no-untyped-def]
    """Which of C alignments have a margin above 0, int64, and these margins, float32.

    Of the others each window's highest, down to minus ``slack``, goes into ``margin`` float32 (W,), its pattern into
    ``best`` int32 (W,). ``window``, ``pattern`` int32 (C,), ``distance`` float32 (C,), ``limits`` float32 (P,).
    """
    above, strength, found = np.empty(len(window), np.int64), np.empty(len(window), np.float32), 0
    for k in range(len(window)):
        w, p = window[k], pattern[k]
        near = min(max(np.float32(1) - distance[k] / limits[p], np.float32(-1)), np.float32(1))
        near = near if near >= -slack else np.float32(-1)
        if near > 0:
            above[found], strength[found] = k, near
            found += 1
        elif near > margin[w] or (near == margin[w] and p < best[w]):
            margin[w], best[w] = near, p
    return above[:found], strength[:found]


@njit(cache=True, nogil=True)
def strongest(window, pattern, strength, windows, most):  # type: ignore[no-untyped-def]
    """Places of the ``most`` strongest of each of W ``windows``, int64: windows ascending, the strongest of each first,
    of equals the first pattern. ``window``, ``pattern`` int32 (K,), ``strength`` float32 (K,)."""
    top, held = np.empty((windows, most), np.int64), np.zeros(windows, np.int64)
    for k in range(len(window)):
        w = window[k]
        at = held[w]
        while at > 0:
            before = top[w, at - 1]
            if strength[k] < strength[before] or (strength[k] == strength[before] and pattern[k] > pattern[before]):
                break
            if at < most:
                top[w, at] = before
            at -= 1
        if at < most:
            top[w, at] = k
            held[w] = min(held[w] + 1, most)
    out, n = np.empty(held.sum(), np.int64), 0
    for w in range(windows):
        for at in range(held[w]):
            out[n] = top[w, at]
            n += 1
    return out


@njit(cache=True, nogil=True)
def kept(window, pattern, strength, sure, most, margin, best):  # type: ignore[no-untyped-def]
    """Places of the first ``most`` of each window that are ``sure`` bool (K,), int64, of K candidates in the order of
    `strongest`.

    The first of these goes into ``margin`` and ``best`` as in `margins`, or, where none is sure, 0 and the first.
    """
    out, n, of_window = np.empty(len(window), np.int64), 0, 0
    for k in range(len(window)):
        w = window[k]
        if k == 0 or w != window[k - 1]:
            margin[w], best[w], of_window = 0.0, pattern[k], 0
        if sure[k] and of_window < most:
            if of_window == 0:
                margin[w], best[w] = strength[k], pattern[k]
            out[n] = k
            n, of_window = n + 1, of_window + 1
    return out[:n]
