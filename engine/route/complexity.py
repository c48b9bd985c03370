"""How much a prompt asks of a model: length, words of reasoning, code, figures and structure, as one number, 0 to 1.

A heuristic over bytes and words, without a model: cheap enough to run on everything, and each part can be shown as a
reason. What it is worth is measured in docs/routing.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from aimds import kernels

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

PARTS = ("length", "reasoning", "code", "figures", "structure")
WEIGHTS = np.array([0.45, 0.6, 0.5, 0.3, 0.3])
"""What each part can add alone; together they add like independent chances."""
_ASKS = (
    "why prove proof derive explain compare contrast analyze analyse evaluate justify critique design implement "
    "optimize optimise debug refactor solve calculate compute deduce infer reason reasoning step steps algorithm "
    "theorem equation integral probability statistics architecture strategy tradeoff tradeoffs essay thesis summarize "
    "summarise translate synthesize hypothesis logic logical constraints function program complexity assess interpret "
    "warum beweise erkläre vergleiche analysiere berechne begründe entwirf pourquoi expliquez démontrez comparez "
    "analysez calculez justifiez explica demuestra compara analiza calcula diseña "
)
ASKS = tuple(_ASKS.split())
"""Words that ask for more than looking something up."""
WIDE = 5
"""The kind of bytes outside ASCII; 1 to 4 are code, digits, line breaks and question marks, 0 is all else."""
FEW_TOKENS = 16.0
"""Up to about here the length says nothing."""
FULL_TOKENS, FULL_ASKS, FULL_CODE, FULL_FIGURES, FULL_PLACES = 1500.0, 3.0, 12.0, 10.0, 12.0
"""From so many on, a part is whole."""
ASCII_BYTES, WIDE_BYTES, FRAME_TOKENS = 4.0, 2.0, 4
"""Bytes of a token in ASCII and in other scripts, and the tokens that frame a message: an estimate for money, which the
provider's own count replaces."""


@dataclass(frozen=True, slots=True)
class Complexity:
    """``score`` float32 (B,) from 0 to 1, its ``parts`` float32 (B, 5) in the order of PARTS, and the ``tokens`` int64
    (B,) that the texts are estimated to have."""

    score: npt.NDArray[np.float32]
    parts: npt.NDArray[np.float32]
    tokens: I64


def complexity(texts: pa.Array, *, threads: int = 1) -> Complexity:
    """The complexity of each of B ``texts`` (large_string; null counts as empty). A row's result depends on it only."""
    values, offsets = _bytes(texts)
    sizes = np.diff(offsets)
    code, digits, breaks, questions, wide = _counted(values, offsets, _kinds(), WIDE + 1)[:, 1:].T
    tokens = np.ceil((sizes - wide) / ASCII_BYTES + wide / WIDE_BYTES).astype(np.int64) + FRAME_TOKENS
    words, bounds, _, _ = kernels.tokenize(values, offsets, *_vocabulary(), threads=threads)
    asks = _among(words, bounds, len(ASKS))
    parts = np.stack(
        [
            np.log1p(tokens / FEW_TOKENS) / np.log1p(FULL_TOKENS / FEW_TOKENS),
            asks / FULL_ASKS,
            code / FULL_CODE,
            digits / FULL_FIGURES,
            (breaks + 2 * np.maximum(questions - 1, 0)) / FULL_PLACES,
        ],
        axis=1,
    )
    parts = np.minimum(parts, 1.0)
    score = 1 - np.prod(1 - WEIGHTS * parts, axis=1)
    return Complexity(score.astype(np.float32), parts.astype(np.float32), tokens)


@njit(cache=True, nogil=True)
def _counted(values, offsets, kinds, n_kinds):  # type: ignore[no-untyped-def]
    # Bytes of each kind in each row, int64 (B, n_kinds).
    out = np.zeros((len(offsets) - 1, n_kinds), np.int64)
    for row in range(len(offsets) - 1):
        for i in range(offsets[row], offsets[row + 1]):
            out[row, kinds[values[i]]] += 1
    return out


@njit(cache=True, nogil=True)
def _among(words, bounds, known):  # type: ignore[no-untyped-def]
    # Words of each row whose id is below `known`, int64 (B,).
    out = np.zeros(len(bounds) - 1, np.int64)
    for row in range(len(bounds) - 1):
        for i in range(bounds[row], bounds[row + 1]):
            out[row] += words[i] < known
    return out


def _bytes(texts: pa.Array) -> tuple[U8, I64]:
    filled = texts.fill_null("") if texts.null_count else texts
    n = len(filled)
    if not n:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, ends, content = filled.buffers()
    offsets = np.frombuffer(ends, np.int64, n + 1, filled.offset * 8)
    if content is None:
        return np.zeros(0, np.uint8), offsets - offsets[0]
    return np.frombuffer(content, np.uint8)[offsets[0] : offsets[-1]], offsets - offsets[0]


@cache
def _kinds() -> U8:
    kinds = np.zeros(256, np.uint8)
    for kind, found in enumerate((b"{}[]<>=;\\|_`", b"0123456789", b"\n", b"?"), 1):
        kinds[list(found)] = kind
    kinds[128:] = WIDE
    return kinds


@cache
def _vocabulary() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    return kernels.build_vocabulary([word.encode() for word in ASKS])
