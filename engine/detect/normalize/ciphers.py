"""Text whose letters were exchanged or turned round: Caesar shifts (ROT13 among them), Atbash, reversed words.

Works on folded text. Stretches of unknown words are found first, then read under each transformation; one is believed
where it turns them into known words, or into letters of a language while as they stand they are none.
Telephony-alphabet and pig-latin words are counted on the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect.normalize.exchanged import (
    ATBASH,
    MAX_LETTERS,
    MIN_BY_LETTERS,
    NATS_PLAIN,
    REVERSED,
    SAMPLE_LETTERS,
    by_letters,
    ends_in_front,
    language,
)
from aimds.detect.normalize.letters import load
from aimds.detect.normalize.respacing import MAX_GAP, MIN_LETTERS, reads_apart
from aimds.detect.normalize.vocabulary import Vocabulary, is_sifted, lookup, next_word, word_hash, word_odds
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME

NATO, PIG_LATIN, TURNED_SCRIPT, RESPACED = 1 << 16, 1 << 17, 1 << 18, 1 << 29
"""Bits of the mask beside those of `aimds.detect.normalize.candidates`. TURNED_SCRIPT: a sentence of another script
than Latin that begins with the sign that ends one, and does not end with one. RESPACED: letters that are words once
they are parted otherwise."""

MIN_UNKNOWN = 9
"""Letters of unknown words, less twice those of known ones, from which a stretch is looked at."""
MAX_DROP = 24
MAX_HITS = 8
"""Stretches per row; more set ``cut``."""
MIN_NATS = 9.0
MIN_NATS_PER_LETTER = 0.3
HOPELESS_NATS = -8.0
MAX_VOWELS = 0.3
"""Share of vowels that English has under the shift that keeps most of them; twice the standard error is allowed on
top.
"""
MAX_PLAIN_EDGE, MAX_NUMBER = 3, 4
"""Letters of a known word that a stretch may run over, as so short a word is known by chance; digits of a number."""
MIN_SIGNALS = 5
MAX_WORD = 48
MIN_JOINED, GROUP = 9, 5
"""Letters that words not known have on the mean where blanks were left out, and those of a group where there is one
after every so many letters."""
MIN_HEALED, MAX_PIECE, MIN_PIECES, MAX_APART = 3, 7, 5, 48
"""Known words made of two neighbours of which one is not, or a sign stands between them; letters of either at most and
of both at least, and bytes from one such pair to the next."""

ALPHABET = (
    "alfa", "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "juliett",
    "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor",
    "whiskey", "whisky", "xray", "ray", "yankee", "zulu",
)  # fmt: skip
"""Words of the ICAO spelling alphabet and their usual variants."""


def _alphabet_hashes() -> npt.NDArray[np.uint64]:
    out = np.zeros((26, 2), np.uint64)
    for word in ALPHABET:
        slot = out[ord(word[0]) - 97]
        raw = np.frombuffer(word.encode(), np.uint8)
        slot[int(slot[0] != 0)] = np.uint64(word_hash(raw, 0, len(raw)))
    return out


ALPHABET_HASHES = _alphabet_hashes()


class Stretches(NamedTuple):
    """H stretches that read like text under a transformation: ``row``, ``kind`` (see `exchanged`), ``start`` and
    ``end`` int32 (H,), bytes relative to the folded row; ``masks`` uint32 (B,) with the bits `NATO`, `PIG_LATIN`,
    `TURNED_SCRIPT` and `RESPACED`; ``cut`` bool (B,): more were there.
    """

    row: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    masks: npt.NDArray[np.uint32]
    cut: npt.NDArray[np.bool_]

    def of(self, row: int) -> list[tuple[int, int, int]]:
        """Kind, start and end of those in ``row``."""
        if not len(self.row):
            return []
        low, high = np.searchsorted(self.row, (row, row + 1)).tolist()
        return list(zip(*(part[low:high].tolist() for part in (self.kind, self.start, self.end)), strict=True))


def stretches(values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], vocabulary: Vocabulary) -> Stretches:
    """Enciphered stretches in B rows of folded text, ``values`` uint8 (N,), ``offsets`` int64 (B+1,)."""
    rows = len(offsets) - 1
    masks, cut = np.zeros(rows, np.uint32), np.zeros(rows, np.bool_)
    hits = _rows(values, offsets, *vocabulary.words, vocabulary.sieve, load(), ALPHABET_HASHES, masks, cut)
    return Stretches(hits[0], hits[1], hits[2], hits[3], masks, cut)


@njit(cache=True, nogil=True)
def _odds(values, start, stop, kind, limit, floor, keys, logs, word):  # type: ignore[no-untyped-def]
    # (log-odds in nats, known words, letters) of the first `limit` letters under `kind`; 0 keeps them as they are.
    # Gives up below `floor`.
    odds = 0.0
    known = letters = 0
    i = start
    while letters < limit and odds > floor:
        begin, i, plain, digits = next_word(values, i, stop)
        if begin >= stop:
            break
        size = i - begin
        if digits or size > MAX_WORD or (plain < size and kind != 0 and kind != REVERSED):
            continue
        length = 0
        if kind == REVERSED:
            w = size
            k = begin
            while k < i:
                b = values[k]
                n = 1 if b < 0x80 else (2 if b < 0xE0 else (3 if b < 0xF0 else 4))
                w -= n
                for j in range(n):
                    word[w + j] = values[k + j]
                k += n
                length += 1
        else:
            for k in range(size):
                b = values[begin + k]
                if kind == ATBASH:
                    b = 219 - b
                elif kind:
                    b = 97 + (b - 97 + kind) % 26
                word[k] = b
                length += b & 0xC0 != 0x80
        letters += length
        found = lookup(keys, logs, word_hash(word, 0, size))
        known += found >= 0 and length > 1
        odds += word_odds(found, min(length, 12))
    return odds, known, letters


@njit(cache=True, nogil=True)
def _transformation(values, start, stop, keys, logs, table, word):  # type: ignore[no-untyped-def]
    # The transformation under which values[start:stop] reads like text, 0 for none.
    vowels = letters = 0
    for i in range(start, stop):
        b = values[i]
        letters += 97 <= b <= 122
        vowels += b == 97 or b == 101 or b == 105 or b == 111 or b == 117
    spoken = 0.0
    judged = 0
    if letters >= MIN_BY_LETTERS:
        spoken, judged = by_letters(values, start, stop, 0, MAX_LETTERS, table, word)
        if judged >= MIN_BY_LETTERS and spoken > NATS_PLAIN * judged:
            return 0
    plain, known, _ = _odds(values, start, stop, 0, MAX_LETTERS, -1e9, keys, logs, word)
    best = 0
    best_odds = -1e9
    # No shift of a language leaves as many vowels as a language has, so that text in another one is not searched.
    exchanged = letters > 0 and vowels < MAX_VOWELS * letters + 0.5 * np.sqrt(letters)
    for kind in range(1 if exchanged else REVERSED, REVERSED + 1):
        odds, known, seen = _odds(values, start, stop, kind, SAMPLE_LETTERS, HOPELESS_NATS, keys, logs, word)
        if odds > best_odds and seen > 0:
            best, best_odds = kind, odds
    if best_odds <= HOPELESS_NATS:
        return language(values, start, stop, exchanged, spoken, judged, table, word)
    odds, known, letters = _odds(values, start, stop, best, MAX_LETTERS, -1e9, keys, logs, word)
    enough = known >= 3 or (known == 2 and odds >= MIN_NATS + 3)
    if enough and odds >= MIN_NATS and odds >= plain + MIN_NATS and odds >= MIN_NATS_PER_LETTER * letters:
        return best
    return language(values, start, stop, exchanged, spoken, judged, table, word)


@njit(cache=True, nogil=True)
def _in_word(b):  # type: ignore[no-untyped-def]
    return 97 <= b <= 122 or 48 <= b <= 57 or b >= 0x80


@njit(cache=True, nogil=True)
def _belongs(values, begin, end, kind, keys, logs, table, word):  # type: ignore[no-untyped-def]
    # Whether the word belongs to the stretch beside it: it is known under `kind`, or its letters are likelier so and it
    # is no known word as it stands, short ones apart; a short number does.
    _, known, _ = _odds(values, begin, end, kind, MAX_WORD, -1e9, keys, logs, word)
    if known:
        return True
    size = end - begin
    plain = digits = 0
    for i in range(begin, end):
        plain += 97 <= values[i] <= 122
        digits += values[i] < 97
    if digits:
        return digits == size <= MAX_NUMBER
    if size > MAX_PLAIN_EDGE and lookup(keys, logs, word_hash(values, begin, end)) >= 0:
        return False
    if plain < size:
        return kind == REVERSED
    there, letters = by_letters(values, begin, end, kind, MAX_WORD, table, word)
    here, _ = by_letters(values, begin, end, 0, MAX_WORD, table, word)
    return letters > 0 and there > here


@njit(cache=True, nogil=True)
def _extended(values, start, stop, low, high, kind, keys, logs, table, word):  # type: ignore[no-untyped-def]
    # The stretch with the words on either side that belong to it.
    at = start
    while at > low:
        end = at
        while end > low and not _in_word(values[end - 1]):
            end -= 1
        begin = end
        while begin > low and _in_word(values[begin - 1]):
            begin -= 1
        if begin == end or not _belongs(values, begin, end, kind, keys, logs, table, word):
            break
        at = begin
    start = at
    at = stop
    while True:
        begin, end, _plain, _digits = next_word(values, at, high)
        if begin >= high or not _belongs(values, begin, end, kind, keys, logs, table, word):
            return start, stop
        at = stop = end


@njit(cache=True, nogil=True)
def _rows(values, offsets, keys, logs, sieve, table, alphabet, masks, cut):  # type: ignore[no-untyped-def]
    hit_row = np.empty(64, np.int32)
    hit_kind = np.empty(64, np.int32)
    hit_start = np.empty(64, np.int32)
    hit_end = np.empty(64, np.int32)
    word = np.empty(MAX_WORD, np.uint8)
    n = 0
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        found_here = 0
        score = best = 0
        start = stop = low  # of the best stretch that ends so far, and where the running one began
        began = low
        letters = pieces = 0
        signals = last_signal = 0
        words = pig = 0
        healed = last_healed = 0
        before = low  # where the word before this one ends, its hash, letters and frequency
        h_before = FNV_BASIS
        size_before, found_before = 0, np.int64(0)
        masks[row] |= TURNED_SCRIPT * ends_in_front(values, low, high)
        i = low
        while True:
            begin, i, plain, digits = next_word(values, i, high)
            size = i - begin
            done = begin >= high
            if not done and digits == 0 and size <= MAX_WORD:
                h = word_hash(values, begin, i)
                found = lookup(keys, logs, h)
                length = plain if plain == size else (size + 1) // 2
                if plain == size:
                    slot = np.int64(values[begin]) - 97
                    if size > 2 and (alphabet[slot, 0] == h or alphabet[slot, 1] == h):
                        signals = signals + 1 if begin - last_signal <= 4 else 1
                        last_signal = i
                        if signals >= MIN_SIGNALS:
                            masks[row] |= NATO
                    words += size > 2
                    pig += size > 3 and values[i - 1] == 121 and values[i - 2] == 97
                near = size <= MAX_PIECE and size_before <= MAX_PIECE and begin - before <= MAX_GAP
                marked = near and begin > before and values[before] > 32 and values[begin - 1] != 32
                if near and size + size_before >= MIN_PIECES and (marked or found < 0 or found_before < 0):
                    joined = h_before
                    for k in range(begin, i):
                        joined = (joined ^ np.uint64(values[k])) * FNV_PRIME
                    if not is_sifted(sieve, joined):
                        whole = lookup(keys, logs, joined)
                        if whole >= 0:
                            healed = healed + 1 if begin - last_healed <= MAX_APART else 1
                            last_healed = i
                            if healed >= MIN_HEALED:
                                masks[row] |= RESPACED
                before, h_before, size_before, found_before = i, h, size, found
                if score == 0:
                    began = begin
                if found < 0:
                    score += length if length > 1 else 0
                    letters += length
                    pieces += 1
                elif length > 1:
                    score -= length if length <= 3 else 2 * length
                if score > best:
                    best, start, stop = score, began, i
            elif (
                size > MAX_WORD
                and not masks[row] & RESPACED
                and reads_apart(values, begin, i, low, high, keys, logs, sieve)
            ):
                masks[row] |= RESPACED
            if done or score <= 0 or best - score > MAX_DROP or letters > MAX_LETTERS:
                if best >= MIN_UNKNOWN:
                    kind = _transformation(values, start, stop, keys, logs, table, word)
                    if kind:
                        floor = low + hit_end[n - 1] if found_here else low
                        start, stop = _extended(values, start, stop, floor, high, kind, keys, logs, table, word)
                        i = max(i, stop)
                    elif best >= MIN_LETTERS and not masks[row] & RESPACED:
                        tried = 0 <= GROUP * pieces - letters < GROUP or letters >= MIN_JOINED * pieces
                        if tried and reads_apart(values, start, stop, low, high, keys, logs, sieve):
                            masks[row] |= RESPACED
                    if kind and found_here == MAX_HITS:
                        cut[row] = True
                    elif kind:
                        if n == len(hit_row):
                            hit_row = np.concatenate((hit_row, hit_row))
                            hit_kind = np.concatenate((hit_kind, hit_kind))
                            hit_start = np.concatenate((hit_start, hit_start))
                            hit_end = np.concatenate((hit_end, hit_end))
                        if found_here and hit_kind[n - 1] == kind and start - low - hit_end[n - 1] <= MAX_DROP:
                            hit_end[n - 1] = max(hit_end[n - 1], stop - low)
                        else:
                            hit_row[n], hit_kind[n], hit_start[n], hit_end[n] = row, kind, start - low, stop - low
                            found_here += 1
                            n += 1
                score = best = letters = pieces = 0
            if done:
                break
        if pig >= 4 and pig * 2 >= words:
            masks[row] |= PIG_LATIN
    return hit_row[:n], hit_kind[:n], hit_start[:n], hit_end[:n]
