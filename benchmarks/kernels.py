"""The CPU kernels on one core against what a newcomer would use: `python -m benchmarks.kernels [--smoke] [NAME…]`.

Preparation is inside the time on both sides: rapidfuzz gets lists and strings, our kernels get arrays, as each wants.
"""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from rapidfuzz import process
from rapidfuzz.distance import LCSseq, Levenshtein
from sklearn.feature_extraction.text import HashingVectorizer

from aimds import kernels
from aimds.detect.normalize import views
from aimds.detect.normalize.vocabulary import Vocabulary
from benchmarks.harness import Case, Maker, available, main

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


def dtw(smoke: bool) -> Iterator[Case]:
    few = 64
    for length in (32,) if smoke else (32, 64):
        rng = np.random.default_rng(length)
        queries, patterns = (100, 64) if smoke else (1024, 512)
        rows = rng.normal(size=(queries, length)).astype(np.float32)
        bank = rng.normal(size=(patterns, length)).astype(np.float32)
        offsets = np.arange(queries + 1, dtype=np.int64) * length
        # Peers compute in float64, pair by pair: a part of the queries says what they need for all.
        wide, wide_bank = rows[:few].astype(np.float64), bank.astype(np.float64)
        peers: list[tuple[str, int, Callable[[], Any]]] = [
            ("numba loop, pair by pair", queries, functools.partial(_pairwise, rows, bank)),
            *(() if smoke else _dtw_peers(wide, wide_bank)),
        ]
        for peer_name, done, peer in peers:
            yield Case(
                f"dtw_{length}",
                "Gcell",
                queries * patterns * length * length / 1e9,
                functools.partial(kernels.dtw, rows.ravel(), offsets, bank),
                peer,
                peer_name,
                lambda ours, theirs: bool(np.allclose(ours[: len(theirs)], theirs, rtol=1e-3)),
                3.0,
                peer_work=done * patterns * length * length / 1e9,
            )


def _pairwise(rows: F32, bank: F32) -> F32:
    out = np.empty((len(rows), len(bank)), np.float32)
    pairwise_dtw(rows, bank, out)
    return out


