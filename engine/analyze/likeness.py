"""How alike texts are in wording, and which others each is nearest to; never more than a block of pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.detect.patterns.lexicon import split
from aimds.kernels import ragged

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

MOST_WORDS, MOST_BYTES = 128, 600
"""What is compared of a text: so many first words, and so many first bytes."""
TOGETHER = 32
"""Texts that one call compares with the neighbours of all of them."""
QUERIES = 1024
"""Texts whose nearest others are looked for in one call."""


@dataclass(frozen=True, slots=True)
class Wording:
    """T texts as numbered ``words`` int32 with ``word_offsets`` int64 (T+1,), and as bytes ``letters`` uint8 with
    ``letter_offsets`` int64 (T+1,)."""

    words: I32
    word_offsets: I64
    letters: U8
    letter_offsets: I64

    @classmethod
    def of(cls, values: U8, offsets: I64) -> Wording:
        """The wording of T folded texts, ``values`` uint8 (N,) and ``offsets`` int64 (T+1,)."""
        texts = [values[a:b] for a, b in pairwise(offsets.tolist())]
        letters, letter_offsets = ragged.joined([np.zeros(0, np.uint8), *(text[:MOST_BYTES] for text in texts)])
        number: dict[bytes, int] = {}
        rows: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
        rows += [
            np.array([number.setdefault(word, len(number)) for word in words[:MOST_WORDS]], np.int32)
            for words in split([text.tobytes() for text in texts])
        ]
        words_of, word_offsets = ragged.joined(rows)
        return cls(words_of, word_offsets[1:], letters, letter_offsets[1:])

    def alike(self, ones: I64, others: I64, *, threads: int = 1) -> F32:
        """Likeness of each of A texts with each of B others, float32 (A, B) in [0, 1], 1 for the same.

        The mean of two shares of the longer text that need no edit, one over words and one over bytes: the first looks
        over word order and keeps phrases together, the second looks over typing errors and endings.
        """
        words = _unedited(self.words, self.word_offsets, ones, others, threads)
        letters = _unedited(self.letters, self.letter_offsets, ones, others, threads)
        return (words + letters) * np.float32(0.5)

    def pairs(self, first: I64, second: I64, *, threads: int = 1) -> F32:
        """Likeness of C pairs, float32 (C,); ``first`` int64 (C,) ascends.

        The kernels compare all with all, and a call has its price, so a few texts are held at once against all that
        any of them is paired with.
        """
        out = np.empty(len(first), np.float32)
        edges = [*np.flatnonzero(np.diff(first, prepend=-1)).tolist(), len(first)]
        for low in range(0, len(edges) - 1, TOGETHER):
            here = slice(edges[low], edges[min(low + TOGETHER, len(edges) - 1)])
            ones, row = np.unique(first[here], return_inverse=True)
            others, column = np.unique(second[here], return_inverse=True)
            out[here] = self.alike(ones, others, threads=threads)[row, column]
        return out


def _unedited(values: I32 | U8, offsets: I64, ones: I64, others: I64, threads: int) -> F32:
    one, other = _taken(values, offsets, ones), _taken(values, offsets, others)
    edits = kernels.levenshtein(*one, *other, threads=threads)
    longer = np.maximum(np.diff(one[1])[:, None], np.diff(other[1])[None, :])
    share = np.divide(edits, np.maximum(longer, 1), dtype=np.float32)
    return np.subtract(1, share, dtype=np.float32)


def _taken(values: I32 | U8, offsets: I64, rows: I64) -> tuple[npt.NDArray[np.int32] | U8, I64]:
    lengths = offsets[rows + 1] - offsets[rows]
    out = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=out[1:])
    return values[np.arange(out[-1]) + np.repeat(offsets[rows] - out[:-1], lengths)], out


def neighbours(sketches: F32, k: int, *, threads: int = 1) -> Iterator[tuple[int, I32]]:
    """The ``k`` nearest texts of each, itself among them: (how many are done, int32 (b, k)) for one run after another.

    ``sketches`` float32 (T, D) as `kernels.sketch` makes them. Of equals the lower number comes first.
    """
    for start in range(0, len(sketches), QUERIES):
        some = sketches[start : start + QUERIES]
        yield start + len(some), kernels.topk(some, sketches, k, threads=threads)[1]
