"""What the benchmarks are run on: made-up words and token ids, and how a result is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SYLLABLES = [
    "ba",
    "ce",
    "di",
    "fo",
    "gu",
    "ha",
    "ke",
    "li",
    "mo",
    "nu",
    "pra",
    "ste",
    "tri",
    "on",
    "ing",
    "er",
    "al",
    "s",
]


def ragged(rows: Sequence[Sequence[int] | bytes], dtype: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return np.array([value for row in rows for value in row], dtype), offsets


def ids(rng: np.random.Generator, rows: int, low: int, high: int, size: int = 5000) -> list[list[int]]:
    """Token rows whose words fall off as in text: few are common."""
    return [(size * rng.random(n) ** 3).astype(int).tolist() for n in rng.integers(low, high + 1, rows)]


def texts(rng: np.random.Generator, rows: int, words: int) -> list[str]:
    lexicon = ["".join(rng.choice(SYLLABLES, rng.integers(1, 5))) for _ in range(4000)]
    return [" ".join(lexicon[i] for i in row) for row in ids(rng, rows, words, words, len(lexicon))]


def equal(ours: Any, peer: Any) -> bool:
    return np.array_equal(ours, peer)