def _dtw_peers(rows: Any, bank: Any) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    both = np.vstack([rows, bank])
    square = ((0, len(rows)), (len(rows), len(both)))
    if aeon := available("aeon.distances"):
        yield "aeon, float64", len(rows), lambda: aeon.dtw_pairwise_distance(rows, bank, n_jobs=1)
    if tsdistances := available("tsdistances"):
        yield "tsdistances, float64", len(rows), lambda: tsdistances.dtw_distance(rows, bank, par=False)
    if dtai := available("dtaidistance.dtw"):

        def distances() -> Any:
            compact = dtai.distance_matrix_fast(both, block=square, compact=True, parallel=False)
            return np.square(np.asarray(compact).reshape(len(rows), len(bank)))

        yield "dtaidistance, float64", len(rows), distances
    if tslearn := available("tslearn.metrics"):
        yield (
            "tslearn, float64",
            len(rows),
            lambda: np.square(tslearn.cdist_dtw(rows[:, :, None], bank[:, :, None], n_jobs=1)),
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


def subsequence_dtw(smoke: bool) -> Iterator[Case]:
    rng = np.random.default_rng(1)
    prompts, tokens, patterns, length, vocabulary, dim = 40 if smoke else 10_000, 60, 512, 12, 4096, 64
    few = 40 if smoke else 200
    # Zeros and ones make inner products of whole numbers: the matrix product gives the costs of the table exactly.
    words = rng.integers(0, 2, (vocabulary, dim)).astype(np.float32)
    bank = words[rng.integers(0, vocabulary, (length, patterns))].reshape(-1, dim)
    rows = ids(rng, prompts, tokens, tokens, vocabulary)
    values, offsets = ragged(rows, np.int32)

    def table() -> npt.NDArray[np.uint8]:
        return (words @ bank.T).astype(np.uint8).reshape(vocabulary, length, patterns)

    cost = table()

    def peer() -> F32:
        out = np.empty((few, patterns), np.float32)
        for i, row in enumerate(rows[:few]):
            lanes_of_floats(words[row] @ bank.T, length, out[i])
        return out

    # The table belongs to the bank: it is made once, so it stands ready; the second case makes it anew each time.
    makers: dict[str, Callable[[], Any]] = {
        "subsequence_dtw": lambda: kernels.subsequence_dtw(values, offsets, cost)[0],
        "subsequence_dtw_and_table": lambda: kernels.subsequence_dtw(values, offsets, table())[0],
    }
    for name in list(makers)[: 1 if smoke else 2]:
        yield Case(
            name,
            "prompt",
            prompts,
            makers[name],
            peer,
            "matrix product a prompt, then numba over float32 lanes",
            lambda ours, theirs: equal(ours[: len(theirs)], theirs),
            0.0 if name.endswith("table") else 2.0,
            peer_work=few,
        )


def subsequence_dtw_pairs(smoke: bool) -> Iterator[Case]:
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

    yield Case("subsequence_dtw_pairs", "pair", len(rows), ours, peer, "our kernel for whole blocks of 64", equal, 2.0)


def pairs(name: str, of_bytes: bool, floor: float) -> Maker:
    ours, scorer = (
        (kernels.lcs, LCSseq.similarity) if name.startswith("lcs") else (kernels.levenshtein, Levenshtein.distance)
    )

    def make(smoke: bool) -> Iterator[Case]:
        for length in (64,) if smoke else (12, 64, 256):
            rng = np.random.default_rng(length)
            rows, bank = (400, 200) if smoke else (1024, 512)
            queries: Sequence[Any]
            patterns: Sequence[Any]
            if of_bytes:
                queries, patterns = ([t[:length] for t in texts(rng, n, length // 3 + 4)] for n in (rows, bank))
                arrays = (
                    *ragged([q.encode() for q in queries], np.uint8),
                    *ragged([p.encode() for p in patterns], np.uint8),
                )
            else:
                queries, patterns = ids(rng, rows, length, length), ids(rng, bank, length, length)
                arrays = (*ragged(queries, np.int32), *ragged(patterns, np.int32))
            cells = len(arrays[0]) * len(arrays[2]) / 1e9
            mine = functools.partial(ours, *arrays)
            cdist = functools.partial(process.cdist, queries, patterns, scorer=scorer, dtype=np.int32, workers=1)
            yield Case(f"{name}_{length}", "Gcell", cells, mine, cdist, "rapidfuzz cdist", equal, floor)
            if of_bytes and name.startswith("lev") and not smoke and (polyleven := available("polyleven")):
                few = 64

                def loop(queries: Any = queries[:few], patterns: Any = patterns, one: Any = polyleven) -> Any:
                    return np.array([[one.levenshtein(q, p) for p in patterns] for q in queries], np.int32)

                yield Case(
                    f"{name}_{length}",
                    "Gcell",
                    cells,
                    mine,
                    loop,
                    "polyleven",
                    lambda ours, theirs: equal(ours[: len(theirs)], theirs),
                    peer_work=cells * few / rows,
                )

    return make


def topk(name: str, batch: int, floor: float) -> Maker:
    def make(smoke: bool) -> Iterator[Case]:
        for dim in (256,) if smoke else (256, 384):
            rng = np.random.default_rng(dim)
            bank = rng.normal(size=(2000 if smoke else 10_000, dim)).astype(np.float32)
            bank /= np.linalg.norm(bank, axis=1, keepdims=True)
            queries = rng.normal(size=(batch, dim)).astype(np.float32)
            for peer_name, peer in _topk_peers(bank, queries, smoke):
                yield Case(
                    f"{name}_dim{dim}",
                    "query",
                    batch,
                    functools.partial(kernels.topk, queries, bank, 10),
                    peer,
                    peer_name,
                    _same_best,
                    floor if peer_name.startswith("numpy") else 0.0,
                )

    return make


def _same_best(ours: tuple[F32, Any], theirs: tuple[F32, Any]) -> bool:
    # Scores within rounding of each other may stand in either order.
    mine, other = ours[0], theirs[0]
    return bool(np.allclose(mine, other, atol=1e-5)) and float(np.mean(ours[1] == theirs[1])) > 0.999


def _topk_peers(bank: F32, queries: F32, smoke: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    def product() -> tuple[F32, npt.NDArray[np.int64]]:
        scores = queries @ bank.T
        best = np.argpartition(scores, -10, axis=1)[:, -10:]
        found = np.take_along_axis(scores, best, 1)
        order = np.argsort(-found, axis=1)
        return np.take_along_axis(found, order, 1), np.take_along_axis(best, order, 1)

    yield "numpy product and argpartition", product
    if smoke:
        return
    if faiss := available("faiss"):
        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(bank.shape[1])
        index.add(bank)
        yield "faiss IndexFlatIP", lambda: index.search(queries, 10)
    if len(queries) <= 256 and (usearch := available("usearch.index")):

        def exact() -> tuple[Any, Any]:
            metric = usearch.MetricKind.IP
            found = usearch.search(bank, queries, 10, metric, exact=True, threads=1)
            return (1 - np.atleast_2d(found.distances), np.atleast_2d(found.keys))

        yield "usearch exact", exact


def corpus(rng: np.random.Generator, rows: int, words: int) -> list[str]:
    """Texts of the Parquet file that AIMDS_BENCH_TEXTS names, else of made-up words."""
    if named := os.environ.get("AIMDS_BENCH_TEXTS"):
        import pyarrow.parquet as pq

        found = pq.read_table(named, columns=["text"]).column("text").slice(0, rows).to_pylist()
        return [text for text in found if text]
    return texts(rng, rows, words)


def ngram_hash(smoke: bool) -> Iterator[Case]:
    # Of the letters that HashingVectorizer's pattern for words knows, so that both see the same ones.
    rows = corpus(np.random.default_rng(4), 200 if smoke else 1500, 60)
    rows = ["".join(c if c.isascii() and c.isalnum() else " " for c in row).lower().strip() for row in rows]
    rows = [" ".join(row.split()) for row in rows if row]
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
    yield Case("ngram_hash", "MB", len(values) / 1e6, ours, peer, "scikit-learn HashingVectorizer", equal, 8.0)


def fold(smoke: bool) -> Iterator[Case]:
    rng = np.random.default_rng(5)
    rows = [t.title() for t in texts(rng, 200 if smoke else 4000, 40)]
    accented = [row.replace("a", "\u00e1").replace("on", "\uff4fn") for row in rows]
    vocabulary = Vocabulary.load()
    for name, some, floor in (("fold_ascii", rows, 2.0), ("fold_accents", accented, 1.0)):
        values, offsets = ragged([row.encode() for row in some], np.uint8)

        def ours(values: Any = values, offsets: Any = offsets) -> Any:
            return views.fold(values, offsets, vocabulary).values

        def peer(some: Any = some) -> Any:
            folded = []
            for row in some:
                plain = unicodedata.normalize("NFKD", row)
                folded.append("".join(c for c in plain if not unicodedata.combining(c)).casefold())
            return np.frombuffer("".join(folded).encode(), np.uint8)

        yield Case(name, "MB", len(values) / 1e6, ours, peer, "unicodedata NFKD, marks off, casefold", equal, floor)


CASES: dict[str, Maker] = {
    "dtw": dtw,
    "subsequence_dtw": subsequence_dtw,
    "subsequence_dtw_pairs": subsequence_dtw_pairs,
    "lcs_ids": pairs("lcs_ids", False, 2.0),
    "lcs_bytes": pairs("lcs_bytes", True, 0.6),
    "levenshtein_ids": pairs("levenshtein_ids", False, 1.5),
    "levenshtein_bytes": pairs("levenshtein_bytes", True, 0.9),
    "topk_1": topk("topk_1", 1, 0.25),
    "topk_256": topk("topk_256", 256, 0.3),
    "topk_4096": topk("topk_4096", 4096, 0.2),
    "ngram_hash": ngram_hash,
    "fold": fold,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
