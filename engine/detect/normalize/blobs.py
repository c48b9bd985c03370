"""Kernels of the decoders: digits to bytes, runs of base64 and base85, bytes to clean UTF-8."""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.normalize.digits import CLASSES, IN_64, VALUES_64, VALUES_85
from aimds.detect.normalize.heads import MIN_BASE85, MIN_BLOB, is_compressed, printable, start64, start85
from aimds.detect.normalize.utf8 import decode_at

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
    """Bytes as UTF-8 text: (copy with each byte that is none as `FILLER`, bytes replaced, the first of them or the
    length).

    Control characters beside tab, line feed and carriage return are no text; zeros are kept where every second byte
    is one.
    """
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
def _continues(src, start, stop, held, have, buffer):  # type: ignore[no-untyped-def]
    # Whether the digits src[start:stop] go on with a text of which `have` bits in `held` are not yet used. A character
    # may be cut in two, and zeros are those of UTF-16.
    n = 0
    for i in range(start, stop):
        held = (held << 6 | np.int64(VALUES_64[src[i]])) & 0xFFFF
        have += 6
        if have >= 8:
            have -= 8
            byte = held >> have & 0xFF
            if n > 0 or i - start > 4 or byte & 0xC0 != 0x80:
                buffer[n] = byte if byte else 32
                n += 1
                if n == len(buffer):
                    break
    return printable(buffer, n)


@njit(cache=True, nogil=True)
def runs64(src, limit):  # type: ignore[no-untyped-def]
    """Runs of base64 that hold text or compressed bytes: int64 (R, 4) of (start, end without padding, padding, number
    of the text they belong to). Lines of one wrapped text belong together, and so do chunks of whole digits with blanks
    or quotes between them. At most ``limit`` runs.
    """
    out = np.empty((limit, 4), np.int64)
    buffer = np.empty(24, np.uint8)
    size = len(src)
    n = text = 0
    total = longest = 0  # digits of the text so far, and of its longest run
    held = have = pads = 0  # its bits not yet used, and the padding of its last run
    end = -MAX_LINE_GAP - 1
    opaque = False  # it begins as compressed bytes do, of which no other line reads like text
    i = 0
    while i < size and n < limit:
        if not CLASSES[src[i]] & IN_64:
            i += 1
            continue
        start = i
        while i < size and CLASSES[src[i]] & IN_64:
            i += 1
        stop = i
        padding = 0
        while i < size and src[i] == 61 and padding < 2:
            padding += 1
            i += 1
        length = stop - start
        gap = _between(src, end, start) if n and 0 < start - end <= MAX_LINE_GAP else 0
        line = gap == 2 and pads == 0 and length <= longest and longest >= MIN_BLOB
        line = line and (length >= 4 or padding > 0 or i == size)
        chunk = (length + padding) % 4 == 0 and length >= 2
        behind = line or (gap and chunk and have == 0)
        if behind and opaque:
            # What reads like text, or begins so again, is a text of its own.
            behind = line and (length < MIN_BLOB or start64(src, start, stop, buffer) < 0)
        elif behind:
            behind = _continues(src, start, stop, held, have, buffer)
        if not behind:
            begin = -1
            opaque = False
            if length >= MIN_BLOB:
                begin = int(start64(src, start, stop, buffer))
                opaque = begin >= 0 and is_compressed(buffer, min(len(buffer), (stop - begin) * 6 // 8))
            elif chunk and _continues(src, start, stop, 0, 0, buffer):
                begin = start
            if begin < 0:
                continue
            if n and total < MIN_BLOB:
                while n and out[n - 1, 3] == text:
                    n -= 1
            text += 1
            total = longest = held = have = 0
            start = begin
            length = stop - start
        for k in range(max(start, stop - 4), stop):
            held = (held << 6 | int(VALUES_64[src[k]])) & 0xFFFF
        have = 0 if padding else (have + 6 * length) % 8
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = start, stop, padding, text
        n += 1
        total += length
        longest = max(longest, length)
        pads = padding
        end = i
    if total < MIN_BLOB:
        while n and out[n - 1, 3] == text:
            n -= 1
    return out[:n]


@njit(cache=True, nogil=True)
def decode85(src, start, stop, limit):  # type: ignore[no-untyped-def]
    """Base 85 in the run ``src[start:stop]``, at most ``limit`` bytes: (bytes, for each the start and the end of its
    five digits); all empty where it is none.
    """
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

    Unicode tags spell ASCII, those that make an emoji flag excepted; runs of variation selectors spell bytes where
    ``selectors``.
    """
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
