"""Which letters follow which in languages written in Latin letters: tells language from noise where no word is known.

A third-order chain over a to z and the edge of a word. It knows no words, so text in a language that the vocabulary
hardly holds reads as language too, and its reversal or a shift of it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import data
from aimds.detect.normalize.vocabulary import next_word
from aimds.errors import ArtefactError

ARTEFACT = "letters.npz"
SYMBOLS = 27
"""The edge of a word, then a to z."""
STEPS_PER_NAT = 16
NOISE_NATS = 3.258
"""What one letter of noise costs, ln 26."""
MAX_WORD = 24
"""Longer words are not judged."""
MIN_LANGUAGE = 16
MIN_MEAN_WORD = 2
"""Letters from which a text can be judged, and letters of its words on the mean: letters by themselves follow none."""
NATS_OF_LANGUAGE = -0.3
"""Log-odds a letter from which letters are those of a language. Languages of the sample have 0.9 to 1.1, others down
to -0.3, noise and languages under a shift -0.7 and less."""

MIN_FOREIGN = 4
MIN_PLAIN, MIN_PLAIN_SHARE, MAX_PLAIN_WORD = 16, 0.8, 24
"""Letters beyond Latin; bytes, share of letters and blanks, bytes for a blank of what is letters for the most part."""

Table = npt.NDArray[np.int8]


def build(texts: Sequence[Sequence[bytes]]) -> Table:
    """The chain of folded ``texts``, one list a language; each language counts alike.

    Returns:
        int8 (27, 27, 27): log-odds against noise, sixteenths of a nat, of the third letter after the first two.
    """
    share = np.zeros((SYMBOLS, SYMBOLS, SYMBOLS))
    for language in texts:
        counts = np.zeros_like(share)
        for text in language:
            _count(np.frombuffer(text, np.uint8), counts)
        share += counts / max(1.0, counts.sum())
    share *= 1e6 / len(texts)
    single = share.sum((0, 1)) + 1.0
    single /= single.sum()
    pair = share.sum(0) + 2000.0 * single
    pair /= pair.sum(-1, keepdims=True)
    triple = share + 200.0 * pair
    triple /= triple.sum(-1, keepdims=True)
    odds = np.log(np.maximum(triple, 2e-4)) + NOISE_NATS
    table: Table = np.clip(np.rint(odds * STEPS_PER_NAT), -127, 127).astype(np.int8)
    return table


@cache
def load() -> Table:
    """The shipped chain, read once.

    Raises:
        ArtefactError: missing, damaged, or not a chain.
    """
    odds = data.read_arrays(ARTEFACT).get("odds")
    if odds is None or odds.shape != (SYMBOLS,) * 3 or odds.dtype != np.int8:
        raise ArtefactError(
            ARTEFACT, f"is not a chain of letters: expected odds int8 ({SYMBOLS}, {SYMBOLS}, {SYMBOLS})"
        )
    table: Table = np.ascontiguousarray(odds.astype(np.int8))
    return table


def is_language(values: npt.NDArray[np.uint8]) -> bool:
    """Whether folded ``values`` uint8 (N,) reads like a language in Latin letters, whichever it is."""
    odds, letters, words = language_odds(values, 0, len(values), load())
    return bool(letters >= max(MIN_LANGUAGE, MIN_MEAN_WORD * words) and odds >= NATS_OF_LANGUAGE * letters)


def is_foreign(values: npt.NDArray[np.uint8]) -> bool:
    """Whether ``values`` are mostly letters beyond Latin, which random bytes never are: valid UTF-8 of several bytes a
    character."""
    high = int((values >= 0xC3).sum())
    plain = int(((values >= 97) & (values <= 122)).sum())
    marks = int(((values > 32) & (values < 97)).sum())
    return high >= MIN_FOREIGN and high >= plain and high >= marks


def is_plain(values: npt.NDArray[np.uint8]) -> bool:
    """Whether ``values`` are letters for the most part, which random bytes never are for so long, and blanks, which
    blobs do not have: text in whatever language."""
    written = int(((values | 32) - 97 < 26).sum()) + int((values >= 0x80).sum())
    blanks = int((values == 32).sum())
    n = len(values)
    return n >= MIN_PLAIN and blanks * MAX_PLAIN_WORD >= n and written + blanks >= MIN_PLAIN_SHARE * n


@njit(cache=True, nogil=True)
def _count(values, counts):  # type: ignore[no-untyped-def]
    i = 0
    while True:
        begin, i, letters, _digits = next_word(values, i, len(values))
        if begin >= len(values):
            return
        if letters < i - begin or letters > MAX_WORD:
            continue
        first = second = np.int64(0)
        for k in range(begin, i):
            third = np.int64(values[k]) - 96
            counts[first, second, third] += 1.0
            first, second = second, third
        counts[first, second, 0] += 1.0


@njit(cache=True, nogil=True)
def word_language(word, size, table):  # type: ignore[no-untyped-def]
    """Log-odds in nats that the letters a to z ``word[:size]`` are a word of a language rather than noise."""
    total = first = second = np.int64(0)
    for k in range(size):
        third = np.int64(word[k]) - 96
        total += np.int64(table[first, second, third])
        first, second = second, third
    # The end of a word is no letter: it only tells likely from unlikely endings.
    return (total + (np.int64(table[first, second, 0]) - 16) * (size > 1)) / STEPS_PER_NAT


@njit(cache=True, nogil=True)
def language_odds(values, start, stop, table):  # type: ignore[no-untyped-def]
    """(log-odds in nats of language against noise, letters and words judged) of folded ``values[start:stop]``."""
    odds = 0.0
    letters = words = 0
    i = start
    while True:
        begin, i, plain, _digits = next_word(values, i, stop)
        if begin >= stop:
            return odds, letters, words
        if plain == i - begin and plain <= MAX_WORD:
            odds += word_language(values[begin:i], plain, table)
            letters += plain
            words += 1
