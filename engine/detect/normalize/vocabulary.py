"""Known words with their log-frequency: what tells text from noise.

Unwrapping keeps a decoded candidate only where it reads like text, leetspeak is undone only where a word appears, and
spaced-out letters are cut into words by frequency. Words are stored as 64-bit hashes, never as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds import data
from aimds.errors import ArtefactError
from aimds.kernels.hashing import FNV_BASIS, FNV_PRIME

Hashes = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]

ARTEFACT = "vocabulary.npz"
STEPS_PER_NAT = 8
"""Log-frequencies are kept as whole eighths of a nat below 0."""

MIN_ROWS = 3
MIN_ROWS_SHORT = {1: 400, 2: 60, 3: 15}
"""A word must occur in this many texts; short ones in more, since any three letters occur somewhere."""

MAX_WORDS = 110_000
"""Keeps the artefact below 1 MB: nine bytes a word."""

SIEVE_BYTES = 1 << 17
"""A bit for every ten words that are kept at most."""

LETTER_NATS = 2.6
"""Cost of one letter of noise. Below ln 26 = 3.26, since what is not English is not uniform either."""
UNKNOWN_NATS = 2.0


class Words(NamedTuple):
    """The hash table the kernels read: ``keys`` uint64 (S,), S a power of two, 0 for empty; ``logs`` uint8 (S,)."""

    keys: Hashes
    logs: Bytes


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Known words: ``hashes`` uint64 (W,) ascending, ``logs`` uint8 (W,) eighths of a nat below 0, ``words`` for
    kernels, ``sieve`` uint8 (S,) for those that look up much that is no word (`is_sifted`).
    """

    hashes: Hashes
    logs: Bytes
    words: Words
    sieve: Bytes

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self.log_probability(word) is not None

    def log_probability(self, word: str) -> float | None:
        """Natural logarithm of the frequency of a folded ``word``; None when it is not known."""
        raw = np.frombuffer(word.encode(), np.uint8)
        found = int(lookup(self.words.keys, self.words.logs, np.uint64(word_hash(raw, 0, len(raw)))))
        return None if found < 0 else -found / STEPS_PER_NAT

    @classmethod
    def from_arrays(cls, hashes: Hashes, logs: Bytes) -> Vocabulary:
        """From unique ``hashes`` uint64 (W,) and ``logs`` uint8 (W,)."""
        order = np.argsort(hashes)
        hashes, logs = np.ascontiguousarray(hashes[order]), np.ascontiguousarray(logs[order])
        slots = 1 << max(4, int(2 * len(hashes) - 1).bit_length())
        return cls(hashes, logs, Words(*_table(hashes, logs, slots)), _sieve(hashes))

    @classmethod
    def empty(cls) -> Vocabulary:
        """Knows no word."""
        return cls.from_arrays(np.zeros(0, np.uint64), np.zeros(0, np.uint8))

    @classmethod
    def build(cls, texts: Iterable[str | bytes], *, min_rows: int = MIN_ROWS, max_words: int = MAX_WORDS) -> Vocabulary:
        """Words that occur in at least ``min_rows`` of ``texts``.

        Give it plain language: words of encoded or transformed texts would be taken for known ones.
        """
        from aimds.detect.normalize.fold import fold  # the fold itself reads a vocabulary

        raw = [text.encode("utf-8", "replace") if isinstance(text, str) else text for text in texts]
        offsets = np.zeros(len(raw) + 1, np.int64)
        np.cumsum([len(text) for text in raw], out=offsets[1:])
        folded = fold(np.frombuffer(b"".join(raw), np.uint8), offsets, cls.empty())
        hashes, lengths = _row_words(folded.values, folded.offsets)
        unique, first, counts = np.unique(hashes, return_index=True, return_counts=True)
        floor = np.full(len(unique), min_rows)
        for length, least in MIN_ROWS_SHORT.items():
            floor[lengths[first] == length] = max(least * min_rows // MIN_ROWS, min_rows)
        kept = counts >= floor
        unique, counts = unique[kept], counts[kept]
        if len(unique) > max_words:
            top = np.lexsort((unique, -counts))[:max_words]
            unique, counts = unique[top], counts[top]
        nats = -np.log(counts / max(1, len(hashes)))
        return cls.from_arrays(unique, np.clip(np.rint(nats * STEPS_PER_NAT), 0, 255).astype(np.uint8))

    @classmethod
    def load(cls, path: Path | None = None) -> Vocabulary:
        """The shipped vocabulary (read once), or the one in ``path``.

        Raises:
            ArtefactError: missing, damaged, or not a vocabulary.
        """
        if path is None:
            return _shipped()
        if not path.is_file():
            raise ArtefactError(path, "no such vocabulary file")
        return cls._unpack(path, data.unpack(path, path.read_bytes()))

    @classmethod
    def _unpack(cls, name: object, arrays: dict[str, npt.NDArray[np.generic]]) -> Vocabulary:
        hashes, logs = arrays.get("hashes"), arrays.get("logs")
        if (
            hashes is None
            or logs is None
            or hashes.shape != logs.shape
            or hashes.dtype != np.uint64
            or logs.dtype != np.uint8
        ):
            raise ArtefactError(name, "is not a vocabulary: expected hashes uint64 (W,) and logs uint8 (W,)")
        return cls.from_arrays(hashes.astype(np.uint64), logs.astype(np.uint8))


@cache
def _shipped() -> Vocabulary:
    return Vocabulary._unpack(ARTEFACT, data.read_arrays(ARTEFACT))


def build_vocabulary_file(texts: Iterable[str | bytes], path: Path, *, min_rows: int = MIN_ROWS) -> Vocabulary:
    """Build the vocabulary of ``texts`` and write it to ``path`` (``.npz``, at most 1 MB)."""
    vocabulary = Vocabulary.build(texts, min_rows=min_rows)
    np.savez_compressed(path, allow_pickle=False, hashes=vocabulary.hashes, logs=vocabulary.logs)
    return vocabulary


@njit(cache=True, nogil=True)
def word_hash(values, start, stop):  # type: ignore[no-untyped-def]
    """FNV-1a of ``values[start:stop]``, 64 bits, never 0. Source: draft-eastlake-fnv."""
    h = FNV_BASIS
    for i in range(start, stop):
        h = (h ^ np.uint64(values[i])) * FNV_PRIME
    return h if h != np.uint64(0) else np.uint64(1)


@njit(cache=True, nogil=True)
def lookup(keys, logs, h):  # type: ignore[no-untyped-def]
    """Eighths of a nat below 0 of the word with hash ``h``, or -1."""
    mask = np.uint64(len(keys) - 1)
    slot = (h ^ (h >> np.uint64(32))) & mask
    while keys[slot] != np.uint64(0):
        if keys[slot] == h:
            return np.int64(logs[slot])
        slot = (slot + np.uint64(1)) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def is_sifted(sieve, h):  # type: ignore[no-untyped-def]
    """Whether no word has the hash ``h``, told from an array that a processor keeps near; False says nothing."""
    bit = (h ^ (h >> np.uint64(32))) & np.uint64(8 * SIEVE_BYTES - 1)
    return (sieve[bit >> np.uint64(3)] >> (bit & np.uint64(7))) & 1 == 0


@njit(cache=True, nogil=True)
def _sieve(hashes):  # type: ignore[no-untyped-def]
    out = np.zeros(SIEVE_BYTES, np.uint8)
    for h in hashes:
        bit = (h ^ (h >> np.uint64(32))) & np.uint64(8 * SIEVE_BYTES - 1)
        out[bit >> np.uint64(3)] |= np.uint8(1 << (bit & np.uint64(7)))
    return out


@njit(cache=True, nogil=True)
def _table(hashes, logs, slots):  # type: ignore[no-untyped-def]
    keys = np.zeros(slots, np.uint64)
    values = np.zeros(slots, np.uint8)
    mask = np.uint64(slots - 1)
    for i in range(len(hashes)):
        slot = (hashes[i] ^ (hashes[i] >> np.uint64(32))) & mask
        while keys[slot] != np.uint64(0):
            slot = (slot + np.uint64(1)) & mask
        keys[slot] = hashes[i]
        values[slot] = logs[i]
    return keys, values


def _word_bytes() -> Bytes:
    out = np.zeros(256, np.uint8)
    out[48:58] = out[97:123] = 1
    out[0xC3:0xE0] = 2
    out[0xE0:0xF0] = 3
    out[[0xE2, *range(0xE3, 0xEA), 0xEF]] = 0
    return out


WORD_BYTES = _word_bytes()
"""Bytes of the word character that a byte of folded text leads, 0 when it leads none. Word characters are a–z, 0–9
and the letters of scripts that put spaces between words; punctuation, symbols, kana and ideographs are none.
"""


@njit(cache=True, nogil=True)
def next_word(values, i, stop):  # type: ignore[no-untyped-def]
    """The next word at or after ``i``: (start, end, letters a–z in it, digits in it); start = ``stop`` when there is
    none.
    """
    while i < stop and WORD_BYTES[values[i]] == 0:
        i += 1
    start = i
    letters = 0
    digits = 0
    while i < stop:
        b = values[i]
        size = WORD_BYTES[b]
        if size == 1:
            if b >= 97:
                letters += 1
            else:
                digits += 1
        elif size == 0:
            break
        i += size
    return start, min(i, stop), letters, digits


@njit(cache=True, nogil=True)
def word_odds(found, letters):  # type: ignore[no-untyped-def]
    """Log-odds, in nats, of text against noise that one word of ``letters`` letters gives; ``found`` as of `lookup`."""
    if found >= 0:
        return LETTER_NATS * letters - found / STEPS_PER_NAT
    if letters <= 1:
        return -0.5
    return -UNKNOWN_NATS * (1 + letters // 20)


@njit(cache=True, nogil=True)
def text_odds(values, start, stop, keys, logs):  # type: ignore[no-untyped-def]
    """How much folded ``values[start:stop]`` reads like text: (log-odds in nats, words judged, words known).

    Words with digits or letters beyond a–z count only where they are known."""
    odds = 0.0
    words = 0
    known = 0
    i = start
    while True:
        begin, i, letters, digits = next_word(values, i, stop)
        if begin >= stop:
            return odds, words, known
        size = i - begin
        if size == digits:
            continue
        found = lookup(keys, logs, word_hash(values, begin, i))
        if found < 0 and letters < size:
            continue
        words += 1
        known += found >= 0
        odds += word_odds(found, min(size, 12))


@njit(cache=True, nogil=True)
def _row_words(values, offsets):  # type: ignore[no-untyped-def]
    # Each word once per row, so that one row cannot make a word known.
    total = 0
    for row in range(len(offsets) - 1):
        i = offsets[row]
        while True:
            begin, i, _letters, digits = next_word(values, i, offsets[row + 1])
            if begin >= offsets[row + 1]:
                break
            total += 1
    hashes = np.empty(total, np.uint64)
    lengths = np.empty(total, np.int32)
    n = 0
    for row in range(len(offsets) - 1):
        first = n
        i = offsets[row]
        stop = offsets[row + 1]
        while True:
            begin, i, _letters, digits = next_word(values, i, stop)
            if begin >= stop:
                break
            if i - begin == digits or i - begin > 40:
                continue
            hashes[n] = word_hash(values, begin, i)
            lengths[n] = i - begin
            n += 1
        order = np.argsort(hashes[first:n])
        row_hashes = hashes[first:n][order]
        row_lengths = lengths[first:n][order]
        n = first
        for k in range(len(row_hashes)):
            if k == 0 or row_hashes[k] != row_hashes[k - 1]:
                hashes[n] = row_hashes[k]
                lengths[n] = row_lengths[k]
                n += 1
    return hashes[:n], lengths[:n]
