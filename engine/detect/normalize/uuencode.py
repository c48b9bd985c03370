"""Uuencode and its variant xxencode, with or without the frame of ``begin`` and ``end``.

A line begins with the digit for the number of bytes it holds, then comes base 64 in an alphabet of its own. That the
length of a line fits its first digit is what tells it from prose. Source: POSIX.1-2024, uuencode.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from aimds.detect.normalize.digits import VALUES_UU
from aimds.detect.normalize.heads import printable
from aimds.detect.normalize.proposals import Proposal, Text, Trust

MIN_LINE, MAX_LINE = 17, 63
"""Characters of a line of a text that is looked at, with a carriage return."""
VARIANTS = len(VALUES_UU)
MAX_TEXTS = 1024
"""Encoded texts of one row that are looked at."""


@njit(cache=True, nogil=True)
def line_bytes(src, start, stop, variant):  # type: ignore[no-untyped-def]
    """Bytes that the line ``src[start:stop]`` holds in alphabet ``variant``, 0 where it is no such line."""
    size = stop - start - 1
    if size < 2:
        return 0
    n = np.int64(VALUES_UU[variant, src[start]])
    if not 0 < n <= 45:
        return 0
    # Blanks that end the last group may have been cut off, and a check sign may stand behind it.
    if not (n - 1) * 8 // 6 < size <= (n + 2) // 3 * 4 + 1:
        return 0
    for i in range(start + 1, stop):
        if VALUES_UU[variant, src[i]] > 63:
            return 0
    return n


@njit(cache=True, nogil=True)
def variant_of(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """The alphabet in which the line ``src[start:stop]`` holds text, -1 for none."""
    if stop > start and src[stop - 1] == 13:
        stop -= 1
    if not MIN_LINE <= stop - start < MAX_LINE:
        return -1
    for variant in range(VARIANTS):
        n = line_bytes(src, start, stop, variant)
        if n:
            n = min(n, len(buffer))
            for k in range(n):
                buffer[k] = _byte(src, start + 1, stop, k, variant)
            if printable(buffer, n):
                return variant
    return -1


@njit(cache=True, nogil=True)
def _byte(src, start, stop, k, variant):  # type: ignore[no-untyped-def]
    # Byte k of the digits src[start:stop]; a digit that is missing is 0.
    at = start + k * 8 // 6
    high = np.int64(VALUES_UU[variant, src[at]])
    low = np.int64(VALUES_UU[variant, src[at + 1]]) if at + 1 < stop else np.int64(0)
    left = 6 - k * 8 % 6
    return (high << 6 | low) >> (left - 2) & 0xFF


@njit(cache=True, nogil=True)
def _decode(src, limit, most):  # type: ignore[no-untyped-def]
    # Every encoded text: bytes, for each the first and last place of its digits, and (T,) where texts end; whether
    # ``limit`` bytes or ``most`` texts cut something off.
    out = np.empty(limit, np.uint8)
    first = np.empty(limit, np.int64)
    last = np.empty(limit, np.int64)
    ends = np.empty(most, np.int64)
    buffer = np.empty(24, np.uint8)
    n = texts = start = 0
    variant = -1
    while start < len(src):
        stop = start
        while stop < len(src) and src[stop] != 10:
            stop += 1
        after = stop + 1
        if stop > start and src[stop - 1] == 13:
            stop -= 1
        size = line_bytes(src, start, stop, variant) if variant >= 0 else 0
        if size == 0:
            if variant >= 0:
                ends[texts] = n
                texts += 1
            variant = variant_of(src, start, stop, buffer)
            if variant >= 0:
                if texts == most:
                    return out[:n], first[:n], last[:n], ends[:texts], True
                size = line_bytes(src, start, stop, variant)
        if size > limit - n:
            ends[texts] = n
            return out[:n], first[:n], last[:n], ends[: texts + 1], True
        for k in range(size):
            out[n] = _byte(src, start + 1, stop, k, variant)
            first[n] = start + 1 + k * 8 // 6
            last[n] = min(first[n] + 1, stop - 1)
            n += 1
        start = after
    if variant >= 0:
        ends[texts] = n
        texts += 1
    return out[:n], first[:n], last[:n], ends[:texts], False


def uuencode(source: Text, limit: int) -> Iterator[Proposal]:
    """Lines that each say how long they are, joined where they follow one another."""
    values, first, last, ends, cut = _decode(source.values, limit, MAX_TEXTS)
    start = 0
    for end in ends.tolist():
        if end > start:
            text = source.take(values[start:end], first[start:end], last[start:end])
            yield Proposal("uuencode", text, Trust.LETTERS, cut)
        start = end
