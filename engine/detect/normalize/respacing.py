"""Words without blanks ("ignoreallprevious"), and words that blanks, signs or tags cut in pieces ("ig-nore all"): the
letters put into words anew, the most probable ones (Viterbi over single words).

Which rows are worth it is told in `ciphers`: by `reads_apart` from the first letters of a stretch of words that are not
known, or by neighbours that are a known word together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from aimds.detect.normalize.proposals import Proposal, Text, Trust, joined
from aimds.detect.normalize.vocabulary import STEPS_PER_NAT, Vocabulary, is_sifted, lookup, word_odds
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME

MAX_WORD = 20
"""Letters of a word at most."""
WINDOW = 64
"""Letters by which a stretch is judged."""
BLOCK = 1024
"""Letters cut into words at a time, the last `OVERLAP` of them again with those behind, since their word may go on."""
OVERLAP = 40
PART = 512
"""Bytes of one place of a text that is too long to be given whole."""
MAX_JUDGED = 12
"""Letters of a word that count for how good it is."""
MAX_KNOWN = 12
"""Letters of known words between two that are not, beyond which both are cut anew by themselves."""
MAX_GAP, MAX_TAG = 8, 64
"""Bytes of blanks and signs, and of a tag or comment, that may stand inside a word."""
GAP_NATS, CUT_NATS = 1.5, 0.5
"""What a word costs besides its frequency for each gap inside it, and for each end that is none."""
UNKNOWN_NATS, LETTER_NATS = 12.0, 3.0
"""What a word that is not known costs, and each of its letters."""
MIN_LETTERS, MIN_WORDS, MIN_MEAN_WORD = 28, 4, 2.8
"""Letters and words of a stretch, and letters a word on the mean."""
MAX_NATS_PLAIN, MIN_NATS_BETTER, MIN_NATS_APART, MAX_UNKNOWN = 0.2, 0.5, 0.6, 0.125
"""Log-odds a letter that the words of a stretch may have as they stand, by how much they must be better when cut anew,
and what they must be; the share of its letters in words not known."""
GLANCE, MAX_NATS_GLANCE = 28, 2.6
"""Letters that are cut first, and what they may cost a letter: most of what is not joined ends there."""
MAX_SHORT, MAX_OF_SHORT = 3, 8
"""Letters of a short word, and how many words there may be for each, as names of functions and fields have few."""
MAX_UNPARTED = 4096
"""Bytes of a text without a single blank, which is no name in code: it need have no short words."""
_BLANK, _APOSTROPHE, _OPEN, _CLOSE = 32, 39, 60, 62


def respaced(source: Text, folded: Text, vocabulary: Vocabulary, limit: int) -> Iterator[Proposal]:
    """``source`` (N,) with its letters in words anew, those of ``folded`` (N,), the same text without its case."""
    values, first, made, cut = _respaced(source.values, folded.values, *vocabulary.words, vocabulary.sieve, 16 * limit)
    if not made.any():
        return
    parts, trust = [slice(0, len(values))], Trust.BETTER
    if len(values) > limit:
        trust = Trust.WORDS  # parts cannot be compared with all of it
        # Code is full of names that are words: the places with the most new ones, and what is left out is not said to
        # be cut, as it stands in the text itself.
        counts = np.bincount(np.flatnonzero(made) // PART)
        top = np.sort(np.argsort(-counts, kind="stable")[: max(1, limit // PART)])
        runs = np.split(top, np.flatnonzero(np.diff(top) > 1) + 1)
        parts = [slice(run[0] * PART, (run[-1] + 1) * PART) for run in runs]
    text = joined([source.take(values[part], first[part], first[part]) for part in parts])
    yield Proposal("respaced", text.slice(0, limit), trust, cut)


@njit(cache=True, nogil=True)
def _gap(values, i, stop):  # type: ignore[no-untyped-def]
    # (end of what stands between two letters at i, whether a word may run over it). Tags and comments do not count;
    # digits and letters of other scripts part words.
    begin = i
    tagged = 0
    while i < stop and not 97 <= values[i] <= 122:
        b = values[i]
        if b == _OPEN:
            end = i + 1
            most = min(stop, i + MAX_TAG)
            while end < most and values[end] != _CLOSE:
                end += 1
            if end < most:
                tagged += end + 1 - i
                i = end + 1
                continue
        i += 1
    # The apostrophe of "don't" is part of a word that has it.
    inside = i - begin - tagged <= MAX_GAP and not (i - begin == 1 and values[begin] == _APOSTROPHE)
    if inside:
        for k in range(begin, i if not tagged else begin):
            inside = inside and (values[k] < 48 or values[k] > 57) and (values[k] < 0xC3)
    return i, inside


@njit(cache=True, nogil=True)
def _gather(values, i, stop, place, gap):  # type: ignore[no-untyped-def]
    # Letters from i on, as many as there is room: (how many, where the next one stands); ``gap``: what is before each,
    # 0 nothing, 1 what a word may run over, 2 more.
    n = 0
    end = i
    while n < len(place):
        begin = end
        inside = True
        if i == stop or not 97 <= values[i] <= 122:
            i, inside = _gap(values, begin, stop)
        if i >= stop:
            break
        place[n] = i
        gap[n] = 0 if n and i == begin else (1 if inside and n else 2)
        n += 1
        i += 1
        end = i
    return n, i


@njit(cache=True, nogil=True)
def _cut(values, place, gap, n, keys, logs, sieve, best, back, known):  # type: ignore[no-untyped-def]
    # The most probable words of n letters: back[j] = where the word that ends before letter j begins, known[j] its
    # frequency as of `lookup`. O(n).
    best[0] = 0.0
    for j in range(1, n + 1):
        best[j] = -1e18
    for i in range(n):
        h = FNV_BASIS
        cost = best[i]
        for j in range(i, min(n, i + MAX_WORD)):
            if j > i and gap[j]:
                if gap[j] == 2:
                    break
                cost -= GAP_NATS
            h = (h ^ np.uint64(values[place[j]])) * FNV_PRIME
            size = j + 1 - i
            found = np.int64(-1) if is_sifted(sieve, h) else lookup(keys, logs, h)
            score = cost - (found / STEPS_PER_NAT if found >= 0 else UNKNOWN_NATS + LETTER_NATS * size)
            if j + 1 < n and gap[j + 1] == 0:
                score -= CUT_NATS
            if score > best[j + 1]:
                best[j + 1] = score
                back[j + 1] = i
                known[j + 1] = found


@njit(cache=True, nogil=True)
def _plain(values, place, gap, n, keys, logs):  # type: ignore[no-untyped-def]
    # Log-odds in nats of n letters as they stand.
    odds = 0.0
    i = 0
    while i < n:
        h = FNV_BASIS
        k = i
        while k < n and (k == i or gap[k] == 0):
            h = (h ^ np.uint64(values[place[k]])) * FNV_PRIME
            k += 1
        odds += word_odds(lookup(keys, logs, h), min(k - i, MAX_JUDGED))
        i = k
    return odds


@njit(cache=True, nogil=True)
def reads_apart(values, start, stop, low, high, keys, logs, sieve):  # type: ignore[no-untyped-def]
    """Whether the first letters of folded ``values[start:stop]``, part of the text ``values[low:high]``, are words once
    they are cut anew. O(WINDOW + MAX_UNPARTED)."""
    place = np.empty(WINDOW, np.int64)
    gap = np.empty(WINDOW, np.uint8)
    n, end = _gather(values, start, stop, place, gap)
    if n < MIN_LETTERS:
        return False
    plain = _plain(values, place, gap, n, keys, logs)
    if plain > MAX_NATS_PLAIN * n:
        return False
    best = np.empty(WINDOW + 1, np.float64)
    back = np.empty(WINDOW + 1, np.int64)
    known = np.empty(WINDOW + 1, np.int64)
    _cut(values, place, gap, GLANCE, keys, logs, sieve, best, back, known)
    if best[GLANCE] < -MAX_NATS_GLANCE * GLANCE:
        return False
    _cut(values, place, gap, n, keys, logs, sieve, best, back, known)
    # The last word may go on behind the window.
    k = back[n] if n == WINDOW and end < stop and 97 <= values[end] <= 122 else n
    letters = k
    words = short = unknown = 0
    odds = 0.0
    while k > 0:
        size = k - back[k]
        short += size <= MAX_SHORT
        odds += word_odds(known[k], min(size, MAX_JUDGED))
        words += 1
        unknown += size * (known[k] < 0)
        k = back[k]
    return (
        words >= MIN_WORDS
        and (short * MAX_OF_SHORT >= words or (high - low <= MAX_UNPARTED and (values[low:high] > _BLANK).all()))
        and letters >= max(MIN_LETTERS, MIN_MEAN_WORD * words)
        and unknown <= MAX_UNKNOWN * letters
        and odds >= plain + MIN_NATS_BETTER * letters
        and odds >= MIN_NATS_APART * letters
    )


@njit(cache=True, nogil=True)
def _island(values, i, stop, keys, logs):  # type: ignore[no-untyped-def]
    # (start, end) of the next letters to cut anew: words that are not known or have a sign right before them, and such
    # known ones beside or between them as could be pieces.
    start = end = before = i
    letters = 0  # of known words since the last one that is not
    found = False
    while i < stop:
        marked = i > start and i < stop and values[i] > _BLANK
        while i < stop and not 97 <= values[i] <= 122:
            i += 1
        begin = i
        h = FNV_BASIS
        while i < stop and 97 <= values[i] <= 122:
            h = (h ^ np.uint64(values[i])) * FNV_PRIME
            i += 1
        if begin == i:
            break
        if marked or lookup(keys, logs, h) < 0:
            if not found:
                found = True
                start = before
            end = i
            letters = 0
        elif found:
            if letters == 0:
                end = i
            letters += i - begin
            if letters > MAX_KNOWN:
                break
        before = begin
    return start, end if found else start


@njit(cache=True, nogil=True)
def _respaced(source, values, keys, logs, sieve, most):  # type: ignore[no-untyped-def]
    # (bytes of ``source`` with the blanks between words anew, the place behind each, what changed there, whether
    # letters were left as they are since ``most`` had been cut anew).
    size = len(values)
    left = most
    out = np.empty(2 * size + 1, np.uint8)
    first = np.empty(2 * size + 1, np.int32)
    made = np.zeros(2 * size + 1, np.bool_)
    place = np.empty(BLOCK, np.int64)
    gap = np.empty(BLOCK, np.uint8)
    best = np.empty(BLOCK + 1, np.float64)
    back = np.zeros(BLOCK + 1, np.int64)
    known = np.zeros(BLOCK + 1, np.int64)
    begins = np.zeros(BLOCK + 1, np.bool_)
    o = at = 0
    while True:
        start, end = _island(values, at, size, keys, logs)
        if start == end or left <= 0:
            break
        i = start
        while i < end and left > 0:
            n, _ = _gather(values, i, end, place, gap)
            _cut(values, place, gap, n, keys, logs, sieve, best, back, known)
            begins[:n] = False
            kept = k = n
            while k > 0:
                if n == BLOCK and kept > n - OVERLAP:
                    kept = back[k]
                k = back[k]
                begins[k] = True
            left -= kept
            for k in range(kept):
                # What stands before a letter stays, but inside a word.
                if not begins[k] and at < place[k]:
                    made[o] = True
                    at = place[k]
                if begins[k] and at > start and (at == place[k] or 48 <= values[at] <= 57):
                    out[o], first[o], made[o] = _BLANK, at - 1, True
                    o += 1
                while at < place[k]:
                    out[o], first[o] = source[at], at
                    o += 1
                    at += 1
                    if at == place[k] and 48 <= values[at - 1] <= 57:
                        out[o], first[o], made[o] = _BLANK, at - 1, True
                        o += 1
                out[o], first[o] = source[at], at
                o += 1
                at += 1
            i = place[kept] if kept < n else end
    while at < size:
        out[o], first[o] = source[at], at
        o += 1
        at += 1
    return out[:o], first[:o], made[:o], left <= 0
