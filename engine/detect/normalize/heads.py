"""Whether an encoded run could hold text: its first bytes decoded and looked at."""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.normalize.digits import (
    RADIX_BASES,
    ROT13,
    VALUES_16,
    VALUES_32,
    VALUES_36,
    VALUES_64,
    VALUES_85,
    VALUES_OTHER_32,
    VALUES_RADIX,
)
from aimds.detect.normalize.utf8 import decode_at

MIN_BLOB = 16
MIN_BASE85 = 20
"""The least that is looked at, characters of a run."""
MIN_TAIL = 16
"""Digits of Punycode behind the last hyphen of a row from which it is looked at without a mark."""
MIN_NUMBER = 24
"""Digits of a text that is one number."""
CASED_DIGITS = 64
"""Digits by which the cases of a run are told."""
LEADING, FIRST_BYTES = 9, 5
"""Digits of a number from which its first bytes are told, and how many; more do not fit a float."""
TURNED, ROTATED = 1, 2
"""What `enciphered` gives, beside 0."""


@njit(cache=True, nogil=True)
def is_compressed(buffer, n):  # type: ignore[no-untyped-def]
    """Whether ``buffer[:n]`` begins as gzip does (RFC 1952), or as zlib with a window of 32 KB (RFC 1950).

    Text may have the same two letters."""
    if n < 8:
        return False
    if buffer[0] == 0x1F:
        return buffer[1] == 0x8B and buffer[2] == 8 and buffer[3] < 32
    second = buffer[1]
    known = second == 0x01 or second == 0x5E or second == 0x9C or second == 0xDA
    return buffer[0] == 0x78 and known and not is_text(buffer, n)


@njit(cache=True, nogil=True)
def printable(buffer, n):  # type: ignore[no-untyped-def]
    """Whether ``buffer[:n]`` is text, or begins as compressed bytes do."""
    return is_text(buffer, n) or is_compressed(buffer, n)


@njit(cache=True, nogil=True)
def is_text(buffer, n):  # type: ignore[no-untyped-def]
    """Whether ``buffer[:n]`` is printable UTF-8, or UTF-16 of ASCII; the last character may be cut off.

    One byte in eight may be something else from sixteen bytes on, so that a stray one does not hide the rest."""
    if n == 0:
        return False
    spare = n >> 3 if n >= 16 else 0
    wide = n >= 4
    for k in range(n):
        wide = wide and ((buffer[k] == 0) if k & 1 else (buffer[k] != 0))
    k = 0
    while k < n:
        b = buffer[k]
        if b == 0 and wide:
            k += 1
            continue
        if b < 0x80:
            if (b < 32 and b != 9 and b != 10 and b != 13) or b == 127:
                spare -= 1
                if spare < 0:
                    return False
            k += 1
            continue
        code, size = decode_at(buffer, k, n)
        if code < 0xA0 or 0xE000 <= code <= 0xF8FF or code >= 0xF0000:
            need = 2 if b < 0xE0 else (3 if b < 0xF0 else 4)
            spare -= not (code < 0 and 0xC2 <= b <= 0xF4 and k + need > n)
            if spare < 0:
                return False
        k += size
    return True


@njit(cache=True, nogil=True)
def head(src, start, stop, digits, bits, buffer):  # type: ignore[no-untyped-def]
    """Whether the first bytes of the digits ``src[start:stop]`` are printable."""
    held = 0
    have = 0
    n = 0
    for i in range(start, stop):
        held = (held << bits | np.int64(digits[src[i]])) & 0xFFFF
        have += bits
        if have >= 8:
            have -= 8
            buffer[n] = held >> have & 0xFF
            n += 1
            if n == len(buffer):
                break
    return printable(buffer, n)


