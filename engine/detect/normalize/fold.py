"""Folding: one linear pass from raw bytes to comparable text, each folded byte with the original bytes behind it.

Lower case and compatibility forms (NFKC), diacritics off Latin letters, look-alike letters to ASCII in words that mix
scripts, invisible characters out, whitespace squeezed. Bytes that are not UTF-8 become U+FFFD, one each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize import folding_table
from aimds.detect.normalize.folding_table import (
    BIDI,
    DIACRITIC,
    DISGUISE,
    INVISIBLE,
    LATIN_LETTER,
    LETTER,
    LOOKALIKE,
    MARK,
    MAX_GROWTH,
    NEWLINE,
    SPACE,
    TAG,
    VARIATION,
)
from aimds.detect.normalize.utf8 import compose, decode_at, put
from aimds.detect.normalize.vocabulary import Vocabulary, lookup, word_hash

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


NON_ASCII, ZERO_WIDTH, TAGS, BIDI_MARKS, VARIATIONS, CONFUSABLE, COMBINING, DISGUISED = 1, 2, 4, 8, 16, 32, 64, 128
INVALID = 1024
DECORATED_MARKS = 4
"""So many separate diacritics on Latin letters, one for every three letters or more, are decoration, not spelling."""


class Folded(NamedTuple):
    """``values`` uint8 (N,) folded text, ``offsets`` int64 (B+1,), ``starts`` and ``ends`` int32 (N,) original byte
    range in the row behind each folded byte, ``flags`` uint32 (B,).
    """

    values: Bytes
    offsets: Offsets
    starts: Ints
    ends: Ints
    flags: npt.NDArray[np.uint32]


def fold(values: Bytes, offsets: Offsets, vocabulary: Vocabulary, *, keep_case: bool = False) -> Folded:
    """Fold B rows of raw bytes.

    Args:
        values: uint8 (N,), may hold invalid UTF-8.
        offsets: int64 (B+1,).
        vocabulary: decides which words of look-alikes alone are Latin words in disguise.
        keep_case: keep case and every whitespace character; the form that decoders read.
    """
    lower, kept = folding_table.load()
    room = len(values) + (MAX_GROWTH - 1) * int(_high_bytes(values))
    out, starts, ends = np.empty(room, np.uint8), np.empty(room, np.int32), np.empty(room, np.int32)
    out_offsets = np.zeros(len(offsets), np.int64)
    flags = np.zeros(len(offsets) - 1, np.uint32)
    table = kept if keep_case else lower
    _fold_rows(values, offsets, *table, *vocabulary.words, not keep_case, out, starts, ends, out_offsets, flags)
    n = out_offsets[-1]
    return Folded(out[:n], out_offsets, starts[:n], ends[:n], flags)


@njit(cache=True, nogil=True)
def _high_bytes(values):  # type: ignore[no-untyped-def]
    found = 0
    for k in range(len(values)):
        found += values[k] >> 7
    return found


@njit(cache=True, nogil=True)
def _close_word(page, classes, looks, keys, logs, out, starts, ends, start, o, mixed, least, spare):  # type: ignore[no-untyped-def]
    # Rewrites the look-alikes of the word out[start:o] in place, which only shrinks it. A word without any Latin
    # letter is rewritten only where that makes an unknown word a known one of at least `least` letters. Returns the
    # new end of the word.
    if not mixed:
        w = 0
        i = start
        while i < o and w < len(spare):
            code, size = decode_at(out, i, o)
            spare[w] = looks[page[code >> 8], code & 255] if code >= 0x80 else np.uint8(code)
            w += 1
            i += size
        if w < least or i < o or lookup(keys, logs, word_hash(out, start, o)) >= 0:
            return o
        if lookup(keys, logs, word_hash(spare, 0, w)) < 0:
            return o
    i = w = start
    bare = False  # the last letter became a Latin one, so that its marks go
    while i < o:
        code, size = decode_at(out, i, o)
        look = looks[page[code >> 8], code & 255] if code >= 0x80 else np.uint8(0)
        if look:
            out[w] = look
            starts[w] = starts[i]
            ends[w] = ends[i]
            w += 1
            bare = True
        elif bare and code >= 0x80 and classes[page[code >> 8], code & 255] & MARK:
            ends[w - 1] = ends[i]
        else:
            bare = False
            for k in range(size):
                out[w + k] = out[i + k]
                starts[w + k] = starts[i + k]
                ends[w + k] = ends[i + k]
            w += size
        i += size
    return w


@njit(cache=True, nogil=True)
def _fold_ascii(src, low, high, ascii_map, squeeze, out, starts, ends, o):  # type: ignore[no-untyped-def]
    flags = 0
    first = o
    hidden = False
    visible = False
    for i in range(low, high):
        c = ascii_map[src[i]]
        if c <= 32:
            if c == 0:
                hidden = visible
                continue
            visible = hidden = False
            if squeeze and o > first and out[o - 1] <= 32:
                if c == 10:
                    out[o - 1] = 10
                ends[o - 1] = i - low + 1
                continue
        else:
            if hidden:
                flags = ZERO_WIDTH
                hidden = False
            visible = True
        out[o] = c
        starts[o] = i - low
        ends[o] = i - low + 1
        o += 1
    return o, flags


@njit(cache=True, nogil=True)
def _fold_row(  # type: ignore[no-untyped-def]
    src, low, high, page, classes, maps, looks, bounds, pool, pairs, composed, keys, logs,
    squeeze, loose, out, starts, ends, o, spare,
):  # fmt: skip
    # Returns (place after the row, flags, whether another pass with `loose` could turn more words).
    flags = NON_ASCII
    first = o
    mixed_words = foreign_words = 0
    letters = marks = 0
    word = o  # where the word begins; then what it holds so far
    latin = alike = other = 0
    strict = True
    last = np.int64(-1)  # the code point that a mark would join, where it stands, whether it is Latin or ASCII
    last_at = o
    last_latin = False
    visible = hidden = False  # the last visible character is ASCII and no space; something invisible came after it
    emoji_flag = False
    selectors = 0
    i = low
    while i < high:
        code, size = decode_at(src, i, high)
        begin, end = i - low, i - low + size
        i += size
        if code < 0:
            flags |= INVALID
            code = np.int64(0xFFFD)
        bits = np.int64(classes[page[code >> 8], code & 255])
        if bits & (INVISIBLE | BIDI | TAG | VARIATION):
            if bits & BIDI:
                flags |= BIDI_MARKS
            elif bits & TAG:
                if not emoji_flag:
                    flags |= TAGS
            elif bits & VARIATION:
                selectors += 1
                if selectors > 1 or 97 <= (last | 32) <= 122:
                    flags |= VARIATIONS
            else:
                hidden = visible
            continue
        selectors = 0
        emoji_flag = code == 0x1F3F4
        if bits & DISGUISE:
            flags |= DISGUISED
        m = np.int64(maps[page[code >> 8], code & 255])
        pieces = np.int64(1) if m == 0 else np.int64(bounds[m] - bounds[m - 1])
        for k in range(pieces):
            if m:
                code = np.int64(pool[bounds[m - 1] + k])
            kind = np.int64(classes[page[code >> 8], code & 255])
            if kind & MARK:
                if last >= 0 and not last_latin:
                    joined = compose(pairs, composed, last, code)
                    if joined >= 0:
                        was = looks[page[last >> 8], last & 255] != 0
                        now = looks[page[joined >> 8], joined & 255] != 0
                        if was and not now:
                            alike -= 1
                            other += 1
                        elif now and not was:
                            alike += 1
                            other -= 1
                        o = put(out, starts, ends, last_at, joined, starts[last_at], end)
                        last = joined
                        continue
                if last_latin or kind & DIACRITIC:
                    marks += last_latin
                    for j in range(last_at, o if last >= 0 else last_at):
                        ends[j] = end
                    continue
            elif last >= 0x1100:
                joined = compose(pairs, composed, last, code)
                if joined >= 0:
                    o = put(out, starts, ends, last_at, joined, starts[last_at], end)
                    last = joined
                    continue
            ascii_visible = 32 < code < 0x80
            if hidden and ascii_visible:
                flags |= ZERO_WIDTH
            hidden = False
            visible = ascii_visible
            if kind & LETTER:
                letters += 1
                look = looks[page[code >> 8], code & 255]
                if look:
                    alike += 1
                    strict = strict and ((bits | kind) & LOOKALIKE) != 0
                elif kind & LATIN_LETTER:
                    latin += 1
                else:
                    other += 1
            breaks = not (kind & (LETTER | MARK) or 48 <= code <= 57)
            if breaks:
                if alike:
                    mixed = latin > 0 and (other == 0 or latin >= alike + other)
                    if mixed or (latin == 0 and other == 0):
                        before = o
                        if mixed or strict or loose:
                            o = _close_word(
                                page,
                                classes,
                                looks,
                                keys,
                                logs,
                                out,
                                starts,
                                ends,
                                word,
                                o,
                                mixed,
                                2 if loose else 3,
                                spare,
                            )
                        if o != before:
                            flags |= CONFUSABLE
                            mixed_words += mixed
                        else:
                            foreign_words += 1
                latin = alike = other = 0
                strict = True
            if kind & (SPACE | NEWLINE):
                code = np.int64(10 if kind & NEWLINE else 32)
                last = np.int64(-1)
                last_latin = False
                if squeeze and o > first and out[o - 1] <= 32:
                    if code == 10:
                        out[o - 1] = 10
                    ends[o - 1] = end
                else:
                    o = put(out, starts, ends, o, code, begin, end)
            else:
                last = code
                last_at = o
                last_latin = code < 0x80 or kind & LATIN_LETTER != 0
                o = put(out, starts, ends, o, code, begin, end)
            if breaks:
                word = o
    if alike:
        mixed = latin > 0 and (other == 0 or latin >= alike + other)
        if mixed or (latin == 0 and other == 0 and (strict or loose)):
            before = o
            o = _close_word(
                page, classes, looks, keys, logs, out, starts, ends, word, o, mixed, 2 if loose else 3, spare
            )
            if o != before:
                flags |= CONFUSABLE
                mixed_words += mixed
        foreign_words += latin == 0 and other == 0
    if marks >= DECORATED_MARKS and marks * 3 >= letters:
        flags |= COMBINING
    return o, flags, mixed_words > 0 and foreign_words > 0


@njit(cache=True, nogil=True)
def _fold_rows(  # type: ignore[no-untyped-def]
    src, offsets, page, classes, maps, looks, bounds, pool, ascii_map, pairs, composed, keys, logs,
    squeeze, out, starts, ends, out_offsets, flags,
):  # fmt: skip
    spare = np.empty(48, np.uint8)
    o = np.int64(0)
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        high_bits = np.uint8(0)
        for i in range(low, high):
            high_bits |= src[i]
        if high_bits < 0x80:
            o, found = _fold_ascii(src, low, high, ascii_map, squeeze, out, starts, ends, o)
        else:
            begin = o
            for loose in (False, True):
                o, found, again = _fold_row(
                    src, low, high, page, classes, maps, looks, bounds, pool, pairs, composed, keys, logs,
                    squeeze, loose, out, starts, ends, begin, spare,
                )  # fmt: skip
                if not again:
                    break
        flags[row] = found
        out_offsets[row + 1] = o
