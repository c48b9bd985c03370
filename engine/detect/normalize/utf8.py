"""UTF-8 and canonical composition, one code point at a time, as kernels call them."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def decode_at(src, i, stop):  # type: ignore[no-untyped-def]
    """The code point at ``i`` and its length in bytes; (-1, 1) where the bytes are not UTF-8 (RFC 3629)."""
    b = np.int64(src[i])
    if b < 0x80:
        return b, 1
    if b < 0xC2 or b > 0xF4:
        return np.int64(-1), 1
    size = 2 if b < 0xE0 else (3 if b < 0xF0 else 4)
    if i + size > stop:
        return np.int64(-1), 1
    code = b & (0x7F >> size)
    for k in range(1, size):
        c = np.int64(src[i + k])
        if c & 0xC0 != 0x80:
            return np.int64(-1), 1
        code = code << 6 | (c & 0x3F)
    if (size == 3 and (code < 0x800 or 0xD800 <= code <= 0xDFFF)) or (
        size == 4 and (code < 0x10000 or code > 0x10FFFF)
    ):
        return np.int64(-1), 1
    return code, size


@njit(cache=True, nogil=True)
def put(out, starts, ends, o, code, start, end):  # type: ignore[no-untyped-def]
    """Write ``code`` as UTF-8 at ``o``; returns the place after it."""
    if code < 0x80:
        out[o] = code
        size = 1
    elif code < 0x800:
        out[o] = 0xC0 | code >> 6
        out[o + 1] = 0x80 | code & 0x3F
        size = 2
    elif code < 0x10000:
        out[o] = 0xE0 | code >> 12
        out[o + 1] = 0x80 | code >> 6 & 0x3F
        out[o + 2] = 0x80 | code & 0x3F
        size = 3
    else:
        out[o] = 0xF0 | code >> 18
        out[o + 1] = 0x80 | code >> 12 & 0x3F
        out[o + 2] = 0x80 | code >> 6 & 0x3F
        out[o + 3] = 0x80 | code & 0x3F
        size = 4
    for k in range(o, o + size):
        starts[k] = start
        ends[k] = end
    return o + size


@njit(cache=True, nogil=True)
def compose(pairs, composed, first, mark):  # type: ignore[no-untyped-def]
    """What ``first`` and ``mark`` compose to, -1 when they stay apart: Hangul by arithmetic (Unicode Standard, 3.12),
    everything else from the sorted ``pairs`` of `aimds.detect.normalize.folding_table.Table`.
    """
    if 0x1100 <= first < 0x1113 and 0x1161 <= mark < 0x1176:
        return 0xAC00 + ((first - 0x1100) * 21 + (mark - 0x1161)) * 28
    if 0xAC00 <= first < 0xD7A4 and (first - 0xAC00) % 28 == 0 and 0x11A7 < mark < 0x11C3:
        return first + (mark - 0x11A7)
    key = np.uint64(first) << np.uint64(21) | np.uint64(mark)
    low, high = 0, len(pairs)
    while low < high:
        middle = (low + high) >> 1
        if pairs[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < len(pairs) and pairs[low] == key:
        return np.int64(composed[low])
    return np.int64(-1)
