"""The kernels that compare sequences, with their peers: time warping, common subsequence, edit distance."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from rapidfuzz import process
from rapidfuzz.distance import LCSseq, Levenshtein

from aimds import kernels
from benchmarks.harness import Case, Maker, available
from benchmarks.peers import midstreamer
from benchmarks.samples import equal, ids, ragged, texts

F32 = npt.NDArray[np.float32]


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


def long_pairs(kind: str) -> Maker:
    """Pairs of 1,000 symbols that are equal or not, one or zero: squared and absolute differences agree on them."""

    def make(smoke: bool) -> Iterator[Case]:
        rng = np.random.default_rng(6)
        queries, patterns, size = 4, 64, 1000
        rows, bank = rng.integers(0, 2, (queries, size)), rng.integers(0, 2, (patterns, size))
        if smoke or not (peer := midstreamer.pairs(kind, rows, bank)):
            return
        offsets, bank_offsets = (np.arange(n + 1, dtype=np.int64) * size for n in (queries, patterns))
        if kind == "dtw":
            ours = functools.partial(kernels.dtw, rows.astype(np.float32).ravel(), offsets, bank.astype(np.float32))
        else:
            ids = rows.astype(np.int32).ravel(), offsets, bank.astype(np.int32).ravel(), bank_offsets
            ours = functools.partial(kernels.lcs, *ids)
        name = {"dtw": "dtw_1000", "lcs": "lcs_ids_1000"}[kind]
        yield Case(name, "Gcell", rows.size * bank.size / 1e9, ours, peer, "midstreamer (npm)", equal)

    return make


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
