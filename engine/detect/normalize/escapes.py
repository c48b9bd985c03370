"""Escapes inside a text: percent, HTML, backslash and quoted-printable, decoded in place in one linear pass.

Sources: RFC 3986 §2.1, the HTML Standard §13.5, ECMA-262 §12.9.4, RFC 2045 §6.7.
"""

from __future__ import annotations

from functools import cache
from html.entities import html5
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize.candidates import ESCAPES, HTML, QUOTED, URL
from aimds.detect.normalize.digits import CLASSES, IN_64, VALUES_16
from aimds.detect.normalize.vocabulary import word_hash

MAX_NAME = 32


class Unescaped(NamedTuple):
    """``values`` uint8 (N,), maybe no valid UTF-8; ``begins`` and ``ends`` int32 (N,) byte range in the source;
    ``made`` bool (N,): came out of an escape; ``cut``: more escapes were there than asked for.
    """

    values: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    made: npt.NDArray[np.bool_]
    cut: bool


def unescape(values: npt.NDArray[np.uint8], style: int, limit: int) -> Unescaped:
    """``values`` uint8 (N,) with the escapes of one ``style`` (URL, HTML, ESCAPES or QUOTED) replaced by what they
    stand for, up to where ``limit`` bytes came out of escapes.
    """
    return Unescaped(*_unescape(values, style, limit, *_entities()))


@cache
def _entities() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    # Named character references of one code point, by hash of the name with its semicolon.
    named = {name: ord(text) for name, text in html5.items() if name.endswith(";") and len(text) == 1}
    hashes = np.array([word_hash(np.frombuffer(name.encode(), np.uint8), 0, len(name)) for name in named], np.uint64)
    order = np.argsort(hashes)
    return hashes[order], np.array(list(named.values()), np.int64)[order]


@njit(cache=True, nogil=True)
def _hex_value(src, i, digits):  # type: ignore[no-untyped-def]
    # The value of exactly `digits` hexadecimal digits at i, or -1.
    if i + digits > len(src):
        return np.int64(-1)
    value = np.int64(0)
    for k in range(digits):
        digit = VALUES_16[src[i + k]]
        if digit == 255:
            return np.int64(-1)
        value = value << 4 | digit
    return value


@njit(cache=True, nogil=True)
def _number(src, i, base, most):  # type: ignore[no-untyped-def]
    # The number at i and the place after it; value -1 when there is none.
    value = np.int64(-1)
    j = i
    while j < len(src) and j - i < most:
        digit = VALUES_16[src[j]]
        if digit >= base:
            break
        value = max(value, 0) * base + digit
        j += 1
    return value, j


@njit(cache=True, nogil=True)
def _html(src, i, hashes, codes):  # type: ignore[no-untyped-def]
    # (code point or -1, place after it) of the character reference at i.
    if i + 2 < len(src) and src[i + 1] == 35:
        base = 16 if src[i + 2] | 32 == 120 else 10
        value, j = _number(src, i + (3 if base == 16 else 2), base, 8)
        return value, j + (1 if j < len(src) and src[j] == 59 else 0)
    j = i + 1
    while j < len(src) and j - i < MAX_NAME and (97 <= src[j] | 32 <= 122 or 48 <= src[j] <= 57):
        j += 1
    if j < len(src) and src[j] == 59:
        h = np.uint64(word_hash(src, i + 1, j + 1))
        at = np.searchsorted(hashes, h)
        if at < len(hashes) and hashes[at] == h:
            return codes[at], j + 1
    return np.int64(-1), i


