"""Kernels of the decoders: digits to bytes, runs of base64 and base85, bytes to clean UTF-8."""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.candidates import (
    CLASSES,
    IN_64,
    MIN_BASE85,
    MIN_BLOB,
    VALUES_64,
    VALUES_85,
    printable,
    start64,
    start85,
)
from aimds.detect.fold import decode_at

MAX_LINE_GAP = 8
"""Bytes of line break, indent and quote sign between two lines of one base64 text."""
FILLER = 63
"""What stands for a byte that is not text: a question mark."""


@njit(cache=True, nogil=True)
def pack(digits, bits, width):  # type: ignore[no-untyped-def]
    """Numbers of ``bits`` bits each, read as one stream, cut into bytes of ``width`` bits; a rest is dropped. O(N)."""
    out = np.empty(len(digits) * bits // width, np.uint8)
    held = np.int64(0)
    have = n = 0
    for i in range(len(digits)):
        held = (held << bits | np.int64(digits[i])) & 0xFFFF
        have += bits
        while have >= width:
            have -= width
            out[n] = held >> have & ((1 << width) - 1)
            n += 1
    return out


@njit(cache=True, nogil=True)
def clean(values):  # type: ignore[no-untyped-def]
    """Bytes as UTF-8 text: (copy with each byte that is none as `FILLER`, bytes replaced, the first of them or the length).

    Control characters beside tab, line feed and carriage return are no text; zeros are kept where every second byte is one."""
    n = len(values)
    out = values.copy()
    bad = 0
    first = n
    zeros = 0
    for k in range(1, n, 2):
        zeros += values[k] == 0
    wide = zeros * 2 >= n - 1 and n >= 4
    k = 0
    while k < n:
        b = values[k]
        if b < 0x80:
            if (b < 32 and b != 9 and b != 10 and b != 13 and not (b == 0 and wide)) or b == 127:
                out[k] = FILLER
                bad += 1
                first = min(first, k)
            k += 1
            continue
        code, size = decode_at(values, k, n)
        if code < 0xA0 or 0xE000 <= code <= 0xF8FF or code >= 0xF0000:
            for j in range(k, k + size):
                out[j] = FILLER
            bad += size
            first = min(first, k)
        k += size
    return out, bad, first


@njit(cache=True, nogil=True)
def _between(src, start, stop):  # type: ignore[no-untyped-def]
    # What stands between two runs: 0 something else, 1 blanks or quotes, 2 a line break among them.
    kind = 1
    for i in range(start, stop):
        b = src[i]
        if b == 10 or b == 13:
            kind = 2
        elif not (b == 32 or b == 9 or b == 34 or b == 39 or b == 62 or b == 44 or b == 43 or b == 61):
            return 0
    return kind


@njit(cache=True, nogil=True)
def runs64(src, limit):  # type: ignore[no-untyped-def]
    """Runs of base64 that hold text: int64 (R, 4) of (start, end without padding, padding, number of the text they belong to).

    Runs belong to one text when only blanks or line breaks part them. At most ``limit`` runs."""
    out = np.empty((limit, 4), np.int64)
    buffer = np.empty(24, np.uint8)
    n = text = 0
    longest = 0
    total = 0
    end = np.int64(-100)  # of the last run, padding included
    i = 0
    size = len(src)
    while i < size and n < limit:
        if not CLASSES[src[i]] & IN_64:
            i += 1
            continue
        start = i
        while i < size and CLASSES[src[i]] & IN_64:
            i += 1
        stop = i
        pads = 0
        while i < size and src[i] == 61 and pads < 2:
            pads += 1
            i += 1
        gap = _between(src, end, start) if n and 0 < start - end <= MAX_LINE_GAP else 0
        length = stop - start
        follows = gap == 2 and length <= longest and longest >= MIN_BLOB
        whole = (length + pads) % 4 == 0 and length >= 2
        if not follows:
            begin = np.int64(-1)
            if length >= MIN_BLOB:
                begin = start64(src, start, stop, buffer)
            elif whole:
                m = 0
                held = 0
                for k in range(start, stop):
                    held = held << 6 | np.int64(VALUES_64[src[k]])
                    if (k - start) % 4 == 3:
                        for j in range(3):
                            buffer[m + j] = held >> (16 - 8 * j) & 0xFF
                        m += 3
                        held = 0
                if length % 4 == 3:
                    buffer[m], buffer[m + 1] = held >> 10 & 0xFF, held >> 2 & 0xFF
                    m += 2
                elif length % 4 == 2:
                    buffer[m] = held >> 4 & 0xFF
                    m += 1
                if printable(buffer, m):
                    begin = start
            if begin < 0:
                continue
            if gap == 0 or begin != start:
                if n and total < MIN_BLOB:
                    while n and out[n - 1, 3] == text:
                        n -= 1
                text += 1
                longest = total = 0
            start = begin
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = start, stop, pads, text
        n += 1
        total += length
        longest = max(longest, stop - start)
        end = i
    if total < MIN_BLOB:
        while n and out[n - 1, 3] == text:
            n -= 1
    return out[:n]


@njit(cache=True, nogil=True)
def decode85(src, start, stop, limit):  # type: ignore[no-untyped-def]
    """Base 85 in the run ``src[start:stop]``, at most ``limit`` bytes: (bytes, for each the start and the end of its five digits);
    all empty where it is none."""
    room = min((stop - start) // 5 * 4 + 4, limit + 4)
    out = np.empty(room, np.uint8)
    begins = np.empty(room, np.int64)
    ends = np.empty(room, np.int64)
    buffer = np.empty(24, np.uint8)
    n = 0
    if stop - start < MIN_BASE85:
        return out[:0], begins[:0], ends[:0]
    i, variant = start85(src, start, stop, buffer)
    while 0 <= i < stop and n + 4 <= room:
        word = np.int64(0)
        have = 0
        while have < 5 and i + have < stop and VALUES_85[variant, src[i + have]] != 255:
            word = word * 85 + VALUES_85[variant, src[i + have]]
            have += 1
        if have < 2:
            break
        for _ in range(5 - have):
            word = word * 85 + 84
        if word > 0xFFFFFFFF:
            break
        for k in range(have - 1):
            out[n] = word >> (24 - 8 * k) & 0xFF
            begins[n] = i
            ends[n] = i + have
            n += 1
        if have < 5:
            break
        i += 5
    return out[:n], begins[:n], ends[:n]


@njit(cache=True, nogil=True)
def hidden(src, selectors):  # type: ignore[no-untyped-def]
    """What invisible code points of the raw row ``src`` spell: (bytes, start and end of the code point behind each).

    Unicode tags spell ASCII, those that make an emoji flag excepted; runs of variation selectors spell bytes where ``selectors``."""
    out = np.empty(len(src) // 3 + 1, np.uint8)
    begins = np.empty(len(out), np.int64)
    ends = np.empty(len(out), np.int64)
    n = i = 0
    flag = False
    run = 0
    while i < len(src):
        code, size = decode_at(src, i, len(src))
        value = np.int64(-1)
        if selectors:
            if 0xFE00 <= code <= 0xFE0F:
                value = code - 0xFE00
            elif 0xE0100 <= code <= 0xE01EF:
                value = code - 0xE0100 + 16
        elif 0xE0000 <= code <= 0xE007F:
            if 0xE0020 <= code < 0xE007F and not flag:
                value = code - 0xE0000
        else:
            flag = code == 0x1F3F4
        if value >= 0:
            out[n], begins[n], ends[n] = value, i, i + size
            n += 1
            run += 1
        else:
            n -= selectors and run == 1  # a lone selector belongs to its emoji
            run = 0
        i += size
    n -= selectors and run == 1
    return out[:n], begins[:n], ends[:n]