@njit(cache=True, nogil=True)
def first_line(src, start, stop, digits, bits, plain, buffer):  # type: ignore[no-untyped-def]
    """Where the first line of ``src[start:stop]`` begins from which on its digits are text, or unless ``plain``
    compressed bytes; -1 nowhere. What is no digit does not count, nor does ``0x``. O(stop - start)."""
    line = start
    while line < stop:
        held = 0
        have = 0
        n = 0
        i = line
        while i < stop and n < len(buffer):
            if i + 1 < stop and src[i] == 48 and src[i + 1] | 32 == 120:
                i += 2
                continue
            digit = np.int64(digits[src[i]])
            i += 1
            if digit == 255:
                continue
            held = (held << bits | digit) & 0xFFFF
            have += bits
            if have >= 8:
                have -= 8
                buffer[n] = held >> have & 0xFF
                n += 1
        if is_text(buffer, n) or (not plain and is_compressed(buffer, n)):
            return line
        while line < stop and src[line] != 10:
            line += 1
        line += 1
    return np.int64(-1)


@njit(cache=True, nogil=True)
def start64(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """Where base64 text begins in the run ``src[start:stop]``: at its head or after a sign that paths use too; -1
    nowhere.
    """
    if head(src, start, stop, VALUES_64, 6, buffer):
        return start
    for i in range(start, stop - MIN_BLOB):
        b = src[i]
        if (b == 47 or b == 45 or b == 95 or b == 43) and head(src, i + 1, stop, VALUES_64, 6, buffer):
            return i + 1
    return np.int64(-1)


@njit(cache=True, nogil=True)
def is_base32(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """Whether the run ``src[start:stop]`` is base32 of text, in one case."""
    upper = lower = False
    for i in range(start, min(stop, start + 64)):
        upper = upper or 65 <= src[i] <= 90
        lower = lower or 97 <= src[i] <= 122
    return not (upper and lower) and head(src, start, stop, VALUES_32, 5, buffer)


@njit(cache=True, nogil=True)
def cases(src, start, stop):  # type: ignore[no-untyped-def]
    """Whether there are (capitals, small letters, digits) among the first letters and digits of ``src[start:stop]``;
    no digits where there are other signs."""
    upper = lower = digit = False
    for i in range(start, min(stop, start + CASED_DIGITS)):
        b = src[i]
        upper = upper or 65 <= b <= 90
        lower = lower or 97 <= b <= 122
        digit = digit or 48 <= b <= 57
        if b < 48 or b == 95:
            return upper, lower, False
    return upper, lower, digit


@njit(cache=True, nogil=True)
def is_number(src, start, stop, alphabet, buffer):  # type: ignore[no-untyped-def]
    """Whether the run ``src[start:stop]``, read as one number in an alphabet of `VALUES_RADIX`, begins with
    text, letters and blanks for the most part. Only its length and first digits are looked at."""
    n = stop - start
    upper, lower, digit = cases(src, start, stop)
    base = RADIX_BASES[alphabet]
    if n < MIN_NUMBER or not digit or (upper and lower) == (base == 36):
        return False
    number = 0.0
    beyond = False  # a digit that hexadecimal does not have
    for i in range(start, min(stop, start + CASED_DIGITS)):
        digit = VALUES_RADIX[alphabet, src[i]]
        if digit == 255:
            return False
        beyond = beyond or VALUES_16[src[i]] == 255
        if i < start + LEADING:
            number = number * base + digit
    if number < 1.0 or not beyond:
        return False
    length = (np.log(number) + (n - LEADING) * np.log(float(base))) / np.log(256.0)
    rest = 256.0 ** (length - np.floor(length))
    letters = 0
    for k in range(FIRST_BYTES):
        byte = int(rest)
        rest = (rest - byte) * 256.0
        letters += byte == 32 or 97 <= (byte | 32) <= 122 or byte >= 0x80
        buffer[k] = byte
    # The last character may be cut off in its middle.
    whole = FIRST_BYTES - (buffer[FIRST_BYTES - 1] >> 6 == 2)
    return letters * 2 > FIRST_BYTES and (printable(buffer, FIRST_BYTES) or printable(buffer, whole))


@njit(cache=True, nogil=True)
def is_other_base32(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """Whether the run ``src[start:stop]``, in one case, is base32 of text in an alphabet of `VALUES_OTHER_32`."""
    upper, lower, digit = cases(src, start, stop)
    if (upper and lower) or not digit:
        return False
    for alphabet in range(len(VALUES_OTHER_32)):
        fits = True
        for i in range(start, min(stop, start + CASED_DIGITS)):
            fits = fits and VALUES_OTHER_32[alphabet, src[i]] != 255
        if fits and head(src, start, stop, VALUES_OTHER_32[alphabet], 5, buffer):
            return True
    return False


@njit(cache=True, nogil=True)
def is_hex(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """Whether the run ``src[start:stop]`` is hexadecimal of text."""
    return head(src, start, stop, VALUES_16, 4, buffer)


@njit(cache=True, nogil=True)
def start85(src, start, stop, buffer):  # type: ignore[no-untyped-def]
    """Where base85 text begins in the run ``src[start:stop]`` and in which alphabet; (-1, 0) nowhere.

    Tried at its head, after up to two signs that may enclose it, and after a colon or an equals sign that may
    announce it.
    """
    for at in range(start, min(stop - MIN_BASE85, start + 40) + 1):
        if at > start + 2 and src[at - 1] != 58 and src[at - 1] != 61:
            continue
        # The alphabets share most digits: a few words of one may be text in another, so the one that goes on longest.
        longest = alphabet = 0
        for variant in range(3):
            n = 0
            i = at
            while i + 5 <= stop and n + 4 <= len(buffer):
                word = np.int64(0)
                for k in range(5):
                    digit = VALUES_85[variant, src[i + k]]
                    if digit == 255:
                        word = np.int64(-1)
                        break
                    word = word * 85 + digit
                if word < 0 or word > 0xFFFFFFFF:
                    break
                for k in range(4):
                    buffer[n + k] = word >> (24 - 8 * k) & 0xFF
                n += 4
                i += 5
            if n > longest and printable(buffer, n):
                longest, alphabet = n, variant
        if longest >= 12:
            return at, alphabet
    return np.int64(-1), 0


@njit(cache=True, nogil=True)
def enciphered(src, start, stop, digits, buffer):  # type: ignore[no-untyped-def]
    """Whether the run ``src[start:stop]`` of base64 digits is base64 or hexadecimal of text once it is read backwards
    (`TURNED`) or each letter is shifted by thirteen places (`ROTATED`); 0 neither. ``digits`` uint8 is overwritten.
    """
    n = min(stop - start, len(digits))
    for kind in (TURNED, ROTATED):
        hexadecimal = True
        for k in range(n):
            digits[k] = src[stop - 1 - k] if kind == TURNED else ROT13[src[start + k]]
            hexadecimal = hexadecimal and VALUES_16[digits[k]] != 255
        if head(digits, 0, n, VALUES_64, 6, buffer) or (hexadecimal and head(digits, 0, n, VALUES_16, 4, buffer)):
            return kind
    return 0


@njit(cache=True, nogil=True)
def in_label(b):  # type: ignore[no-untyped-def]
    """Whether byte ``b`` may stand in a label of a domain name."""
    return VALUES_36[b] < 36 or b == 45


@njit(cache=True, nogil=True)
def is_mark(src, i, low):  # type: ignore[no-untyped-def]
    """Whether the hyphen at ``i`` ends the mark ``xn--``, in either case, with no letter before it."""
    if i < low + 3 or src[i - 1] != 45 or src[i - 2] | 32 != 110 or src[i - 3] | 32 != 120:
        return False
    return i == low + 3 or not in_label(src[i - 4])


@njit(cache=True, nogil=True)
def tail(src, low, high):  # type: ignore[no-untyped-def]
    """Digits behind the last hyphen of ``src[low:high]``, blanks at its end apart; -1 where something else is there."""
    while high > low and src[high - 1] <= 32:
        high -= 1
    at = high
    while at > low and VALUES_36[src[at - 1]] < 36:
        at -= 1
    return high - at if at > low and src[at - 1] == 45 else -1
