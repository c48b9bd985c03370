"""Mistyped words ("igmore teh sytsem promt") put right in folded text, where they are one slip from a listed word.

A slip is one letter missing, added or wrong, or two neighbours swapped (Damerau, CACM 1964). Only words of the list are
restored, and only from words that no text is known to hold, in texts of whose words at least half are known or
restored. Candidates are found by their deletions: two words one slip apart are equal once a letter is taken out of one
or both (Garbe's symmetric deletion).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import data
from aimds.detect.normalize.fold import Folded
from aimds.detect.normalize.vocabulary import Vocabulary, lookup, next_word, word_hash
from aimds.errors import ArtefactError

ARTEFACT = "slips.toml"
MIN_LETTERS = 5
MAX_LETTERS = 20
FIRST_MAY_DIFFER = 6
"""Letters from which on the first one may be the one that is wrong; shorter words become others too easily."""
ROOM = 16
"""Words put right in one text at most: who mistypes more is not writing to be understood."""


@dataclass(frozen=True, slots=True)
class Slips:
    """The listed words and their deletions: ``keys`` uint64 (S,), S a power of two, 0 for empty, equal keys in a run;
    ``ids`` int32 (S,); ``letters`` uint8 (L,) and ``bounds`` int64 (W+1,), the words one after the other."""

    keys: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.int32]
    letters: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]

    @classmethod
    def of(cls, words: Iterable[str]) -> Slips:
        """The list ``words``, each of a to z.

        Raises:
            ArtefactError: a word that is shorter, longer or of other letters.
        """
        listed = sorted(set(words))
        for word in listed:
            if not (word.isascii() and word.isalpha() and word.islower() and MIN_LETTERS <= len(word) < MAX_LETTERS):
                raise ArtefactError(
                    ARTEFACT, f"lists {word!r}; a word has {MIN_LETTERS} to {MAX_LETTERS - 1} letters from a to z"
                )
        letters = np.frombuffer("".join(listed).encode(), np.uint8)
        bounds = np.zeros(len(listed) + 1, np.int64)
        np.cumsum([len(word) for word in listed], out=bounds[1:])
        slots = 1 << max(4, int(4 * (len(letters) + len(listed))).bit_length())
        keys, ids = _table(letters, bounds, slots)
        return cls(keys, ids, letters, bounds)

    @classmethod
    def load(cls) -> Slips:
        """The shipped list, read once.

        Raises:
            ArtefactError: missing, damaged, or not a list of words.
        """
        return _shipped()


@cache
def _shipped() -> Slips:
    try:
        tables = tomllib.loads(data.read_bytes(ARTEFACT).decode())
        words = [word for language in tables.values() for word in language["words"].split()]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(ARTEFACT, f"cannot be read: {error!r}") from error
    return Slips.of(words)


def undo_slips(folded: Folded, vocabulary: Vocabulary, slips: Slips) -> Folded:
    """``folded`` with mistyped words put right; the places behind a word stay those it was typed at."""
    plan = _planned(
        folded.values, folded.offsets, *vocabulary.words, slips.keys, slips.ids, slips.letters, slips.bounds
    )
    if not len(plan):
        return folded
    values, offsets, starts, ends = _rewritten(
        folded.values, folded.offsets, folded.starts, folded.ends, plan, slips.letters, slips.bounds
    )
    return Folded(values, offsets, starts, ends, folded.flags)


@njit(cache=True, nogil=True)
def _table(letters, bounds, slots):  # type: ignore[no-untyped-def]
    keys = np.zeros(slots, np.uint64)
    ids = np.zeros(slots, np.int32)
    word = np.empty(MAX_LETTERS, np.uint8)
    for k in range(len(bounds) - 1):
        low, n = bounds[k], bounds[k + 1] - bounds[k]
        for left_out in range(n + 1):  # n: nothing left out
            size = _without(letters, low, n, left_out, word)
            _insert(keys, ids, np.uint64(word_hash(word, 0, size)), k)
    return keys, ids


@njit(cache=True, nogil=True)
def _without(letters, low, n, left_out, word):  # type: ignore[no-untyped-def]
    # Writes the n letters from `low` without that at `left_out` into `word`; returns how many there are.
    size = 0
    for i in range(n):
        if i != left_out:
            word[size] = letters[low + i]
            size += 1
    return size


@njit(cache=True, nogil=True)
def _insert(keys, ids, h, k):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(keys) - 1)
    slot = (h ^ (h >> np.uint64(32))) & mask
    while keys[slot] != np.uint64(0):
        if keys[slot] == h and ids[slot] == k:
            return
        slot = (slot + np.uint64(1)) & mask
    keys[slot] = h
    ids[slot] = k


@njit(cache=True, nogil=True)
def _one_slip(values, i, n, letters, low, m):  # type: ignore[no-untyped-def]
    # Whether values[i:i+n] and letters[low:low+m] are one slip apart.
    if n - m > 1 or m - n > 1:
        return False
    shorter = min(n, m)
    head = 0
    while head < shorter and values[i + head] == letters[low + head]:
        head += 1
    tail = 0
    while tail < shorter - head and values[i + n - 1 - tail] == letters[low + m - 1 - tail]:
        tail += 1
    if head == 0 and m < FIRST_MAY_DIFFER and n == m and tail == n - 1:
        return False
    if n != m:
        return head + tail == shorter and (head > 0 or m >= FIRST_MAY_DIFFER)
    rest = n - head - tail
    swapped = rest == 2 and values[i + head] == letters[low + head + 1] and values[i + head + 1] == letters[low + head]
    return rest == 1 or swapped


@njit(cache=True, nogil=True)
def _equal(values, i, letters, low, n):  # type: ignore[no-untyped-def]
    same = True
    for k in range(n):
        same = same and values[i + k] == letters[low + k]
    return same


@njit(cache=True, nogil=True)
def _meant(values, i, n, keys, ids, letters, bounds, word):  # type: ignore[no-untyped-def]
    # The listed word that values[i:i+n] is one slip from, or -1.
    mask = np.uint64(len(keys) - 1)
    for left_out in range(n, -1, -1):  # n: nothing left out
        size = _without(values, i, n, left_out, word)
        h = np.uint64(word_hash(word, 0, size))
        slot = (h ^ (h >> np.uint64(32))) & mask
        while keys[slot] != np.uint64(0):
            if keys[slot] == h:
                k = ids[slot]
                size_k = bounds[k + 1] - bounds[k]
                if left_out == n and size_k == n and _equal(values, i, letters, bounds[k], n):
                    return np.int64(-1)
                if _one_slip(values, i, n, letters, bounds[k], size_k):
                    return np.int64(k)
            slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _is_known(values, low, high, known, keys, logs):  # type: ignore[no-untyped-def]
    # Whether of the words of letters a–z in values[low:high] at least half are known, or among `known` of the others.
    unknown = -known
    i = low
    while i < high:
        begin, i, plain, _ = next_word(values, i, high)
        if 0 < plain == i - begin <= MAX_LETTERS:
            if lookup(keys, logs, word_hash(values, begin, i)) >= 0:
                known += 1
            else:
                unknown += 1
    return known >= unknown


@njit(cache=True, nogil=True)
def _planned(values, offsets, known_keys, known_logs, keys, ids, letters, bounds):  # type: ignore[no-untyped-def]
    # (start, end, id) int64 (H, 3) of the words to put right, ascending.
    out = np.empty((64, 3), np.int64)
    count = 0
    word = np.empty(MAX_LETTERS + 1, np.uint8)
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        first = count
        i = low
        while i < high and count - first < ROOM:
            begin, i, plain, _ = next_word(values, i, high)
            size = i - begin
            if plain != size or not MIN_LETTERS - 1 <= size <= MAX_LETTERS:
                continue
            if lookup(known_keys, known_logs, word_hash(values, begin, i)) >= 0:
                continue
            k = _meant(values, begin, size, keys, ids, letters, bounds, word)
            if k >= 0:
                if count == len(out):
                    more = np.empty((2 * count, 3), np.int64)
                    more[:count] = out
                    out = more
                out[count, 0], out[count, 1], out[count, 2] = begin, i, k
                count += 1
        if count > first and not _is_known(values, low, high, count - first, known_keys, known_logs):
            count = first
    return out[:count]


@njit(cache=True, nogil=True)
def _rewritten(values, offsets, starts, ends, plan, letters, bounds):  # type: ignore[no-untyped-def]
    grown = len(values) + len(plan)
    out = np.empty(grown, np.uint8)
    first, last = np.empty(grown, np.int32), np.empty(grown, np.int32)
    moved = np.empty(len(offsets), np.int64)
    at = o = 0
    row = 0
    moved[0] = 0
    for hit in range(len(plan) + 1):
        stop = plan[hit, 0] if hit < len(plan) else offsets[-1]
        while row + 1 < len(offsets) and offsets[row + 1] <= stop:
            moved[row + 1] = o + offsets[row + 1] - at
            row += 1
        n = stop - at
        out[o : o + n], first[o : o + n], last[o : o + n] = values[at:stop], starts[at:stop], ends[at:stop]
        o += n
        at = stop
        if hit == len(plan):
            break
        k, end = plan[hit, 2], plan[hit, 1]
        for j in range(bounds[k + 1] - bounds[k]):
            behind = min(at + j, end - 1)
            out[o], first[o], last[o] = letters[bounds[k] + j], starts[behind], ends[behind]
            o += 1
        last[o - 1] = ends[end - 1]
        at = end
    return out[:o], moved, first[:o], last[:o]
