"""Leetspeak ("1gn0r3 4ll") back to letters, in folded text; only where known words appear, and in two places at
least.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import Folded
from aimds.detect.normalize.vocabulary import STEPS_PER_NAT, Vocabulary, lookup, word_hash

LEET = int(Flag.LEET)

MIN_LEET_WORDS = 2
MAX_LEET_BYTES = 24
MAX_DOUBTS = 5
COMMON = 8 * STEPS_PER_NAT
USUAL = 21 * STEPS_PER_NAT // 2
RARE = 13 * STEPS_PER_NAT
"""Eighths of a nat below 0 that a word may have to be read into two letters, into three or four, into five or more."""

_FIRST = np.zeros(128, np.uint8)
_SECOND = np.zeros(128, np.uint8)
for _sign, _plain in {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "g",
                      "@": "a", "$": "s", "!": "il", "|": "li", "+": "t", "2": "z"}.items():  # fmt: skip
    _FIRST[ord(_sign)] = ord(_plain[0])
    _SECOND[ord(_sign)] = ord(_plain[-1]) if len(_plain) > 1 else 0
FIRST, SECOND = _FIRST, _SECOND
"""What a sign stands for in leetspeak, and what else it may."""


def undo_leetspeak(folded: Folded, vocabulary: Vocabulary) -> Folded:
    """``folded`` with leetspeak undone and `Flag.LEET` set; its values are overwritten."""
    _undo_rows(folded.values, folded.offsets, folded.flags, *vocabulary.words)
    return folded


@njit(cache=True, nogil=True)
def _unleet(values, i, j, keys, logs, word):  # type: ignore[no-untyped-def]
    # Spells values[i:j] in letters into `word`: the most frequent known word, as `lookup` gives it, or -1.
    doubts = 0
    for k in range(j - i):
        doubts += SECOND[values[i + k]] != 0
    if doubts > MAX_DOUBTS:
        return np.int64(-1)
    best = np.int64(-1)
    choice = 0
    for mask in range(1 << doubts):
        bit = 0
        for k in range(j - i):
            b = values[i + k]
            plain = FIRST[b] if FIRST[b] else b
            if SECOND[b]:
                if mask >> bit & 1:
                    plain = SECOND[b]
                bit += 1
            word[k] = plain
        found = lookup(keys, logs, word_hash(word, 0, j - i))
        if found >= 0 and (best < 0 or found < best):
            best, choice = found, mask
    bit = 0
    for k in range(j - i):
        b = values[i + k]
        plain = FIRST[b] if FIRST[b] else b
        if SECOND[b]:
            if choice >> bit & 1:
                plain = SECOND[b]
            bit += 1
        word[k] = plain
    return best


@njit(cache=True, nogil=True)
def _leet_row(values, low, high, keys, logs, word, write, numbers):  # type: ignore[no-untyped-def]
    # Counts the leetspeak words of a row, or writes all of them in letters; those without any letter where `numbers`
    # says so.
    hits = 0
    i = low
    while i < high:
        b = values[i]
        if b >= 0x80 or not (97 <= b <= 122 or FIRST[b]):
            i += 1
            continue
        j = i
        letters = signs = 0
        while j < high and values[j] < 0x80 and (97 <= values[j] <= 122 or FIRST[values[j]]):
            if FIRST[values[j]]:
                signs += 1
            else:
                letters += 1
            j += 1
        begin, end = i, j
        i = j
        if signs == 0 or (letters == 0 and not numbers):
            continue
        while end > begin and (values[end - 1] == 33 or values[end - 1] == 124 or values[end - 1] == 43):
            end -= 1
        while begin < end and (values[begin] == 124 or values[begin] == 43):
            begin += 1
        size = end - begin
        if size < 2 or size > MAX_LEET_BYTES or (size == 2 and not write):
            continue
        if (begin > low and values[begin - 1] >= 0x80) or (j < high and values[j] >= 0x80):
            continue
        if letters and lookup(keys, logs, word_hash(values, begin, end)) >= 0:
            continue
        found = _unleet(values, begin, end, keys, logs, word)
        if found < 0 or found > (COMMON if size == 2 else (USUAL if size < 5 or letters == 0 else RARE)):
            continue
        inside = False
        for k in range(begin, end - 1):
            inside = inside or (FIRST[values[k]] != 0 and (k > begin or values[k] < 58) and values[k] != 36)
        hits += inside
        if write:
            for k in range(size):
                values[begin + k] = word[k]
    return hits


@njit(cache=True, nogil=True)
def _undo_rows(values, offsets, flags, keys, logs):  # type: ignore[no-untyped-def]
    word = np.empty(MAX_LEET_BYTES, np.uint8)
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        hits = _leet_row(values, low, high, keys, logs, word, False, False)
        if hits >= MIN_LEET_WORDS:
            _leet_row(values, low, high, keys, logs, word, True, hits > MIN_LEET_WORDS)
            flags[row] |= LEET
