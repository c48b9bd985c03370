"""Two threads against one, of each kernel that shares its rows out and of the screener: `python -m benchmarks.threads`.

Rows are shared out by their sizes, not by their number, so the prompts are of very different lengths. Results are equal
to the bit whatever the number of threads. `threads_reference` is what the machine itself gives: sums of products in the
first cache, on two threads that share nothing.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from aimds import Screener, kernels
from benchmarks.harness import Case, Maker, main
from benchmarks.samples import ids, ragged, texts
from benchmarks.scan_traffic import prompt
from benchmarks.screen import batch

PEER = "ours on one thread"


def uneven(rng: np.random.Generator, rows: int, size: int) -> list[list[int]]:
    """Rows of token ids, a tenth of them twenty times as long as the others."""
    return [*ids(rng, rows // 10, 600, 600, size), *ids(rng, rows - rows // 10, 30, 30, size)]


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, tuple):
        return all(map(np.array_equal, ours, theirs))
    return np.array_equal(ours, theirs)


def of(name: str, unit: str, make: Callable[[bool], tuple[float, Callable[..., Any]]]) -> Maker:
    """A case whose ``make(smoke)`` gives the work of a call and the call, which takes ``threads``."""

    def cases(smoke: bool) -> Iterator[Case]:
        work, call = make(smoke)
        two, one = functools.partial(call, threads=2), functools.partial(call, threads=1)
        yield Case(f"threads_{name}", unit, work, two, one, PEER, equal)

    return cases


@njit(nogil=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def products(a: Any, b: Any, times: int) -> Any:
    total = np.float32(0)
    for _ in range(times):
        for i in range(len(a)):
            total += a[i] * b[i]
    return total


def reference(smoke: bool) -> tuple[float, Callable[..., Any]]:
    times = 1_000 if smoke else 300_000
    arrays = [(np.full(2048, 0.5, np.float32), np.full(2048, 0.5, np.float32)) for _ in range(2)]

    def call(threads: int) -> list[float]:
        if threads == 1:
            return [float(products(*some, times)) for some in arrays]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda some: float(products(*some, times)), arrays))

    return 2 * times * 2048 / 1e9, call


def dtw(smoke: bool) -> tuple[float, Callable[..., Any]]:
    rng = np.random.default_rng(0)
    lengths = np.array([len(row) for row in uneven(rng, 100 if smoke else 1000, 9)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = rng.normal(size=offsets[-1]).astype(np.float32)
    patterns = rng.normal(size=(128, 32)).astype(np.float32)
    return offsets[-1] * patterns.size / 1e9, functools.partial(kernels.dtw, values, offsets, patterns)


def subsequence_dtw(smoke: bool) -> tuple[float, Callable[..., Any]]:
    rng = np.random.default_rng(1)
    rows = uneven(rng, 100 if smoke else 3000, 4096)
    cost = rng.integers(0, 256, (4096, 12, 512)).astype(np.uint8)
    return len(rows), functools.partial(kernels.subsequence_dtw, *ragged(rows, np.int32), cost)


def pairs(kernel: Callable[..., Any], smoke: bool) -> tuple[float, Callable[..., Any]]:
    rng = np.random.default_rng(2)
    rows, patterns = uneven(rng, 100 if smoke else 2000, 5000), ids(rng, 512, 64, 64)
    arrays = (*ragged(rows, np.int32), *ragged(patterns, np.int32))
    return len(arrays[0]) * len(arrays[2]) / 1e9, functools.partial(kernel, *arrays)


def ngram_hash(smoke: bool) -> tuple[float, Callable[..., Any]]:
    rng = np.random.default_rng(3)
    rows = [*texts(rng, 10, 1200), *texts(rng, 100 if smoke else 3000, 60)]
    values, offsets = ragged([row.encode() for row in rows], np.uint8)
    return len(values) / 1e6, functools.partial(kernels.ngram_hash, values, offsets)


def screen(smoke: bool) -> tuple[float, Callable[..., Any]]:
    rng = random.Random(4)
    asked = batch([prompt(rng, row) for row in range(256 if smoke else 8192)])

    def call(threads: int) -> Any:
        return _screener(threads).screen_batch(asked).column("p_value").to_numpy(zero_copy_only=False)

    return asked.num_rows, call


@functools.cache
def _screener(threads: int) -> Screener:
    return Screener.default(profile="fast", threads=threads, cache_bytes=0)


CASES: dict[str, Maker] = {
    "threads_reference": of("reference", "Gproduct", reference),
    "threads_dtw": of("dtw", "Gcell", dtw),
    "threads_subsequence_dtw": of("subsequence_dtw", "prompt", subsequence_dtw),
    "threads_lcs_ids": of("lcs_ids", "Gcell", functools.partial(pairs, kernels.lcs)),
    "threads_levenshtein_ids": of("levenshtein_ids", "Gcell", functools.partial(pairs, kernels.levenshtein)),
    "threads_ngram_hash": of("ngram_hash", "MB", ngram_hash),
    "threads_screen": of("screen", "prompt", screen),
}


if __name__ == "__main__":
    sys.exit(main(CASES))
