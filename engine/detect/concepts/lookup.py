"""Words of many languages found in folded text: the language most words of a window are of, and what they mean.

A word is a run of letters, digits and everything above ASCII that is no punctuation; in scripts without spaces each
character begins one. A stem is looked up by the FNV-1a hash of every beginning of a word, the longest one counts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.concepts import spans
from aimds.detect.concepts.spans import kind_at, lean
from aimds.detect.normalize.vocabulary import FNV_BASIS, FNV_PRIME

MIX: Final = np.uint64(0xFF51AFD7ED558CCD)
HALF: Final = np.uint64(32)
LONGEST: Final = 48
"""Bytes of the longest stem."""
WHOLE, BEGINS, LATER = 0, 1, 2
"""How a part of an entry meets a word: as the whole of it, or as its beginning; with LATER added, some words on."""
MOST_BETWEEN: Final = 5
"""Words that may stand before a part that comes later."""
IS_BEGINNING, HAS_MORE, MORE_LATER, NEXT = 1 << 16, 1 << 17, 1 << 18, 19
"""Flags of an entry: its first part is a beginning, it has further parts, the first of these comes later; from bit NEXT
on the first byte of that."""
MOST_LANGUAGES: Final = 64
"""Languages in a mask."""
SIEVE: Final = 1 << 20
SIEVE_SHIFT: Final = np.uint64(44)
GOES_ON, ENDS = np.uint64(1), np.uint64(2)
"""Bits of a place of the sieve: some stem begins so, some stem is this."""
LOW5: Final = np.uint64(31)
FIVE: Final = np.uint64(5)
ONE: Final = np.uint64(1)
NONE: Final = np.uint64(0)
ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
Ints = npt.NDArray[np.int32]


class Table(NamedTuple):
    """E entries in the form the look-up reads, those with the same first stem one after the other, G groups in all.

    ``keys`` uint64 (S,) and ``heads`` int32 (S,): open addressing from the hash of a first stem to its group, -1 for a
    free slot · ``sieve`` uint64 (SIEVE / 32,): GOES_ON and ENDS for the upper bits of each key, so that a word is left
    as soon as no stem begins like it · ``spoken`` uint64 (G, 4): the languages that have the stem as a beginning, as a
    whole word, and as either with further parts · ``group_from`` int32 (G+1,) into the entries · ``facts`` int32 (E,):
    language, concept << 8, and the flags above · ``part_from`` int32 (E+1,) into ``parts`` int32 (P, 3): bytes in
    ``pool`` uint8 (N,), and how each meets a word · ``clitics`` int32 (Q, 3): bytes in ``pool``, and the language
    whose words may begin with them.
    """

    keys: npt.NDArray[np.uint64]
    heads: Ints
    sieve: npt.NDArray[np.uint64]
    spoken: npt.NDArray[np.uint64]
    group_from: Ints
    facts: Ints
    part_from: Ints
    parts: Ints
    pool: npt.NDArray[np.uint8]
    clitics: Ints


class Words(NamedTuple):
    """The words of a window as `spans.words` finds them."""

    spans: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.uint8]
    linked: npt.NDArray[np.bool_]


class Found(NamedTuple):
    """What was found in W windows: ``lang`` int16 (W,), -1 where too few words of any are known · ``concept`` uint8
    (K,), ``start`` and ``end`` int32 (K,) bytes in the window · ``offsets`` int64 (W+1,)."""

    lang: npt.NDArray[np.int16]
    concept: npt.NDArray[np.uint8]
    start: Ints
    end: Ints
    offsets: npt.NDArray[np.int64]


@lean
def mixed(word):  # type: ignore[no-untyped-def]
    """The key of a word from its FNV-1a hash."""
    word = (word ^ (word >> HALF)) * MIX
    return word ^ (word >> HALF)


@lean
def _followed(values, at, word, count, words, table, entry):  # type: ignore[no-untyped-def]
    # Where the entry ends whose first part ends at ``at`` in or after ``word``, or -1: its further parts are the next
    # words. The words between are read as well where there may be some: it then ends with the first part.
    parted, began = False, at + 1
    inside = at < words.spans[word, 1]
    for k in range(table.part_from[entry] + 1, table.part_from[entry + 1]):
        low, how = table.parts[k, 0], table.parts[k, 2]
        size = table.parts[k, 1] - low
        parted |= how >= 2
        passed = MOST_BETWEEN if how >= 2 else 0
        while True:
            if not inside:
                word += 1
                # Words of one entry stand in one sentence.
                if word >= count or not words.linked[word]:
                    return np.int64(-1)
                at = words.spans[word, 0]
            inside = False
            end = words.spans[word, 1]
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
                return np.int64(-1)
            passed -= 1
    return np.int64(began if parted else at)


@lean
def _following(values, at, word, count, words, table, entry):  # type: ignore[no-untyped-def]
    # The same, with most refused by the first byte of what must come next.
    inside, facts = at < words.spans[word, 1], table.facts[entry]
    near = not inside and facts & MORE_LATER == 0
    if near and (word + 1 >= count or values[words.spans[word + 1, 0]] != facts >> NEXT):
        return np.int64(-1)
    return _followed(values, at, word, count, words, table, entry)


@lean
def _group(table, key):  # type: ignore[no-untyped-def]
    # The group of entries whose first stem has the key, -1 where there is none.
    mask = np.uint64(len(table.keys) - 1)
    slot = key & mask
    while table.heads[slot] >= 0 and table.keys[slot] != key:
        slot = (slot + ONE) & mask
    return table.heads[slot]


@lean
def _spoken(values, begin, word, count, words, table, among, matches, n):  # type: ignore[no-untyped-def]
    # The languages of the mask ``among`` that have an entry which begins at ``begin`` in ``word``. Each stem found is
    # put into ``matches`` uint64 (M, 3) after the first ``n``: its group, its end, and the languages it may be of.
    end, whole = words.spans[word, 1], words.kinds[word] == 1
    last = min(end, begin + LONGEST)
    seen, hashed, i = NONE, FNV_BASIS, begin
    while i < last:
        hashed = (hashed ^ np.uint64(values[i])) * FNV_PRIME
        i += 1
        key = mixed(hashed)
        bit = key >> SIEVE_SHIFT
        known = table.sieve[bit >> FIVE] >> ((bit & LOW5) << ONE)
        if known & GOES_ON == 0:
            break
        if known & ENDS == 0 or (i < end and values[i] & 0xC0 == 0x80):
            continue
        group = _group(table, key)
        if group < 0:
            continue
        fits, more = table.spoken[group, 0], table.spoken[group, 2]
        complete = whole or i == end
        if complete:
            fits |= table.spoken[group, 1]
            more |= table.spoken[group, 3]
        if (fits | more) & among == 0:
            continue
        matches[n, 0], matches[n, 1], matches[n, 2] = group, i, (fits | more) & among
        n += 1
        seen |= fits & among
        more &= among & ~seen
        if more == 0:
            continue
        for entry in range(table.group_from[group], table.group_from[group + 1]):
            facts = table.facts[entry]
            lang = ONE << np.uint64(facts & 255)
            if more & lang == 0 or facts & HAS_MORE == 0 or not (complete or facts & IS_BEGINNING):
                continue
            if _following(values, i if whole else end, word, count, words, table, entry) >= 0:
                seen |= lang
                more &= ~lang
    return seen, n


@lean
def _longest(values, word, count, words, table, lang, matches, first, last):  # type: ignore[no-untyped-def]
    # Where the longest entry of ``lang`` ends among those of ``matches[first:last]`` in ``word``, and the entry.
    end, whole = words.spans[word, 1], words.kinds[word] == 1
    mine = ONE << np.uint64(lang)
    best, found = np.int64(0), np.int64(-1)
    for m in range(first, last):
        if matches[m, 2] & mine == 0:
            continue
        group, i = np.int64(matches[m, 0]), np.int64(matches[m, 1])
        for entry in range(table.group_from[group], table.group_from[group + 1]):
            facts = table.facts[entry]
            if facts & 255 != lang or not (whole or i == end or facts & IS_BEGINNING):
                continue
            at = i
            if facts & HAS_MORE:
                at = _following(values, i if whole else end, word, count, words, table, entry)
            if at > best:
                best, found = at, np.int64(entry)
    return best, found


@lean
def _without(values, word, words, table, k):  # type: ignore[no-untyped-def]
    # Where the word goes on after the clitic ``k`` that may be written onto its front, -1 where it does not begin so;
    # two letters stay at least.
    begin, end = words.spans[word]
    low = table.clitics[k, 0]
    size = table.clitics[k, 1] - low
    if end - begin < size + 4:
        return np.int64(-1)
    for j in range(size):
        if values[begin + j] != table.pool[low + j]:
            return np.int64(-1)
    return begin + size


@lean
def _voices(values, begin, stop, words, table, matches, units, votes):  # type: ignore[no-untyped-def]
    # Counts two ``votes`` int64 (L,) for each language that a word of the window is of, one in a script without
    # spaces. ``units`` uint64 (U, 5): where an entry of some language begins, the word, the languages, and the first
    # and the one past the last of its ``matches``. Returns how many words the window has, how many of these its size is
    # taken for, and how many units there are.
    count = spans.words(values, begin, stop, words.spans, words.kinds, words.linked)
    size_in_words, n, last = np.float32(0.0), 0, 0
    for word in range(count):
        i, end = words.spans[word]
        whole = words.kinds[word] == 1
        while i < end:
            first = last
            seen, last = _spoken(values, i, word, count, words, table, ALL, matches, last)
            # Hebrew and Arabic.
            if not whole and 0xD6 <= values[i] <= 0xDB:
                for k in range(len(table.clitics)):
                    at = _without(values, word, words, table, k)
                    if at >= 0:
                        wanted = ONE << np.uint64(table.clitics[k, 2])
                        more, last = _spoken(values, at, word, count, words, table, wanted, matches, last)
                        seen |= more
            size_in_words += np.float32(0.2) if whole else np.float32(1.0)
            if seen:
                units[n, 0], units[n, 1], units[n, 2] = i, word, seen
                units[n, 3], units[n, 4] = first, last
                n += 1
                voice = 1 if whole else 2
                for lang in range(len(votes)):
                    votes[lang] += np.int32((seen >> np.uint64(lang)) & ONE) * voice
            if not whole:
                break
            i += kind_at(values, i, stop)[1]
    return count, size_in_words, n


@lean
def _read(  # type: ignore[no-untyped-def]
    values, offsets, table, words, matches, units, votes, main, least, bare, lang_of, concept, start, stop_at, out
):
    # `read` without what must be allocated; returns how many concepts there are.
    n = np.int64(0)
    for w in range(len(lang_of)):
        begin = offsets[w]
        votes[:] = 0
        count, size_in_words, some = _voices(values, begin, offsets[w + 1], words, table, matches, units, votes)
        lang = main
        for other in range(len(votes)):
            if votes[other] > votes[lang]:
                lang = other
        if votes[lang] > 0 and votes[lang] * 0.5 >= least * size_in_words:
            lang_of[w] = lang
            over, mine = begin, ONE << np.uint64(lang)
            for u in range(some):
                i, word = np.int64(units[u, 0]), np.int64(units[u, 1])
                if units[u, 2] & mine == 0 or i < over:
                    continue
                first, last = np.int64(units[u, 3]), np.int64(units[u, 4])
                over, entry = _longest(values, word, count, words, table, lang, matches, first, last)
                if words.kinds[word] == 0:
                    over = max(over, words.spans[word, 1])
                meant = table.facts[entry] >> 8 & 255
                if meant == bare:
                    continue
                concept[n] = meant
                start[n], stop_at[n] = i - begin, over - begin
                n += 1
        out[w + 1] = n
    return n


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
        room += (offsets[w + 1] - offsets[w] + 1) // 2
        longest = max(longest, offsets[w + 1] - offsets[w])
    concept = np.empty(room, np.uint8)
    start, stop_at = np.empty(room, np.int32), np.empty(room, np.int32)
    lang_of, out = np.full(windows, -1, np.int16), np.zeros(windows + 1, np.int64)
    words = Words(np.empty((longest, 2), np.int64), np.empty(longest, np.uint8), np.empty(longest, np.bool_))
    # A character of a script without spaces has three bytes, and each beginning of a word is met once for each clitic.
    matches = np.empty((longest * max(LONGEST // 3 + 1, len(table.clitics) + 1), 3), np.uint64)
    units, votes = np.empty((longest, 5), np.uint64), np.zeros(languages, np.int32)
    n = _read(
        values, offsets, table, words, matches, units, votes, main, least, bare, lang_of, concept, start, stop_at, out
    )
    return lang_of, concept[:n].copy(), start[:n].copy(), stop_at[:n].copy(), out
