"""Which decoders could have work in a text: one pass over its bytes, each suspicion tried on its first bytes.

A run of base64 letters is a candidate only if its first bytes decode to printable UTF-8, and so on; so ordinary text,
identifiers, hashes and images reach no decoder. Reads case-keeping text (`fold.fold` with ``keep_case``, or raw ASCII).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize.digits import (
    CLASSES,
    DIGIT,
    GRAPHIC,
    IN_16,
    IN_32,
    IN_64,
    MIDDLE,
    RADIX_BASES,
    SIGN,
    SIGNAL,
    VALUES_16,
    VALUES_64,
)
from aimds.detect.normalize.heads import (
    MIN_BASE85,
    MIN_BLOB,
    MIN_TAIL,
    ROTATED,
    enciphered,
    head,
    is_base32,
    is_hex,
    is_mark,
    is_number,
    is_other_base32,
    start64,
    start85,
    tail,
)
from aimds.detect.normalize.uuencode import MAX_LINE, MIN_LINE, variant_of

BASE64, BASE32, HEX, BASE85, BINARY, DECIMAL, MORSE, URL, HTML, ESCAPES, QUOTED = (1 << k for k in range(11))
TURNED_BLOB, ROTATED_BLOB, STRINGS, SPREAD = 1 << 11, 1 << 12, 1 << 13, 1 << 14
ITEMS, CELLS, LINES, ORDINALS, BRAILLE = 1 << 15, 1 << 19, 1 << 20, 1 << 21, 1 << 22
UUENCODE, PUNYCODE, ROTATED_SIGNS, OCTAL, SQUARES, BACON = (1 << k for k in range(23, 29))
NUMBER, OTHER_BASE32 = 1 << 30, 1 << 31
"""Bits of the mask that `candidates` gives. TURNED_BLOB and ROTATED_BLOB are base64 or hexadecimal that was reversed or
put into ROT13, STRINGS two strings that are assigned, SPREAD single letters with blanks or emoji between them,
ITEMS a list of strings, CELLS a table, LINES one word a line, ORDINALS
numbers from 1 to 26, BRAILLE cells of Braille, UUENCODE a line that says how long it is,
PUNYCODE the mark ``xn--``, or a row that ends with a hyphen and what could be digits,
ROTATED_SIGNS text under ROT47, OCTAL octal codes, SQUARES numbers or dots of a square of letters, BACON groups of five,
NUMBER base58 and the like, OTHER_BASE32 base32 in another alphabet. 1 << 29 is one of `aimds.detect.normalize.ciphers`.
"""

MIN_ENCIPHERED = 24
MIN_GROUPS = 8
MIN_OCTETS = 4
MIN_SIGNALS = 6
MIN_ESCAPES = 3
MIN_STRINGS = 2
MIN_SINGLES = 8
MIN_PARTS, MIN_BARS, MIN_LINES = 3, 6, 5
MIN_ORDINALS = 12
MIN_CELLS = 8
MIN_SQUARES, MIN_TAPS, MIN_FIVES = 16, 24, 8
MIN_TRIPLES = 12
MIN_MIDDLES = 24
"""The least that is looked at: characters of an enciphered run, hex pairs or decimal codes, binary octets, Morse
letters, escapes, assigned strings, single letters, strings with a comma behind, bars of a table, lines, numbers up to
26, cells of Braille, pairs of digits, groups of dots and groups of five signs, codes of three digits without a gap, and
signs of ROT47 beyond one in eight, times eight.
"""
CELLS_AT, OCTALS_AT, FIVES_AT = 0, 2, 4
"""Where counts of groups stand, each with the end of the last one behind it; memory, since few texts need them."""
MAX_GAP = 4
"""Bytes between two groups of one number sequence (``0x41, 0x42``)."""


def candidates(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Bit masks uint32 (B,) of the decoders worth trying on each row of ``values`` uint8 (N,), ``offsets`` int64
    (B+1,).
    """
    masks = np.zeros(len(offsets) - 1, np.uint32)
    _rows(values, offsets, masks)
    return masks


