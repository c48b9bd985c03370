"""Punycode, marked with ``xn--`` word by word or as a whole, or bare: decoded in place. Source: RFC 3492.

Each code point beyond ASCII is one number behind the last hyphen, which says how far on it is put in. The places are
found from the last to the first, each among those still free, so that a long text takes hardly longer a character.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from aimds.detect.normalize.digits import VALUES_36
from aimds.detect.normalize.escapes import Unescaped
from aimds.detect.normalize.heads import MIN_TAIL, in_label, is_mark, tail
from aimds.detect.normalize.proposals import Proposal, Text, Trust
from aimds.detect.normalize.utf8 import put

MAX_WORD, MAX_LABEL = 128, 1024
"""Bytes of a marked word up to the next blank, and up to the next sign that no domain name holds."""
MAX_WHOLE = 1 << 19
"""Bytes of a text that is decoded as a whole."""
_TOO_FAR = 1 << 40


@njit(cache=True, nogil=True)
def _decode(src, start, stop, codes, first, last):  # type: ignore[no-untyped-def]
    # Code points of the Punycode src[start:stop], written with the places behind each; their number, -1 for none.
    at = stop
    while at > start and src[at - 1] != 45:
        at -= 1
    basic = max(0, at - 1 - start)
    for k in range(start, start + basic):
        if src[k] >= 0x80:
            return -1
    room = stop - at
    place, code = np.empty(room, np.int64), np.empty(room, np.int64)
    begin, end = np.empty(room, np.int64), np.empty(room, np.int64)
    n, i, bias, count = 128, 0, 72, 0
    while at < stop:
        begin[count] = at
        old, weight, k = i, 1, 36
        while True:
            digit = int(VALUES_36[src[at]]) if at < stop else 255
            at += 1
            i += digit * weight
            if digit > 35 or i > _TOO_FAR:
                return -1
            least = min(max(k - bias, 1), 26)
            if digit < least:
                break
            weight *= 36 - least
            k += 36
            if weight > _TOO_FAR:
                return -1
        size = basic + count + 1
        delta = (i - old) // (700 if old == 0 else 2)
        delta += delta // size
        bias = 0
        while delta > 455:
            delta //= 35
            bias += 36
        bias += 36 * delta // (delta + 38)
        n += i // size
        i %= size
        if n > 0x10FFFF or 0xD800 <= n < 0xE000:
            return -1
        place[count], code[count], end[count] = i, n, at - 1
        count += 1
        i += 1
    total = basic + count
    free = np.empty(total + 1, np.int64)  # Fenwick's tree over the places still free
    for k in range(1, total + 1):
        free[k] = k & -k
    top = 1
    while top * 2 <= total:
        top *= 2
    codes[:total] = -1
    for k in range(count - 1, -1, -1):
        left = place[k] + 1
        slot = 0
        step = top
        while step:
            if slot + step <= total and free[slot + step] < left:
                slot += step
                left -= free[slot]
            step >>= 1
        codes[slot], first[slot], last[slot] = code[k], begin[k], end[k]
        slot += 1
        while slot <= total:
            free[slot] -= 1
            slot += slot & -slot
    at = start
    for k in range(total):
        if codes[k] < 0:
            codes[k], first[k], last[k] = src[at], at, at
            at += 1
    return total


@njit(cache=True, nogil=True)
def _words(src, limit):  # type: ignore[no-untyped-def]
    # Every marked word in place, as `escapes.unescape` gives it.
    size = len(src)
    room = size + 4 * min(limit + MAX_LABEL, size) + 4
    out, begins, ends = np.empty(room, np.uint8), np.empty(room, np.int32), np.empty(room, np.int32)
    made = np.zeros(room, np.bool_)
    codes, first, last = np.empty(MAX_LABEL, np.int64), np.empty(MAX_LABEL, np.int64), np.empty(MAX_LABEL, np.int64)
    o = i = count = 0
    while i < size and count < limit:
        if i + 3 < size and src[i + 3] == 45 and is_mark(src, i + 3, 0):
            start = i + 4
            stop = start
            while stop < size and stop - start <= MAX_WORD and src[stop] > 32:
                stop += 1
            n = _decode(src, start, stop, codes, first, last) if stop - start <= MAX_WORD else -1
            if n <= 0:
                stop = start
                while stop < size and stop - start <= MAX_LABEL and in_label(src[stop]):
                    stop += 1
                n = _decode(src, start, stop, codes, first, last) if stop - start <= MAX_LABEL else -1
            if n > 0:
                for k in range(n):
                    before = o
                    # The mark belongs to the first character, so that all of the word is accounted for.
                    begin = i if k == 0 else first[k]
                    o = put(out, begins, ends, o, codes[k], begin, last[k] + 1)
                    made[before:o] = True
                count += n
                i = stop
                continue
        out[o], begins[o], ends[o] = src[i], i, i + 1
        o += 1
        i += 1
    return out[:o], begins[:o], ends[:o], made[:o], count >= limit


def words(values, limit: int) -> Unescaped:  # type: ignore[no-untyped-def]
    """``values`` uint8 (N,) with every word marked ``xn--`` decoded, up to ``limit`` characters of such words."""
    return Unescaped(*_words(values, limit))


def whole(source: Text, limit: int) -> Iterator[Proposal]:
    """The row behind its first mark as one Punycode, else the row and its last line, where it ends with digits."""
    raw = source.values[: MAX_WHOLE + 1].tobytes()
    text = raw.rstrip()
    marks = text.lower().split(b"xn--", 2)
    if len(marks) > 2:
        return
    marked = len(marks) == 2
    starts = [len(marks[0]) + 4] if marked else sorted({0, text.rfind(b"\n") + 1})
    for start in starts:
        low, least = (start - 1, 0) if marked else (start, MIN_TAIL)
        if len(raw) > MAX_WHOLE:
            if tail(source.values, low, len(source)) >= least:
                yield Proposal("punycode", source.slice(start, start + limit), Trust.BETTER, cut=True)
            return
        if tail(source.values, low, len(text)) < least:
            continue
        codes, first, last = (np.empty(len(text) - start, np.int64) for _ in range(3))
        n = _decode(source.values, start, len(text), codes, first, last)
        if n > 0:
            values, at = encoded(codes[: min(n, limit)])
            found = source.take(values[:limit], first[at][:limit], last[at][:limit])
            yield Proposal("punycode", found, Trust.BETTER, cut=len(values) > limit or n > limit)


@njit(cache=True, nogil=True)
def encoded(codes):  # type: ignore[no-untyped-def]
    """``codes`` int64 (C,) in UTF-8, and which of them is behind each byte."""
    out = np.empty(4 * len(codes), np.uint8)
    which = np.empty(len(out), np.int32)
    spare = np.empty(len(out), np.int32)
    o = 0
    for k in range(len(codes)):
        o = put(out, which, spare, o, codes[k], k, k)
    return out[:o], which[:o]
