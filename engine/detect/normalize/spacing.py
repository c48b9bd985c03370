"""Spaced-out letters ("i g n o r e", "i.g.n.o.r.e") joined into words, in folded text.

Wide gaps part words; where there are none, the letters are cut into words by frequency. Only what then reads like
text is joined, so lists and formulas stay as they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.fold import Folded
from aimds.detect.normalize.vocabulary import STEPS_PER_NAT, WORD_BYTES, Vocabulary, lookup, word_hash, word_odds

SPACED = int(Flag.SPACED)

MIN_LETTERS = 5
"""So many single letters in a row are spaced-out text rather than a list."""
MAX_LETTERS = 256
"""Longer runs are taken in pieces of this many."""
MAX_GAP = 3
"""Signs between two letters, an emoji counting as one."""
MIN_SPACED_NATS = 6.0
MAX_WORD = 20
WHOLE_WORD = 12
"""A group of letters between two wide gaps is one word up to this length, unless it falls into known ones."""


def join_letters(folded: Folded, vocabulary: Vocabulary) -> Folded:
    """``folded`` with spaced-out letters joined and `Flag.SPACED` set; rows only get shorter, the arrays are
    overwritten.
    """
    _join_rows(folded.values, folded.offsets, folded.starts, folded.ends, folded.flags, *vocabulary.words)
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
def _is_sign(b):  # type: ignore[no-untyped-def]
    return b < 0x80 and not (97 <= b <= 122 or 48 <= b <= 57)


@njit(cache=True, nogil=True)
def _emoji(values, i, high):  # type: ignore[no-untyped-def]
    # Bytes of the emoji (U+2600 to U+27BF, U+1F000 to U+1FFFF) at i, 0 for everything else.
    b = values[i]
    if b == 0xF0 and i + 4 <= high and values[i + 1] == 0x9F:
        return 4
    if b == 0xE2 and i + 3 <= high and 0x98 <= values[i + 1] <= 0x9E:
        return 3
    return 0


@njit(cache=True, nogil=True)
def _cut(letters, at, first, last, keys, logs, best, back):  # type: ignore[no-untyped-def]
    # Most probable words of the letters first..last (Viterbi over unigrams); back[j] = where the word that ends at j
    # begins.
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
def _all_known(letters, at, first, last, keys, logs, back):  # type: ignore[no-untyped-def]
    # Whether the words that `_cut` found are all known, and three letters long on average.
    count = 0
    k = last
    while k > first:
        if lookup(keys, logs, word_hash(letters, at[back[k]], at[k])) < 0:
            return False
        count += 1
        k = back[k]
    return count * 3 <= last - first


@njit(cache=True, nogil=True)
def _join(values, starts, ends, unit, n, high, keys, logs, at, letters, words, best, back, o):  # type: ignore[no-untyped-def]
    # Writes the n letters at unit[0:n] joined at o when that reads like text: (place after them, whether it was
    # written).
    wide = np.zeros(n + 1, np.bool_)
    counts = np.zeros(256 * 4, np.int32)
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
        back[j] = first
        if found < 0 and j - first > 2 and not ideographs:
            _cut(letters, at, first, j, keys, logs, best, back)
            if gaps > 0 and j - first <= WHOLE_WORD and not _all_known(letters, at, first, j, keys, logs, back):
                back[j] = first
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
        odds += (
            word_odds(lookup(keys, logs, word_hash(letters, at[first], at[j])), min(size, WHOLE_WORD))
            if size > 1
            else 0.0
        )
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
            if size == 0:
                break
            p += size
            if p < high and not _is_sign(values[p]) and (values[p] < 0xE2 or _emoji(values, p, high) == 0):
                break
            unit[n] = p - size
            n += 1
            after = p
            signs = 0
            while p < high and signs <= MAX_GAP:
                size = 1 if _is_sign(values[p]) else _emoji(values, p, high)
                if size == 0:
                    break
                p += size
                signs += 1
            if signs > MAX_GAP:
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
            b = values[i]
            if b & 0xC0 != 0x80:
                edge = _is_sign(b) or (b >= 0xE2 and _emoji(values, i, high) > 0)
            if o != i:
                values[o], starts[o], ends[o] = values[i], starts[i], ends[i]
            o += 1
            i += 1
    return o, joined


@njit(cache=True, nogil=True)
def _join_rows(values, offsets, starts, ends, flags, keys, logs):  # type: ignore[no-untyped-def]
    unit = np.empty(MAX_LETTERS, np.int64)
    at = np.empty(MAX_LETTERS + 1, np.int64)
    letters = np.empty(MAX_LETTERS * 4, np.uint8)
    words = np.empty(MAX_LETTERS + 1, np.int64)
    best = np.empty(MAX_LETTERS + 1, np.float64)
    back = np.zeros(MAX_LETTERS + 1, np.int64)
    o = np.int64(0)
    low = offsets[0]
    for row in range(len(offsets) - 1):
        high = offsets[row + 1]
        o, joined = _join_row(values, starts, ends, low, high, o, keys, logs, unit, at, letters, words, best, back)
        if joined:
            flags[row] |= SPACED
        low = high
        offsets[row + 1] = o
