"""The CPU kernels on one core against what a newcomer would use: `python -m benchmarks.kernels [--smoke] [NAME…]`.

Preparation is inside the time on both sides: rapidfuzz gets lists and strings, our kernels get arrays, as each wants.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from rapidfuzz import process
from rapidfuzz.distance import LCSseq, Levenshtein
from sklearn.feature_extraction.text import HashingVectorizer

from aimds import kernels
from benchmarks.harness import Case, main

F32 = npt.NDArray[np.float32]
SYLLABLES = (
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
)


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


@njit  # type: ignore[untyped-decorator, unused-ignore]
def pairwise_dtw(queries: Any, patterns: Any, out: Any) -> None:
    """The textbook loop, compiled: one pair at a time, two rows of the table."""
    last, row = np.empty(patterns.shape[1] + 1, np.float32), np.empty(patterns.shape[1] + 1, np.float32)
    for q in range(queries.shape[0]):
        for p in range(patterns.shape[0]):
            last[:] = np.inf
            last[0] = 0.0
            for i in range(queries.shape[1]):
                row[0] = np.inf
                for j in range(patterns.shape[1]):
                    gap = queries[q, i] - patterns[p, j]
                    row[j + 1] = gap * gap + min(last[j], last[j + 1], row[j])
                last, row = row, last
            out[q, p] = last[patterns.shape[1]]


def dtw(smoke: bool) -> Case:
    rng = np.random.default_rng(0)
    queries, patterns, length = (100, 64, 32) if smoke else (1000, 128, 64)
    rows = rng.normal(size=(queries, length)).astype(np.float32)
    bank = rng.normal(size=(patterns, length)).astype(np.float32)
    offsets = np.arange(queries + 1, dtype=np.int64) * length

    def peer() -> F32:
        out = np.empty((queries, patterns), np.float32)
        pairwise_dtw(rows, bank, out)
        return out

    return Case(
        "dtw",
        "Gcell",
        queries * patterns * length * length / 1e9,
        lambda: kernels.dtw(rows.ravel(), offsets, bank),
        peer,
        "numba loop, pair by pair",
        lambda ours, theirs: bool(np.allclose(ours, theirs, rtol=1e-4)),
        3.0,
    )


@njit  # type: ignore[untyped-decorator, unused-ignore]
def lanes_of_floats(cost: Any, length: int, out: Any) -> None:
    """Subsequence DTW of one prompt over all patterns, cost float32 (T, L * P) with the pattern axis last."""
    patterns = cost.shape[1] // length
    table = np.full((length, patterns), np.float32(np.inf))
    out[:] = np.inf
    corner = np.empty(patterns, np.float32)
    for i in range(cost.shape[0]):
        corner[:] = 0.0
        for j in range(length):
            for p in range(patterns):
                up = table[j, p]
                beside = table[j - 1, p] if j > 0 else np.float32(0.0)
                table[j, p] = cost[i, j * patterns + p] + min(min(corner[p], up), beside)
                corner[p] = up
        for p in range(patterns):
            out[p] = min(out[p], table[length - 1, p])


def subsequence_dtw(smoke: bool) -> Case:
    rng = np.random.default_rng(1)
    prompts, tokens, patterns, length, vocabulary, dim = 40 if smoke else 400, 60, 512, 12, 4096, 64
    # Zeros and ones make inner products of whole numbers: the matrix product gives the costs of the table exactly.
    words = rng.integers(0, 2, (vocabulary, dim)).astype(np.float32)
    bank = words[rng.integers(0, vocabulary, (length, patterns))].reshape(-1, dim)
    cost = (words @ bank.T).astype(np.uint8).reshape(vocabulary, length, patterns)
    rows = ids(rng, prompts, tokens, tokens, vocabulary)
    values, offsets = ragged(rows, np.int32)

    def peer() -> F32:
        out = np.empty((prompts, patterns), np.float32)
        for i, row in enumerate(rows):
            lanes_of_floats(words[row] @ bank.T, length, out[i])
        return out

    return Case(
        "subsequence_dtw",
        "prompt",
        prompts,
        lambda: kernels.subsequence_dtw(values, offsets, cost)[0],
        peer,
        "matrix product a prompt, then numba over float32 lanes",
        equal,
        2.0,
    )


def subsequence_dtw_pairs(smoke: bool) -> Case:
    # As behind the bank's bound: of each prompt a few patterns may be near, somewhere among many blocks of patterns.
    rng = np.random.default_rng(3)
    prompts, blocks, size, length, vocabulary, near = 200 if smoke else 2000, 14, 64, 21, 300, 3
    cost = rng.integers(0, 256, (vocabulary, size, length)).astype(np.uint8)
    lanes = np.ascontiguousarray(cost.transpose(0, 2, 1))
    values, offsets = ragged(ids(rng, prompts, 60, 60, vocabulary), np.int32)
    rows = np.repeat(np.arange(prompts, dtype=np.int32), near)
    patterns = rng.integers(0, size, len(rows)).astype(np.int32)
    block = rng.integers(0, blocks, len(rows))
    lengths = np.full(size, length, np.int32)

    def ours() -> npt.NDArray[Any]:
        return kernels.subsequence_dtw_pairs(values, offsets, cost, lengths, rows, patterns)[0]

    def peer() -> npt.NDArray[Any]:
        out = np.empty(len(rows), np.int32)
        for number in range(blocks):
            here = np.flatnonzero(block == number)
            asked, place = np.unique(rows[here], return_inverse=True)
            some = np.concatenate([values[offsets[r] : offsets[r + 1]] for r in asked.tolist()])
            whole, _ = kernels.subsequence_dtw(some, np.arange(len(asked) + 1, dtype=np.int64) * 60, lanes)
            out[here] = whole[place, patterns[here]]
        return out

    return Case("subsequence_dtw_pairs", "pair", len(rows), ours, peer, "our kernel for whole blocks of 64", equal, 2.0)


def pairs(name: str, of_bytes: bool, floor: float) -> Callable[[bool], Case]:
    ours, scorer = (
        (kernels.lcs, LCSseq.similarity) if name.startswith("lcs") else (kernels.levenshtein, Levenshtein.distance)
    )

    def make(smoke: bool) -> Case:
        rng = np.random.default_rng(2)
        rows = 400 if smoke else 1000
        queries: Sequence[Any]
        patterns: Sequence[Any]
        if of_bytes:
            queries, patterns = ([text[:60] for text in texts(rng, rows, 12)] for _ in range(2))
            arrays = (
                *ragged([q.encode() for q in queries], np.uint8),
                *ragged([p.encode() for p in patterns], np.uint8),
            )
        else:
            queries, patterns = ids(rng, rows, 50, 64), ids(rng, rows, 10, 14)
            arrays = (*ragged(queries, np.int32), *ragged(patterns, np.int32))
        return Case(
            name,
            "Gcell",
            len(arrays[0]) * len(arrays[2]) / 1e9,
            lambda: ours(*arrays),
            lambda: process.cdist(queries, patterns, scorer=scorer, dtype=np.int32, workers=1),
            "rapidfuzz cdist",
            equal,
            floor,
        )

    return make


def topk(name: str, batch: int, floor: float) -> Callable[[bool], Case]:
    def make(smoke: bool) -> Case:
        rng = np.random.default_rng(3)
        bank = rng.normal(size=(2000 if smoke else 10_000, 256)).astype(np.float32)
        bank /= np.linalg.norm(bank, axis=1, keepdims=True)
        queries = rng.normal(size=(batch, 256)).astype(np.float32)

        def peer() -> tuple[F32, npt.NDArray[np.int64]]:
            scores = queries @ bank.T
            best = np.argpartition(scores, -10, axis=1)[:, -10:]
            found = np.take_along_axis(scores, best, 1)
            order = np.argsort(-found, axis=1)
            return np.take_along_axis(found, order, 1), np.take_along_axis(best, order, 1)

        return Case(
            name,
            "query",
            batch,
            lambda: kernels.topk(queries, bank, 10),
            peer,
            "numpy product and argpartition",
            lambda ours, theirs: equal(ours[1], theirs[1]) and bool(np.allclose(ours[0], theirs[0], atol=1e-5)),
            floor,
        )

    return make


def ngram_hash(smoke: bool) -> Case:
    rows = texts(np.random.default_rng(4), 200 if smoke else 1500, 60)
    values, offsets = ragged([row.encode() for row in rows], np.uint8)
    padded = [f" {row} " for row in rows]
    options = {"n_features": 1 << 18, "norm": None, "alternate_sign": False, "dtype": np.float32}
    grams = HashingVectorizer(analyzer="char", ngram_range=(3, 5), **options)
    words = HashingVectorizer(analyzer="word", ngram_range=(1, 2), token_pattern="[a-z0-9]+", **options)

    def peer() -> npt.NDArray[Any]:
        return np.asarray((grams.transform(padded) + words.transform(rows)).sum(axis=1)).ravel()

    def ours() -> npt.NDArray[Any]:
        indptr, _, counts = kernels.ngram_hash(values, offsets)
        return np.add.reduceat(counts, indptr[:-1])

    # The hash functions differ, so what must agree is the number of grams and words of each row.
    return Case("ngram_hash", "MB", len(values) / 1e6, ours, peer, "scikit-learn HashingVectorizer", equal, 8.0)


CASES: dict[str, Callable[[bool], Case]] = {
    "dtw": dtw,
    "subsequence_dtw": subsequence_dtw,
    "subsequence_dtw_pairs": subsequence_dtw_pairs,
    "lcs_ids": pairs("lcs_ids", False, 2.0),
    "lcs_bytes": pairs("lcs_bytes", True, 0.6),
    "levenshtein_ids": pairs("levenshtein_ids", False, 1.5),
    "levenshtein_bytes": pairs("levenshtein_bytes", True, 0.9),
    "topk_1": topk("topk_1", 1, 0.25),
    "topk_256": topk("topk_256", 256, 0.3),
    "ngram_hash": ngram_hash,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