@njit(cache=True, nogil=True)
def _backslash(src, i):  # type: ignore[no-untyped-def]
    # (value or -1, place after it, whether it is a byte rather than a code point) of the escape at i, several
    # backslashes allowed.
    j = i
    while j < len(src) and src[j] == 92 and j - i < 4:
        j += 1
    if j >= len(src):
        return np.int64(-1), i, False
    b = src[j]
    if b == 117 or b == 85:
        if j + 1 < len(src) and src[j + 1] == 123:
            value, end = _number(src, j + 2, 16, 6)
            if end < len(src) and src[end] == 125:
                return value, end + 1, False
            return np.int64(-1), i, False
        digits = 4 if b == 117 else 8
        value = _hex_value(src, j + 1, digits)
        if value < 0:
            return value, i, False
        end = j + 1 + digits
        if 0xD800 <= value < 0xDC00 and end + 6 <= len(src) and src[end] == 92 and src[end + 1] == 117:
            low = _hex_value(src, end + 2, 4)
            if 0xDC00 <= low < 0xE000:
                return 0x10000 + (value - 0xD800 << 10) + (low - 0xDC00), end + 6, False
        return value, end, False
    if b == 120:
        value = _hex_value(src, j + 1, 2)
        return value, (j + 3 if value >= 0 else i), True
    if 48 <= b <= 51:
        value, end = _number(src, j, 8, 3)
        if end - j == 3:
            return value, end, True
    return np.int64(-1), i, False


@njit(cache=True, nogil=True)
def _unescape(src, style, limit, hashes, codes):  # type: ignore[no-untyped-def]
    n = len(src)
    out = np.empty(n + 4, np.uint8)
    begins = np.empty(n + 4, np.int32)
    ends = np.empty(n + 4, np.int32)
    made = np.zeros(n + 4, np.bool_)
    o = 0
    i = 0
    in_query = False  # this word holds a percent escape, so that + stands for a blank in it
    word_end = 0
    count = 0
    while i < n and count < limit:
        b = src[i]
        if style == URL and i >= word_end:
            in_query = False
            word_end = i
            while word_end < n and src[word_end] > 32:
                in_query = in_query or (src[word_end] == 37 and _hex_value(src, word_end + 1, 2) >= 0)
                word_end += 1
            word_end += 1
        value = np.int64(-1)
        end = i
        raw = False
        if style == URL:
            if b == 37:
                if i + 1 < n and src[i + 1] | 32 == 117:
                    value = _hex_value(src, i + 2, 4)
                    end = i + 6
                else:
                    value = _hex_value(src, i + 1, 2)
                    end = i + 3
                    raw = True
            elif b == 43 and in_query:
                value, end, raw = np.int64(32), i + 1, True
        elif style == HTML:
            if b == 38:
                value, end = _html(src, i, hashes, codes)
        elif style == ESCAPES:
            if b == 92:
                value, end, raw = _backslash(src, i)
            elif (
                b == 85
                and i + 1 < n
                and src[i + 1] == 43
                and (i == 0 or not CLASSES[src[i - 1]] & IN_64 or made[o - 1])
            ):
                value, end = _number(src, i + 2, 16, 6)
                if end - i < 6:
                    value = np.int64(-1)
                elif end + 2 < n and src[end] == 32 and src[end + 1] == 85 and src[end + 2] == 43:
                    end += 1
        elif style == QUOTED and b == 61:
            value = _hex_value(src, i + 1, 2)
            end = i + 3
            raw = True
            if value < 0 and i + 1 < n and (src[i + 1] == 10 or src[i + 1] == 13):
                i += 2 if src[i + 1] == 10 or i + 2 >= n or src[i + 2] != 10 else 3
                continue
        if value < 0 or value > 0x10FFFF:
            out[o], begins[o], ends[o] = b, i, i + 1
            o += 1
            i += 1
            continue
        first = o
        if raw:
            out[o] = value & 0xFF
            o += 1
        else:
            if 0xD800 <= value < 0xE000:
                value = np.int64(0xFFFD)
            if value < 0x80:
                out[o] = value
                o += 1
            elif value < 0x800:
                out[o], out[o + 1] = 0xC0 | value >> 6, 0x80 | value & 0x3F
                o += 2
            elif value < 0x10000:
                out[o], out[o + 1], out[o + 2] = 0xE0 | value >> 12, 0x80 | value >> 6 & 0x3F, 0x80 | value & 0x3F
                o += 3
            else:
                out[o], out[o + 1] = 0xF0 | value >> 18, 0x80 | value >> 12 & 0x3F
                out[o + 2], out[o + 3] = 0x80 | value >> 6 & 0x3F, 0x80 | value & 0x3F
                o += 4
        for k in range(first, o):
            begins[k], ends[k], made[k] = i, end, True
        count += o - first if end - i > 1 else 0
        i = end
    return out[:o], begins[:o], ends[:o], made[:o], count >= limit
