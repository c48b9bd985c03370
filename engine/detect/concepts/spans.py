"""Where the words of folded text stand."""

from __future__ import annotations

from typing import Any, Final, cast

import numpy as np
from numba import njit

lean: Final[Any] = cast(Any, njit)(cache=True, nogil=True, _nrt=False)
"""Decorator: compiled without a count of who holds an array, so such a function can allocate none."""
_ASCII: Final = np.array([3 if byte >= 128 else 0 if chr(byte).isalnum() else 2 for byte in range(256)], np.uint8)
# Kind of the character that a byte is; 3 where more bytes must be read.


@lean
def kind_at(values, i, stop):  # type: ignore[no-untyped-def]
    """Kind of the character at ``i`` and its bytes: 0 of a word, 1 of a script without spaces, 2 between words."""
    first = values[i]
    if first < 0x80:
        lower = first | 32
        return (0 if 97 <= lower <= 122 or 48 <= first <= 57 else 2), 1
    second = values[i + 1] if i + 1 < stop else np.uint8(0)
    if first < 0xE0:
        other = first == 0xC2 or (first == 0xD8 and (second == 0x8C or second == 0x9B or second == 0x9F))
        return (2 if other else 0), 2
    third = values[i + 2] if i + 2 < stop else np.uint8(0)
    if first < 0xF0:
        if first == 0xE0:
            if second == 0xB8 or second == 0xB9:
                return 1, 3
            return (2 if second == 0xA5 and (third == 0xA4 or third == 0xA5) else 0), 3
        if first == 0xE2:
            return 2, 3
        if first == 0xE3:
            return (2 if second == 0x80 and third != 0x85 else 1), 3
        if first <= 0xE9:
            return 1, 3
        return (2 if first == 0xEF and second >= 0xB8 else 0), 3
    return (1 if first == 0xF0 and second >= 0xA0 else 2), 4


@lean
def words(values, begin, stop, spans, kinds, linked):  # type: ignore[no-untyped-def]
    """Fills ``spans`` int64 (T, 2) with the words of ``values[begin:stop]`` and returns how many these are.

    A stretch of a script without spaces is one word, its ``kinds`` uint8 (T,) 1. ``linked`` bool (T,): nothing but
    spaces, apostrophes and hyphens stands between it and the word before.
    """
    count, i, near = 0, begin, True
    while i < stop:
        kind, size = np.int64(_ASCII[values[i]]), 1
        if kind == 3:
            kind, size = kind_at(values, i, stop)
        if kind == 2:
            near &= values[i] == 32 or values[i] == 39 or values[i] == 45
            i += size
            continue
        spans[count, 0] = i
        i = min(i + size, stop)
        while i < stop:
            other, size = np.int64(_ASCII[values[i]]), 1
            if other == 3:
                other, size = kind_at(values, i, stop)
            if other != kind:
                break
            i = min(i + size, stop)
        spans[count, 1], kinds[count], linked[count] = i, kind, near
        near = True
        count += 1
    return count
