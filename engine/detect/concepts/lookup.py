"""Words of many languages found in folded text: the language most words of a window are of, and what they mean.

A word is a run of letters, digits and everything above ASCII that is no punctuation; in scripts without spaces each
character begins one. A stem is looked up by the FNV-1a hash of every beginning of a word, the longest one counts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

FNV_BASIS: Final = np.uint64(0xCBF29CE484222325)
FNV_PRIME: Final = np.uint64(0x100000001B3)
MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
HALF: Final = np.uint64(32)
LONGEST: Final = 48
"""Bytes of the longest stem."""
WHOLE, BEGINS, LATER = 0, 1, 2
"""How a part of an entry meets a word: as the whole of it, or as its beginning; with LATER added, some words on."""
MOST_BETWEEN: Final = 5
"""Words that may stand before a part that comes later."""
IS_BEGINNING, HAS_MORE, IS_LAST = 1 << 16, 1 << 17, 1 << 18
"""Flags of an entry: its first part is a beginning, it has further parts, no more entries have its first stem."""
SIEVE: Final = 1 << 20
SIEVE_SHIFT: Final = np.uint64(44)
LOW6: Final = np.uint64(63)
SIX: Final = np.uint64(6)
ONE: Final = np.uint64(1)
LONE: Final = 255
"""Stands for the second concept in the feature of a concept alone."""
FEATURES: Final = 1 << 16
Ints = npt.NDArray[np.int32]


class Table(NamedTuple):
    """E entries in the form the look-up reads, those with the same first stem one after the other.

    ``keys`` uint64 (S,) and ``heads`` int32 (S,): open addressing from the hash of a first stem to its first entry, -1
    for a free slot · ``sieve`` uint64 (SIEVE / 64,): a bit for the upper bits of each key, so that most beginnings of
    words are refused in a small table · ``facts`` int32 (E,): language, concept << 8, and the flags below ·
    ``part_from`` int32 (E+1,) into ``parts`` int32 (P, 3): bytes in ``pool`` uint8 (N,), and how each meets a word ·
    ``clitics`` int32 (Q, 3): bytes in ``pool``, and the language whose words may begin with them.
    """

    keys: npt.NDArray[np.uint64]
    heads: Ints
    sieve: npt.NDArray[np.uint64]
    facts: Ints
    part_from: Ints
    parts: Ints
    pool: npt.NDArray[np.uint8]
    clitics: Ints


class Found(NamedTuple):
    """What was found in W windows: ``lang`` int16 (W,), -1 where too few words of any are known · ``concept`` uint8
    (K,), ``start`` and ``end`` int32 (K,) bytes in the window · ``offsets`` int64 (W+1,)."""

    lang: npt.NDArray[np.int16]
    concept: npt.NDArray[np.uint8]
    start: Ints
    end: Ints
    offsets: npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def mixed(word):  # type: ignore[no-untyped-def]
    """The key of a word from its FNV-1a hash."""
    word = (word ^ (word >> HALF)) * MIX
    return word ^ (word >> HALF)


@njit(cache=True, nogil=True)
def word_end(values, i, stop):  # type: ignore[no-untyped-def]
    """Where the word that begins at ``i`` ends; in a script without spaces, the end of the stretch of that script."""
    kind, size = kind_at(values, i, stop)
    at = min(i + size, stop)
    while at < stop:
        other, size = kind_at(values, at, stop)
        if other != kind:
            break
        at = min(at + size, stop)
    return at


@njit(cache=True, nogil=True)
def _next_word(values, at, stop):  # type: ignore[no-untyped-def]
    # Where the next word of the sentence begins, or -1: words of one entry stand in one sentence.
    while at < stop:
        kind, size = kind_at(values, at, stop)
        if kind != 2:
            return at
        if values[at] != 32 and values[at] != 39 and values[at] != 45:
            return -1
        at += size
    return -1


@njit(cache=True, nogil=True)
def _following(values, at, stop, table, entry):  # type: ignore[no-untyped-def]
    # Where the entry ends whose first part ends before ``at``, or -1: its further parts are the next words. The words
    # between are read as well where there may be some: it then ends with the first part.
    parted, began = False, at + 1
    for k in range(table.part_from[entry] + 1, table.part_from[entry + 1]):
        low, high, how = table.parts[k, 0], table.parts[k, 1], table.parts[k, 2]
        parted |= how >= 2
        passed = MOST_BETWEEN if how >= 2 else 0
        while True:
            at = _next_word(values, at, stop)
            if at < 0:
                return -1
            end = word_end(values, at, stop)
            size = high - low
            same = end - at == size or (end - at > size and how & 1 == 1)
            if same:
                for j in range(size):
                    if values[at + j] != table.pool[low + j]:
                        same = False
                        break
            at = end
            if same:
                break
            if passed == 0:
                return -1
            passed -= 1
    return began if parted else at


@njit(cache=True, nogil=True)
def _longest(values, begin, end, stop, continuous, table, wanted, ends, found, touched, some):  # type: ignore[no-untyped-def]
    # The longest entry of each language (or of ``wanted`` alone) that begins at ``begin`` in a word up to ``end``:
    # raises ``ends`` int64 (L,), 0 for none, and sets ``found`` int32 (L,). The first ``some`` of ``touched`` are the
    # languages that have one; returns how many these are then.
    mask = np.uint64(len(table.keys) - 1)
    word = FNV_BASIS
    last = min(end, begin + LONGEST)
    i = begin
    while i < last:
        word = (word ^ np.uint64(values[i])) * FNV_PRIME
        i += 1
        if i < end and values[i] & 0xC0 == 0x80:
            continue
        key = mixed(word)
        bit = key >> SIEVE_SHIFT
        if (table.sieve[bit >> SIX] >> (bit & LOW6)) & ONE == 0:
            continue
        slot = key & mask
        while table.heads[slot] >= 0 and table.keys[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        entry = table.heads[slot]
        behind = _next_word(values, i if continuous else end, stop) if entry >= 0 else -1
        while entry >= 0:
            facts = table.facts[entry]
            lang = facts & 255
            if (wanted < 0 or lang == wanted) and (continuous or i == end or facts & IS_BEGINNING):
                at = i
                if facts & HAS_MORE:
                    # Most entries of a frequent first word are refused by the first byte of their second.
                    low, _, how = table.parts[table.part_from[entry] + 1]
                    at = -1
                    if behind >= 0 and (how >= 2 or values[behind] == table.pool[low]):
                        at = _following(values, i if continuous else end, stop, table, entry)
                if at > ends[lang]:
                    if ends[lang] == 0:
                        touched[some] = lang
                        some += 1
                    ends[lang], found[lang] = at, entry
            entry = -1 if facts & IS_LAST else entry + 1
    return some


@njit(cache=True, nogil=True)
def _without_clitics(values, begin, end, stop, table, ends, found, touched, some):  # type: ignore[no-untyped-def]
    # The same for what is left of the word without what may be written onto its front; two letters stay at least.
    for k in range(len(table.clitics)):
        low, high = table.clitics[k, 0], table.clitics[k, 1]
        size = high - low
        if end - begin < size + 4:
            continue
        same = True
        for j in range(size):
            if values[begin + j] != table.pool[low + j]:
                same = False
                break
        if same:
            wanted = table.clitics[k, 2]
            some = _longest(values, begin + size, end, stop, False, table, wanted, ends, found, touched, some)
    return some


@njit(cache=True, nogil=True)
def read(values, offsets, table, languages, main, least, bare):  # type: ignore[no-untyped-def]
    """The language of each of W windows, and what its words mean there: the fields of a `Found`.

    ``values`` uint8 (N,) is folded text with ``offsets`` int64 (W+1,), ``languages`` how many ``table`` knows. A
    window is of the language that most of its words are of, ``main`` where that is one of these; of none, where less
    than the share ``least`` of its words are known. Words of the concept ``bare`` only tell the language. In a script
    without spaces a character is taken for a fifth of a word, and a word found for half of one. O(N)
    """
    windows, room, longest = len(offsets) - 1, np.int64(0), np.int64(0)
    for w in range(windows):
        # A word of one byte needs one more beside it, but for the last word of each window.
        most = (offsets[w + 1] - offsets[w] + 1) // 2
        longest = max(longest, most)
        room += most
    concept = np.empty(room, np.uint8)
    start, stop_at = np.empty(room, np.int32), np.empty(room, np.int32)
    lang_of, out = np.full(windows, -1, np.int16), np.zeros(windows + 1, np.int64)
    hits = np.empty((longest * languages, 4), np.int64)
    votes = np.zeros(languages, np.float32)
    ends, found = np.zeros(languages, np.int64), np.zeros(languages, np.int32)
    touched = np.zeros(languages, np.int64)
    n = np.int64(0)
    for w in range(windows):
        begin, stop = offsets[w], offsets[w + 1]
        count, words = np.int64(0), np.float32(0.0)
        votes[:] = 0.0
        i = begin
        while i < stop:
            kind, size = kind_at(values, i, stop)
            if kind == 2:
                i += size
                continue
            end = word_end(values, i, stop)
            ahead, weight, size_in_words = end, np.float32(1.0), np.float32(1.0)
            some = _longest(values, i, end, stop, kind == 1, table, -1, ends, found, touched, 0)
            if kind == 1:
                ahead, weight, size_in_words = i + size, np.float32(0.5), np.float32(0.2)
            elif 0xD6 <= values[i] <= 0xDB:
                some = _without_clitics(values, i, end, stop, table, ends, found, touched, some)
            words += size_in_words
            for k in range(some):
                lang = touched[k]
                votes[lang] += weight
                hits[count, 0], hits[count, 1], hits[count, 2] = lang, found[lang], i
                hits[count, 3] = ends[lang] if kind == 1 else max(ends[lang], end)
                count += 1
                ends[lang] = 0
            i = ahead
        lang = main
        for other in range(languages):
            if votes[other] > votes[lang]:
                lang = other
        if votes[lang] > 0 and votes[lang] >= least * words:
            lang_of[w] = lang
            over = begin
            for k in range(count):
                if hits[k, 0] == lang and hits[k, 2] >= over:
                    over = hits[k, 3]
                    meant = table.facts[hits[k, 1]] >> 8 & 255
                    if meant == bare:
                        continue
                    concept[n] = meant
                    start[n], stop_at[n] = hits[k, 2] - begin, over - begin
                    n += 1
        out[w + 1] = n
    return lang_of, concept[:n].copy(), start[:n].copy(), stop_at[:n].copy(), out


@njit(cache=True, nogil=True)
def features(concept, offsets, reach):  # type: ignore[no-untyped-def]
    """Concepts, and pairs of them at most ``reach`` apart in either order, of each of W windows.

    Returns:
        CSR: indptr int64 (W+1,), indices int32 (Z,) and counts float32 (Z,). A pair (a, b), a <= b, is 256 a + b, a
        concept alone 256 a + LONE.
    """
    room = len(concept) * (reach + 1)
    indices, counts = np.empty(room, np.int32), np.empty(room, np.float32)
    indptr = np.zeros(len(offsets), np.int64)
    place = np.full(FEATURES, -1, np.int64)
    n = 0
    for w in range(len(offsets) - 1):
        first = n
        for i in range(offsets[w], offsets[w + 1]):
            for j in range(i, min(i + reach + 1, offsets[w + 1])):
                a, b = np.int64(concept[i]), np.int64(concept[j])
                if j == i:
                    b = np.int64(LONE)
                elif a > b:
                    a, b = b, a
                at = a * 256 + b
                if place[at] < first:
                    place[at] = n
                    indices[n], counts[n] = at, 1.0
                    n += 1
                else:
                    counts[place[at]] += 1.0
        indptr[w + 1] = n
    return indptr, indices[:n].copy(), counts[:n].copy()
