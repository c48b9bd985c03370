"""Emoji in folded text taken for what they do there: they part words, and inside a known word they do nothing.

An emoji between words becomes one blank with the blanks beside it: by the word rule of the later stages it would be a
word of its own, or a part of one. So does a keycap that stands alone, and the two letters of a flag in a row that
spells nothing with such letters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import NON_ASCII, Folded
from aimds.detect.normalize.vocabulary import WORD_BYTES, Vocabulary, lookup, word_hash

SPACED = int(Flag.SPACED)

MAX_WORD = 32
"""Bytes of the longest word that is put together from pieces between emoji."""
MIN_WORD = 4
"""Fewer letters make a known word by chance."""


def blank_signs(folded: Folded, values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> Folded:
    """``folded`` with a blank for each digit of a lone keycap and each letter of a flag; its values are overwritten.

    Args:
        values: uint8 (N,), the bytes that were folded.
        offsets: int64 (B+1,).
    """
    if (folded.flags & NON_ASCII).any():
        _blank_rows(folded.values, folded.offsets, folded.starts, folded.ends, folded.flags, values, offsets)
    return folded


def part_words(folded: Folded, vocabulary: Vocabulary) -> Folded:
    """``folded`` without emoji: a blank instead, or nothing where only both sides together are a known word, which
    sets `Flag.SPACED`; rows only get shorter, the arrays are overwritten.
    """
    if not (folded.flags & NON_ASCII).any():
        return folded
    _part_rows(folded.values, folded.offsets, folded.starts, folded.ends, folded.flags, *vocabulary.words)
    n = folded.offsets[-1]
    return Folded(folded.values[:n], folded.offsets, folded.starts[:n], folded.ends[:n], folded.flags)


@njit(cache=True, nogil=True)
def emoji_bytes(values, i, high):  # type: ignore[no-untyped-def]
    """Bytes of the emoji at ``i``, 0 for everything else: U+1F000 to U+1FAFF, symbols and dingbats U+2600 to U+27BF
    but brackets, arrows and clocks with an emoji form, squares, stars, the wavy dash.
    """
    b = values[i]
    if b == 0xF0:
        return 4 if i + 4 <= high and values[i + 1] == 0x9F and values[i + 2] <= 0xAB else 0
    if (b != 0xE2 and b != 0xE3) or i + 3 > high:
        return 0
    code = (np.int64(b) & 15) << 12 | (np.int64(values[i + 1]) & 63) << 6 | np.int64(values[i + 2]) & 63
    if b == 0xE3:
        return 3 if code == 0x3030 or code == 0x303D else 0
    if 0x2600 <= code <= 0x27BF:
        return 0 if 0x2768 <= code <= 0x2775 else 3
    if 0x25A0 <= code <= 0x25FF or 0x2B00 <= code <= 0x2BFF:
        return 3
    if code == 0x231A or code == 0x231B or code == 0x23CF or 0x23E9 <= code <= 0x23FA:
        return 3
    return 3 if 0x2194 <= code <= 0x2199 or code == 0x21A9 or code == 0x21AA else 0


@njit(cache=True, nogil=True)
def _is_keycap(raw, base, end):  # type: ignore[no-untyped-def]
    # Whether the folded byte whose original bytes end there was put into a keycap, U+20E3.
    return end >= 4 and raw[base + end - 3] == 0xE2 and raw[base + end - 2] == 0x83 and raw[base + end - 1] == 0xA3


@njit(cache=True, nogil=True)
def _is_flag_letter(raw, base, start, end):  # type: ignore[no-untyped-def]
    # Whether the original bytes are a regional indicator, U+1F1E6 to U+1F1FF.
    return end - start >= 4 and raw[base + start] == 0xF0 and raw[base + start + 1] == 0x9F and (
        raw[base + start + 2] == 0x87 and raw[base + start + 3] >= 0xA6
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _blank_rows(values, offsets, starts, ends, flags, raw, raw_offsets):  # type: ignore[no-untyped-def]
    for row in range(len(offsets) - 1):
        if not flags[row] & NON_ASCII:
            continue
        base = raw_offsets[row]
        pairs = spelt = run = 0
        capped = False  # the byte before was in a keycap
        low, high = offsets[row], offsets[row + 1]
        for i in range(low, high + 1):
            letter = i < high and 97 <= values[i] <= 122 and _is_flag_letter(raw, base, starts[i], ends[i])
            if letter:
                run += 1
            elif run:
                pairs += run == 2
                spelt += run != 2
                run = 0
            if i == high:
                break
            cap = 32 < values[i] < 64 and _is_keycap(raw, base, ends[i])
            beside = i + 1 < high and 32 < values[i + 1] < 64 and _is_keycap(raw, base, ends[i + 1])
            if cap and not capped and not beside:
                values[i] = 32
            capped = cap
        if pairs and not spelt:
            for i in range(low, high):
                if 97 <= values[i] <= 122 and _is_flag_letter(raw, base, starts[i], ends[i]):
                    values[i] = 32


@njit(cache=True, nogil=True)
def _word_end(values, i, high):  # type: ignore[no-untyped-def]
    while i < high and WORD_BYTES[values[i]]:
        i += WORD_BYTES[values[i]]
    return min(i, high)


@njit(cache=True, nogil=True)
def _emoji_end(values, i, high):  # type: ignore[no-untyped-def]
    while i < high:
        size = emoji_bytes(values, i, high)
        if size == 0:
            break
        i += size
    return i


@njit(cache=True, nogil=True)
def _is_ideograph(values, i, low, high):  # type: ignore[no-untyped-def]
    # Kana and ideographs, which no blanks part.
    return low <= i and i + 3 <= high and (
        0xE4 <= values[i] <= 0xE9 or (values[i] == 0xE3 and values[i + 1] != 0x80 and values[i + 1] & 0xC0 == 0x80)
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _whole(values, i, high, keys, logs, word):  # type: ignore[no-untyped-def]
    # End of the pieces of letters from i on, parted by nothing but emoji, if only all of them together are a known
    # word; else i.
    size = 0
    pieces = unknown = 0
    end = p = i
    while p < high:
        stop = _word_end(values, p, high)
        if stop == p or size + stop - p > MAX_WORD:
            break
        for k in range(p, stop):
            word[size] = values[k]
            size += 1
        pieces += 1
        # A single letter is a known word nearly everywhere.
        unknown += stop - p < 2 or lookup(keys, logs, word_hash(values, p, stop)) < 0
        end = stop
        p = _emoji_end(values, stop, high)
        if p == stop:
            break
    if p < high and WORD_BYTES[values[p]]:
        return i
    if pieces < 2 or unknown == 0 or size < MIN_WORD or lookup(keys, logs, word_hash(word, 0, size)) < 0:
        return i
    return end


@njit(cache=True, nogil=True)
def _part_row(values, starts, ends, low, high, o, keys, logs, word):  # type: ignore[no-untyped-def]
    # Copies values[low:high] to o without emoji: (place after it, whether a word was put together).
    first = o
    joined = False
    edge = True  # no letter stands before
    i = low
    while i < high:
        b = values[i]
        size = emoji_bytes(values, i, high) if b >= 0xE2 else 0
        blank = size > 0 or b <= 32
        if blank:
            end = i + max(size, 1)
            if size and _is_ideograph(values, o - 3, first, o):
                end = _emoji_end(values, end, high)
                if _is_ideograph(values, end, low, high):
                    i = end
                    continue
            if o > first and values[o - 1] <= 32:
                if b == 10:
                    values[o - 1] = 10
                ends[o - 1] = ends[end - 1]
            else:
                start, stop = starts[i], ends[end - 1]
                values[o] = 10 if b == 10 else 32
                starts[o], ends[o] = start, stop
                o += 1
            i = end
            edge = True
            continue
        end = i + 1
        if edge and WORD_BYTES[b]:
            end = _whole(values, i, high, keys, logs, word)
            if end > i:
                joined = True
                while i < end:
                    size = emoji_bytes(values, i, high) if values[i] >= 0xE2 else 0
                    if size == 0:
                        values[o], starts[o], ends[o] = values[i], starts[i], ends[i]
                        o += 1
                    i += max(size, 1)
                edge = False
                continue
            end = _word_end(values, i, high)
        edge = False
        while i < end:
            values[o], starts[o], ends[o] = values[i], starts[i], ends[i]
            o += 1
            i += 1
        if i < high and values[i] < 0x80 and WORD_BYTES[values[i]] == 0:
            edge = True
    return o, joined


@njit(cache=True, nogil=True)
def _has_work(values, low, high):  # type: ignore[no-untyped-def]
    # Whether an emoji stands there, or two blanks side by side, as `blank_signs` leaves them.
    for i in range(low, high):
        b = values[i]
        if (b >= 0xE2 and emoji_bytes(values, i, high) > 0) or (b <= 32 and i > low and values[i - 1] <= 32):
            return True
    return False


@njit(cache=True, nogil=True)
def _part_rows(values, offsets, starts, ends, flags, keys, logs):  # type: ignore[no-untyped-def]
    word = np.empty(MAX_WORD, np.uint8)
    o = np.int64(0)
    low = offsets[0]
    for row in range(len(offsets) - 1):
        high = offsets[row + 1]
        if flags[row] & NON_ASCII and _has_work(values, low, high):
            o, joined = _part_row(values, starts, ends, low, high, o, keys, logs, word)
            if joined:
                flags[row] |= SPACED
        elif o == low:
            o = high
        else:
            for i in range(low, high):
                values[o], starts[o], ends[o] = values[i], starts[i], ends[i]
                o += 1
        low = high
        offsets[row + 1] = o
