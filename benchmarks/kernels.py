"""The CPU kernels on one core against what a newcomer would use: `python -m benchmarks.kernels [--smoke] [NAME…]`.

Preparation is inside the time on both sides: rapidfuzz gets lists and strings, our kernels get arrays, as each wants.
"""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import HashingVectorizer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from aimds import kernels
from aimds.detect.normalize import views
from aimds.detect.normalize.vocabulary import Vocabulary
from benchmarks.harness import Case, Maker, available, main
from benchmarks.samples import equal, ragged, texts
from benchmarks.sequences import dtw, long_pairs, pairs, subsequence_dtw, subsequence_dtw_pairs

F32 = npt.NDArray[np.float32]
UNKNOWN = "[UNK]"


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


def tokenize(smoke: bool) -> Iterator[Case]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rows = texts(np.random.default_rng(7), 200 if smoke else 4000, 60)
    words = sorted({word for row in rows[::2] for word in row.split()})
    keys, numbers = kernels.build_vocabulary([word.encode() for word in words])
    values, offsets = ragged([row.encode() for row in rows], np.uint8)
    model = WordLevel({word: k for k, word in enumerate([*words, UNKNOWN])}, unk_token=UNKNOWN)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = WhitespaceSplit()

    def peer() -> npt.NDArray[Any]:
        return np.concatenate([np.array(row.ids, np.int32) for row in tokenizer.encode_batch_fast(rows)])

    yield Case(
        "tokenize",
        "MB",
        len(values) / 1e6,
        lambda: kernels.tokenize(values, offsets, keys, numbers)[0],
        peer,
        "tokenizers WordLevel",
        equal,
        2.0,
    )


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
    "dtw_1000": long_pairs("dtw"),
    "subsequence_dtw": subsequence_dtw,
    "subsequence_dtw_pairs": subsequence_dtw_pairs,
    "lcs_ids": pairs("lcs_ids", False, 2.0),
    "lcs_bytes": pairs("lcs_bytes", True, 0.6),
    "levenshtein_ids": pairs("levenshtein_ids", False, 1.5),
    "levenshtein_bytes": pairs("levenshtein_bytes", True, 0.9),
    "lcs_ids_1000": long_pairs("lcs"),
    "topk_1": topk("topk_1", 1, 0.25),
    "topk_256": topk("topk_256", 256, 0.3),
    "topk_4096": topk("topk_4096", 4096, 0.2),
    "ngram_hash": ngram_hash,
    "tokenize": tokenize,
    "fold": fold,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