@njit(cache=True, nogil=True)
def _hex_at(src, i, stop):  # type: ignore[no-untyped-def]
    return i + 1 < stop and CLASSES[src[i]] & IN_16 != 0 and CLASSES[src[i + 1]] & IN_16 != 0


@njit(cache=True, nogil=True)
def _count(counts, kind, most, groups, start, stop):  # type: ignore[no-untyped-def]
    # Adds to the run of groups of one kind that end at `stop`, or begins it anew; a long enough run stays.
    if counts[kind] < most:
        near = start - counts[kind + 1] <= MAX_GAP
        counts[kind] = groups + (counts[kind] if near else 0) if groups else 0
        counts[kind + 1] = stop


@njit(cache=True, nogil=True)
def _codes(src, start, stop, low, counts):  # type: ignore[no-untyped-def]
    # Counts two or three digits as a cell of a square and as an octal code.
    octal = src[start] <= 49 if stop - start == 3 else src[start] >= 52
    cell = stop - start == 2
    for i in range(start, stop):
        octal = octal and src[i] <= 55
        cell = cell and 49 <= src[i] <= 53
    if stop - start == 2:
        _count(counts, CELLS_AT, MIN_SQUARES, int(cell), start - low, stop - low)
    _count(counts, OCTALS_AT, MIN_GROUPS, int(octal), start - low, stop - low)


@njit(cache=True, nogil=True)
def _fives(src, start, stop, low, counts):  # type: ignore[no-untyped-def]
    # Counts groups of five signs, each A or B or each 0 or 1.
    first = src[start] | 32
    groups = (stop - start) // 5
    for i in range(start, stop):
        b = src[i]
        if not (97 <= b | 32 <= 98 and b >= 65 if 97 <= first <= 98 else 48 <= b <= 49):
            groups = 0
            break
    _count(counts, FIVES_AT, MIN_FIVES, groups, start - low, stop - low)


