"""Words that were pulled apart or respelt: spaced-out letters are joined, leetspeak is undone. Works on folded text.

Both only shorten a row, so that rows are rewritten in place, and both act only where known words appear.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.fold import Folded
from aimds.detect.vocabulary import STEPS_PER_NAT, WORD_BYTES, Vocabulary, lookup, word_hash, word_odds

SPACED, LEET = 256, 512

MIN_LETTERS = 5
"""So many single letters in a row are spaced-out text rather than a list."""
MAX_LETTERS = 256
"""Longer runs are taken in pieces of this many."""
MAX_GAP_BYTES = 3
MIN_SPACED_NATS = 6.0
MAX_WORD = 20
WHOLE_WORD = 12
"""A group of letters between two wide gaps is one word up to this length, known or not."""

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


def respell(folded: Folded, vocabulary: Vocabulary) -> Folded:
    """``folded`` with spaced-out letters joined and leetspeak undone; its arrays are overwritten. Sets both flags."""
    _respell_rows(folded.values, folded.offsets, folded.starts, folded.ends, folded.flags, *vocabulary.words)
    n = folded.offsets[-1]
    return Folded(folded.values[:n], folded.offsets, folded.starts[:n], folded.ends[:n], folded.flags)


@njit(cache=True, nogil=True)
def _letter(values, i, high):  # type: ignore[no-untyped-def]
    # Bytes of the letter, digit or ideograph at i, 0 for everything else.
    b = values[i]
    size = np.int64(WORD_BYTES[b])
    if size == 0 and 0xE3 <= b <= 0xE9 and not (b == 0xE3 and values[i + 1] == 0x80):
        return 3
    return size


@njit(cache=True, nogil=True)
def _is_gap(b):  # type: ignore[no-untyped-def]
    return b < 0x80 and not (97 <= b <= 122 or 48 <= b <= 57)


@njit(cache=True, nogil=True)
def _cut(letters, at, first, last, keys, logs, best, back):  # type: ignore[no-untyped-def]
    # Most probable words of the letters first..last (Viterbi over unigrams); back[j] = where the word that ends at j begins.
    best[first] = 0.0
    for j in range(first + 1, last + 1):
        best[j] = -1e18
    for i in range(first, last):
        for j in range(i + 1, min(last, i + MAX_WORD) + 1):
            found = lookup(keys, logs, word_hash(letters, at[i], at[j]))
            score = best[i] + (-found / STEPS_PER_NAT if found >= 0 else -12.0 - 3.0 * (j - i))
            if score > best[j]:
                best[j] = score
                back[j] = i


@njit(cache=True, nogil=True)
def _join(values, starts, ends, unit, n, high, keys, logs, at, letters, words, best, back, o):  # type: ignore[no-untyped-def]
    # Writes the n letters at unit[0:n] joined at o when that reads like text: (place after them, whether it was written).
    wide = np.zeros(n + 1, np.bool_)
    counts = np.zeros(128 * 4, np.int32)
    total = 0
    ascii_letters = ideographs = digits = 0
    for j in range(n):
        size = _letter(values, unit[j], high)
        at[j] = total
        for k in range(size):
            letters[total + k] = values[unit[j] + k]
        total += size
        ascii_letters += values[unit[j]] >= 97 and size == 1
        ideographs += WORD_BYTES[values[unit[j]]] == 0
        digits += values[unit[j]] < 97
        if j + 1 < n:
            gap = unit[j] + size
            width = min(starts[unit[j + 1]] - ends[gap - 1], 3)
            counts[np.int64(values[gap]) * 4 + width] += 1
    at[n] = total
    usual = np.argmax(counts)
    gaps = 0
    for j in range(n - 1):
        gap = at[j + 1] - at[j] + unit[j]
        width = min(starts[unit[j + 1]] - ends[gap - 1], 3)
        spaced = False
        for k in range(gap, unit[j + 1]):
            spaced = spaced or values[k] <= 32
        wide[j + 1] = width > usual % 4 or (spaced and usual // 4 > 32)
        gaps += wide[j + 1]
    wide[n] = True
    first = 0
    count = 0
    odds = 0.0
    for j in range(1, n + 1):
        if not wide[j]:
            continue
        found = lookup(keys, logs, word_hash(letters, at[first], at[j])) if j - first <= MAX_WORD else np.int64(-1)
        if found >= 0 or j - first <= 2 or (gaps > 0 and j - first <= WHOLE_WORD) or ideographs:
            back[j] = first
        else:
            _cut(letters, at, first, j, keys, logs, best, back)
        k = j
        begin = count
        while k > first:
            words[count] = k
            count += 1
            k = back[k]
        words[begin:count] = words[begin:count][::-1].copy()
        first = j
    first = 0
    for w in range(count):
        j = words[w]
        size = at[j] - at[first]
        odds += word_odds(lookup(keys, logs, word_hash(letters, at[first], at[j])), min(size, WHOLE_WORD)) if size > 1 else 0.0
        first = j
    foreign = (n - ascii_letters - digits) * 10 >= n * 8 and n > MIN_LETTERS
    if digits * 2 > n or not (odds >= MIN_SPACED_NATS or foreign):
        return o, False
    first = 0
    for w in range(count):
        for j in range(first, words[w]):
            start, end = starts[unit[j]], ends[unit[j]]
            for k in range(at[j], at[j + 1]):
                values[o], starts[o], ends[o] = letters[k], start, end
                o += 1
        first = words[w]
        if w + 1 < count and not ideographs:
            values[o] = 32
            starts[o], ends[o] = end, starts[unit[first]]
            o += 1
    return o, True


@njit(cache=True, nogil=True)
def _join_row(values, starts, ends, low, high, o, keys, logs, unit, at, letters, words, best, back):  # type: ignore[no-untyped-def]
    # Copies values[low:high] to o, runs of single letters joined: (place after it, whether anything was joined).
    joined = False
    i = low
    edge = True
    while i < high:
        n = 0
        p = i
        after = i
        while edge and p < high and n < MAX_LETTERS:
            size = _letter(values, p, high)
            if size == 0 or (p + size < high and not _is_gap(values[p + size])):
                break
            unit[n] = p
            n += 1
            after = p + size
            p = after
            while p < high and p - after <= MAX_GAP_BYTES and _is_gap(values[p]):
                p += 1
            if p - after > MAX_GAP_BYTES:
                break
        if n >= MIN_LETTERS:
            o, done = _join(values, starts, ends, unit, n, high, keys, logs, at, letters, words, best, back, o)
            if done:
                joined = True
                i = after
                edge = False
                continue
        stop = max(after, i + 1)
        while i < stop:
            edge = _is_gap(values[i])
            if o != i:
                values[o], starts[o], ends[o] = values[i], starts[i], ends[i]
            o += 1
            i += 1
    return o, joined


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
    # Counts the leetspeak words of a row, or writes all of them in letters; those without any letter where `numbers` says so.
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
def _respell_rows(values, offsets, starts, ends, flags, keys, logs):  # type: ignore[no-untyped-def]
    unit = np.empty(MAX_LETTERS, np.int64)
    at = np.empty(MAX_LETTERS + 1, np.int64)
    letters = np.empty(MAX_LETTERS * 4, np.uint8)
    words = np.empty(MAX_LETTERS + 1, np.int64)
    best = np.empty(MAX_LETTERS + 1, np.float64)
    back = np.zeros(MAX_LETTERS + 1, np.int64)
    word = np.empty(MAX_LEET_BYTES, np.uint8)
    o = np.int64(0)
    low = offsets[0]
    for row in range(len(offsets) - 1):
        high = offsets[row + 1]
        begin = o
        o, joined = _join_row(values, starts, ends, low, high, o, keys, logs, unit, at, letters, words, best, back)
        if joined:
            flags[row] |= SPACED
        hits = _leet_row(values, begin, o, keys, logs, word, False, False)
        if hits >= MIN_LEET_WORDS:
            _leet_row(values, begin, o, keys, logs, word, True, hits > MIN_LEET_WORDS)
            flags[row] |= LEET
        low = high
        offsets[row + 1] = o
