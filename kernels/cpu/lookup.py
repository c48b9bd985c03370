"""The look-up of `concepts`: each word in all languages at once, then in the one that most words of a row are of."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from aimds.kernels.cpu.jit import I16, I32, I64, U8, U64, compiled, lean, reads, writes
from aimds.kernels.cpu.word_spans import DENSE, LINKED
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME, HALF, MIX
from aimds.kernels.stems import (
    ENDS,
    GOES_ON,
    HAS_MORE,
    IS_BEGINNING,
    LATER,
    MORE_LATER,
    NEXT,
    SIEVE_SHIFT,
    Stems,
)

LONGEST: Final = 48
MOST_BETWEEN: Final = 5
LOW5, FIVE = np.uint64(31), np.uint64(5)
ONE, NONE, ALL = np.uint64(1), np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)


class _Spans(NamedTuple):
    starts: Any
    ends: Any
    kinds: Any


@lean
def _followed(row: Any, at: Any, word: Any, stop: Any, spans: Any, stems: Any, entry: Any) -> Any:
    # Where the entry ends whose first part ends at ``at`` in or after ``word``, or -1: its further parts are the next
    # words before ``stop``. Words between are read as well where there may be some: it then ends with the first part.
    parted, began = False, at + 1
    inside = at < spans.ends[word]
    for k in range(stems.part_from[entry] + 1, stems.part_from[entry + 1]):
        low, how = stems.parts[k, 0], stems.parts[k, 2]
        size = stems.parts[k, 1] - low
        parted |= how >= LATER
        passed = MOST_BETWEEN if how >= LATER else 0
        while True:
            if not inside:
                word += 1
                # Words of one entry stand in one sentence.
                if word >= stop or spans.kinds[word] & LINKED == 0:
                    return np.int64(-1)
                at = np.int64(spans.starts[word])
            inside = False
            end = np.int64(spans.ends[word])
            same = end - at == size or (end - at > size and how & 1 == 1)
            if same:
                for j in range(size):
                    if row[at + j] != stems.pool[low + j]:
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
def _following(row: Any, at: Any, word: Any, stop: Any, spans: Any, stems: Any, entry: Any) -> Any:
    # The same, with most refused by the first byte of what must come next.
    inside, facts = at < spans.ends[word], stems.facts[entry]
    near = not inside and facts & MORE_LATER == 0
    if near and (word + 1 >= stop or row[spans.starts[word + 1]] != facts >> NEXT):
        return np.int64(-1)
    return _followed(row, at, word, stop, spans, stems, entry)


@lean
def _group(stems: Any, key: Any) -> Any:
    # The group of entries whose first stem has the key, -1 where there is none.
    mask = np.uint64(len(stems.keys) - 1)
    slot = key & mask
    while stems.heads[slot] >= 0 and stems.keys[slot] != key:
        slot = (slot + ONE) & mask
    return stems.heads[slot]


@lean
def _spoken(
    row: Any, begin: Any, word: Any, stop: Any, spans: Any, stems: Any, among: Any, matches: Any, n: Any
) -> Any:
    # The languages of the mask ``among`` that have an entry which begins at ``begin`` in ``word``. Each stem found is
    # put into ``matches`` uint64 (M, 3) after the first ``n``: its group, its end, and the languages it may be of.
    end, whole = np.int64(spans.ends[word]), spans.kinds[word] & DENSE != 0
    last = min(end, begin + LONGEST)
    seen, hashed, i = NONE, FNV_BASIS, begin
    while i < last:
        hashed = (hashed ^ np.uint64(row[i])) * FNV_PRIME
        i += 1
        key = (hashed ^ (hashed >> HALF)) * MIX
        key ^= key >> HALF
        bit = key >> SIEVE_SHIFT
        known = stems.sieve[bit >> FIVE] >> ((bit & LOW5) << ONE)
        if known & GOES_ON == 0:
            break
        if known & ENDS == 0 or (i < end and row[i] & 0xC0 == 0x80):
            continue
        group = _group(stems, key)
        if group < 0:
            continue
        fits, more = stems.spoken[group, 0], stems.spoken[group, 2]
        complete = whole or i == end
        if complete:
            fits |= stems.spoken[group, 1]
            more |= stems.spoken[group, 3]
        if (fits | more) & among == 0:
            continue
        matches[n, 0], matches[n, 1], matches[n, 2] = group, i, (fits | more) & among
        n += 1
        seen |= fits & among
        more &= among & ~seen
        if more == 0:
            continue
        for entry in range(stems.group_from[group], stems.group_from[group + 1]):
            facts = stems.facts[entry]
            lang = ONE << np.uint64(facts & 255)
            if more & lang == 0 or facts & HAS_MORE == 0 or not (complete or facts & IS_BEGINNING):
                continue
            if _following(row, i if whole else end, word, stop, spans, stems, entry) >= 0:
                seen |= lang
                more &= ~lang
    return seen, n


@lean
def _longest(
    row: Any, word: Any, stop: Any, spans: Any, stems: Any, lang: Any, matches: Any, first: Any, last: Any
) -> Any:
    # Where the longest entry of ``lang`` ends among those of ``matches[first:last]`` in ``word``, and the entry.
    end, whole = np.int64(spans.ends[word]), spans.kinds[word] & DENSE != 0
    mine = ONE << np.uint64(lang)
    best, found = np.int64(0), np.int64(-1)
    for m in range(first, last):
        if matches[m, 2] & mine == 0:
            continue
        group, i = np.int64(matches[m, 0]), np.int64(matches[m, 1])
        for entry in range(stems.group_from[group], stems.group_from[group + 1]):
            facts = stems.facts[entry]
            if facts & 255 != lang or not (whole or i == end or facts & IS_BEGINNING):
                continue
            at = i
            if facts & HAS_MORE:
                at = _following(row, i if whole else end, word, stop, spans, stems, entry)
            if at > best:
                best, found = at, np.int64(entry)
    return best, found


@lean
def _without(row: Any, word: Any, spans: Any, stems: Any, k: Any) -> Any:
    # Where the word goes on after the clitic ``k`` that may be written onto its front, -1 where it does not begin so;
    # two letters stay at least.
    begin, low = np.int64(spans.starts[word]), stems.clitics[k, 0]
    size = stems.clitics[k, 1] - low
    if spans.ends[word] - begin < size + 4:
        return np.int64(-1)
    for j in range(size):
        if row[begin + j] != stems.pool[low + j]:
            return np.int64(-1)
    return begin + size


@lean
def _voices(row: Any, first: Any, stop: Any, spans: Any, stems: Any, matches: Any, units: Any, votes: Any) -> Any:
    # Counts two ``votes`` int32 (L,) for each language that a word of the row is of, one in a script without spaces.
    # ``units`` uint64 (U, 5): where an entry of some language begins, the word, the languages, and the first and the
    # one past the last of its ``matches``. Returns how many words the row's size is taken for, and how many units there
    # are.
    size_in_words, n, last = np.float32(0.0), 0, 0
    for word in range(first, stop):
        i, end = np.int64(spans.starts[word]), np.int64(spans.ends[word])
        whole = spans.kinds[word] & DENSE != 0
        while i < end:
            begun = last
            seen, last = _spoken(row, i, word, stop, spans, stems, ALL, matches, last)
            # Hebrew and Arabic.
            if not whole and 0xD6 <= row[i] <= 0xDB:
                for k in range(len(stems.clitics)):
                    at = _without(row, word, spans, stems, k)
                    if at >= 0:
                        wanted = ONE << np.uint64(stems.clitics[k, 2])
                        more, last = _spoken(row, at, word, stop, spans, stems, wanted, matches, last)
                        seen |= more
            size_in_words += np.float32(0.2) if whole else np.float32(1.0)
            if seen:
                units[n, 0], units[n, 1], units[n, 2] = i, word, seen
                units[n, 3], units[n, 4] = begun, last
                n += 1
                voice = 1 if whole else 2
                for lang in range(len(votes)):
                    votes[lang] += np.int32((seen >> np.uint64(lang)) & ONE) * voice
            if not whole:
                break
            i += 4 if row[i] >= 0xF0 else 3
    return size_in_words, n


@compiled(
    I64(
        *(reads(U8), reads(I64), I64, I64, reads(I64), reads(I32), reads(I32), reads(U8)),
        *(reads(U64), reads(I32), reads(U64), reads(U64, 2), reads(I32), reads(I32), reads(I32), reads(I32, 2)),
        *(reads(U8), reads(I32, 2), I64, I64, I64, writes(U64, 2), writes(U64, 2), writes(I32)),
        *(writes(I16), writes(U8), writes(I32), writes(I32), writes(I64)),
    ),
    _nrt=False,
)
def read(
    values: Any,  # uint8 (N,)
    offsets: Any,  # int64 (B+1,)
    first_row: Any,
    last_row: Any,
    word_offsets: Any,  # int64 (B+1,)
    starts: Any,  # int32 (T,)
    ends: Any,  # int32 (T,)
    kinds: Any,  # uint8 (T,)
    keys: Any,  # the stems, as aimds.kernels.stems names them
    heads: Any,
    sieve: Any,
    spoken: Any,
    group_from: Any,
    facts: Any,
    part_from: Any,
    parts: Any,
    pool: Any,
    clitics: Any,
    main: Any,
    least: Any,  # percent
    bare: Any,
    matches: Any,  # uint64 (M, 3), scratch
    units: Any,  # uint64 (U, 5), scratch
    votes: Any,  # int32 (L,), scratch
    lang_of: Any,  # int16 (last_row - first_row,)
    concept: Any,  # uint8 (K,)
    start: Any,  # int32 (K,)
    end: Any,  # int32 (K,)
    concept_offsets: Any,  # int64 (last_row - first_row + 1,)
) -> Any:
    spans = _Spans(starts, ends, kinds)
    stems = Stems(keys, heads, sieve, spoken, group_from, facts, part_from, parts, pool, clitics)
    n = np.int64(0)
    concept_offsets[0] = 0
    for r in range(first_row, last_row):
        row = values[offsets[r] : offsets[r + 1]]
        first, stop = word_offsets[r], word_offsets[r + 1]
        votes[:] = 0
        size_in_words, some = _voices(row, first, stop, spans, stems, matches, units, votes)
        lang = main
        for other in range(len(votes)):
            if votes[other] > votes[lang]:
                lang = other
        known = votes[lang] > 0 and votes[lang] * 0.5 >= least / 100 * size_in_words
        lang_of[r - first_row] = lang if known else -1
        over, mine = np.int64(0), ONE << np.uint64(lang)
        for u in range(some if known else 0):
            i, word = np.int64(units[u, 0]), np.int64(units[u, 1])
            if units[u, 2] & mine == 0 or i < over:
                continue
            begun, last = np.int64(units[u, 3]), np.int64(units[u, 4])
            over, entry = _longest(row, word, stop, spans, stems, lang, matches, begun, last)
            if kinds[word] & DENSE == 0:
                over = max(over, np.int64(ends[word]))
            meant = facts[entry] >> 8 & 255
            if meant == bare:
                continue
            concept[n] = meant
            start[n], end[n] = i, over
            n += 1
        concept_offsets[r - first_row + 1] = n
    return n