@njit(cache=True, nogil=True)
def _row(src, low, high, digits, buffer, counts):  # type: ignore[no-untyped-def]
    mask = 0
    both = TURNED_BLOB | ROTATED_BLOB
    unusual = NUMBER | OTHER_BASE32
    begin64 = begin32 = begin16 = begin10 = token = low
    grouped = pairs = octets = codes = code_letters = 0
    group_end = pair_end = octet_end = code_end = low
    urls = entities = escapes = quoted = strings = 0
    signals = dots = dashes = 0
    morse = True
    signs = singles = tokens = beads = parts = bars = lines = 0
    ordinals = dotted = middles = rotated = 0
    counts[:] = 0
    ordinal_end = line = low
    for i in range(low, high + 1):
        b = src[i] if i < high else np.uint8(32)
        kind = CLASSES[b]
        if kind & SIGN and i + 2 < high:
            follow = src[i + 1]
            if b == 37:
                urls += _hex_at(src, i + 1, high) or follow == 117
            elif b == 38:
                entities += follow == 35 or 97 <= (follow | 32) <= 122
            elif b == 92:
                escapes += follow == 120 or (follow | 32) == 117 or 48 <= follow <= 55
            elif b == 61:
                quoted += _hex_at(src, i + 1, high)
                opening = src[i + 2] if follow == 32 else follow
                strings += opening == 34 or opening == 39
            elif b == 45:
                if is_mark(src, i, low):
                    mask |= PUNYCODE
            else:
                escapes += follow == 43 and _hex_at(src, i + 2, high) and (i == low or not CLASSES[src[i - 1]] & IN_64)
        if not kind & IN_64:
            parts += b == 44 and i > low and src[i - 1] == 34
            bars += b == 124
            middles += kind & MIDDLE != 0
            if b == 10 or i == high:
                lines += i < high
                if MIN_LINE <= i - line <= MAX_LINE and variant_of(src, line, i, buffer) >= 0:
                    mask |= UUENCODE
                line = i + 1
            dotted += b == 0xE2 and i + 1 < high and 0xA0 <= src[i + 1] <= 0xA3
            beads += b == 0xF0 or (b == 0xE2 and i + 1 < high and 0x98 <= src[i + 1] <= 0x9E)
            if i - begin64 >= MIN_BLOB and not mask & BASE64 and start64(src, begin64, i, buffer) >= 0:
                mask |= BASE64
            elif i - begin64 >= 2 and not mask & BASE64:
                pads = (b == 61) + (b == 61 and i + 1 < high and src[i + 1] == 61)
                if (i - begin64 + pads) % 4 == 0 and head(src, begin64, i, VALUES_64, 6, buffer):
                    grouped = (grouped if begin64 - group_end <= MAX_GAP else 0) + i - begin64
                    group_end = i + pads
                    if grouped >= MIN_BLOB:
                        mask |= BASE64
            if i - begin64 >= MIN_BLOB and mask & unusual != unusual:
                first = begin64
                for j in range(begin64, i + 1):
                    if j < i and src[j] != 43 and src[j] != 45 and src[j] != 47 and src[j] != 95:
                        continue
                    if j - first >= MIN_BLOB:
                        if not mask & OTHER_BASE32 and is_other_base32(src, first, j, buffer):
                            mask |= OTHER_BASE32
                        for alphabet in range(len(RADIX_BASES)):
                            if not mask & NUMBER and is_number(src, first, j, alphabet, buffer):
                                mask |= NUMBER
                    first = j + 1
            if i - begin64 >= MIN_ENCIPHERED and mask & both != both:
                cipher = enciphered(src, begin64, i, digits, buffer)
                if cipher:
                    mask |= ROTATED_BLOB if cipher == ROTATED else TURNED_BLOB
            begin64 = i + 1
        if not kind & IN_32:
            if i - begin32 >= MIN_BLOB and not mask & BASE32 and is_base32(src, begin32, i, buffer):
                mask |= BASE32
            begin32 = i + 1
        if not kind & IN_16:
            run = i - begin16
            if run >= MIN_BLOB:
                if not mask & HEX and is_hex(src, begin16, i, buffer):
                    mask |= HEX
            elif run == 2:
                value = VALUES_16[src[i - 2]] << 4 | VALUES_16[src[i - 1]]
                before = src[begin16 - 1] if begin16 > low else np.uint8(32)
                escaped = (
                    before == 37 or before == 61 or (before == 120 and begin16 - 2 >= low and src[begin16 - 2] == 92)
                )
                near = begin16 - pair_end <= MAX_GAP and not escaped
                ok = (32 <= value < 127) or value >= 0x80 or value == 10
                pairs = (pairs + 1 if near else 1) if ok else 0
                pair_end = i
                if pairs >= MIN_GROUPS:
                    mask |= HEX
            begin16 = i + 1
        if not kind & DIGIT:
            run = i - begin10
            if run:
                if 1 <= run <= 2 and ordinals < MIN_ORDINALS:
                    value = np.int64(src[i - 1]) - 48 + (10 * (np.int64(src[i - 2]) - 48) if run == 2 else 0)
                    near = begin10 - ordinal_end <= MAX_GAP
                    ordinals = (ordinals + 1 if near else 1) if 1 <= value <= 26 else 0
                    ordinal_end = i
                if 2 <= run <= 3:
                    _codes(src, begin10, i, low, counts)
                if run >= 3 * MIN_TRIPLES and run % 3 == 0 and not mask & DECIMAL:
                    inside = True
                    for k in range(begin10, begin10 + 3 * MIN_TRIPLES, 3):
                        value = 100 * (np.int64(src[k]) - 48) + 10 * (np.int64(src[k + 1]) - 48) + src[k + 2] - 48
                        inside = inside and (32 <= value < 256 or value == 10)
                    if inside:
                        mask |= DECIMAL
                if run >= 2:
                    bits = True
                    value = np.int64(0)
                    for k in range(begin10, min(i, begin10 + 64)):
                        bits = bits and src[k] <= 49
                        value = value * (2 if run > 3 else 10) + (src[k] - 48) if k - begin10 < 8 else value
                    if bits and run > 6:
                        fits = (
                            run >= 32
                            or run == 16
                            or ((run == 7 or run == 8) and 32 <= value < 127)
                            or (run == 8 and value >= 0x80)
                        )
                        octets = (octets + 1 if begin10 - octet_end <= MAX_GAP else 1) if fits else 0
                        octet_end = i
                        if octets >= MIN_OCTETS or (run >= 32 and run % 8 == 0):
                            mask |= BINARY
                    if run <= 3:
                        before = src[begin10 - 1] if begin10 > low else np.uint8(32)
                        escaped = before == 37 or before == 61 or before == 35 or before == 120 or before == 92
                        fits = 32 <= value < 127 or 128 <= value < 245
                        if begin10 - code_end > MAX_GAP or escaped or not fits:
                            codes = code_letters = 0
                        if fits:
                            codes += 1
                            code_letters += value == 32 or value > 127 or 97 <= (value | 32) <= 122
                            code_end = i
                            if codes >= MIN_GROUPS and code_letters * 4 >= codes * 3:
                                mask |= DECIMAL
            begin10 = i + 1
        if kind & GRAPHIC:
            morse = morse and kind & SIGNAL != 0
            signs += kind & IN_64 == 0
        else:
            size = i - token
            if size >= MIN_BASE85 and signs >= 2 and not mask & BASE85 and start85(src, token, i, buffer)[0] >= 0:
                mask |= BASE85
            if size > 0:
                if middles or rotated:
                    rotated = max(0, rotated + 8 * middles - size)
                    middles = 0
                    if rotated >= MIN_MIDDLES:
                        mask |= ROTATED_SIGNS
                if not src[token] & 12 and size % 5 == 0:  # a, b, 0 and 1 among others
                    _fives(src, token, i, low, counts)
                tokens += 1
                singles += size == 1
                if morse and size <= 7:
                    signals += 1
                    for k in range(token, i):
                        dots += src[k] == 46
                        dashes += src[k] == 45 or src[k] == 95
                    if signals >= MIN_SIGNALS and dots > 2 and dashes > 2:
                        mask |= MORSE
                    elif signals >= MIN_TAPS and dashes == 0 and dots >= signals // 2:
                        mask |= SQUARES
                else:
                    signals = dots = dashes = 0
            if b >= 0xC2 and (i == low or src[i - 1] <= 32):
                after = i + (2 if b < 0xE0 else 3 if b < 0xF0 else 4)
                tokens += 1
                singles += after >= high or src[after] <= 32
            token = i + 1
            morse = True
            signs = 0
    if (singles >= MIN_SINGLES and singles * 5 >= tokens * 4) or beads >= MIN_SINGLES:
        mask |= SPREAD
    if not GRAPHIC & CLASSES[src[high - 1]] or CLASSES[src[high - 1]] & IN_64:
        mask |= PUNYCODE * (tail(src, low, high) >= MIN_TAIL)
    if counts[CELLS_AT] >= MIN_SQUARES:
        mask |= SQUARES
    if counts[OCTALS_AT] >= MIN_GROUPS:
        mask |= OCTAL
    if counts[FIVES_AT] >= MIN_FIVES:
        mask |= BACON
    if ordinals >= MIN_ORDINALS:
        mask |= ORDINALS
    if dotted >= MIN_CELLS:
        mask |= BRAILLE
    if parts >= MIN_PARTS:
        mask |= ITEMS
    if bars >= MIN_BARS and lines >= 2:
        mask |= CELLS
    if lines >= MIN_LINES and tokens * 4 <= (lines + 1) * 5:
        mask |= LINES
    if urls >= MIN_ESCAPES:
        mask |= URL
    if entities >= MIN_ESCAPES:
        mask |= HTML
    if escapes >= MIN_ESCAPES:
        mask |= ESCAPES
    if quoted >= MIN_ESCAPES:
        mask |= QUOTED
    if strings >= MIN_STRINGS:
        mask |= STRINGS
    return mask


@njit(cache=True, nogil=True)
def _rows(src, offsets, masks):  # type: ignore[no-untyped-def]
    buffer = np.empty(24, np.uint8)
    digits = np.empty(2 * len(buffer), np.uint8)
    counts = np.empty(6, np.int64)
    for row in range(len(masks)):
        if offsets[row + 1] - offsets[row] >= MIN_SIGNALS:
            masks[row] = _row(src, offsets[row], offsets[row + 1], digits, buffer, counts)
