"""topk on the CPU: BLAS finds the candidates, a fixed-order float64 inner product decides among them.

A BLAS result depends on the shape of the batch in its last bits. The candidates are therefore all rows within the error
bound of the k-th score, and each is scored again in one order: the answer does not depend on a query's neighbours.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.errors import KernelError
from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, F64, I32, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]

BLOCK: Final = 256
"""Queries in one matrix product."""
CHUNK: Final = 64
"""Scores that are skipped together when their largest is too small."""


@compiled(F64(reads(F32), reads(F32, 2), writes(F32)), fastmath={"reassoc", "contract"})
def _scan(query: Any, bank: Any, scores: Any) -> Any:
    # The inner product of one query with each row, and the largest squared norm of a row, in one pass over the bank.
    largest = np.float32(0.0)
    for n in range(bank.shape[0]):
        score = np.float32(0.0)
        square = np.float32(0.0)
        for d in range(bank.shape[1]):
            score += query[d] * bank[n, d]
            square += bank[n, d] * bank[n, d]
        scores[n] = score
        # Written so that a norm that is not a number is kept.
        if not square <= largest:
            largest = square
    return np.float64(largest)


@compiled(
    types.boolean(reads(F32, 2), reads(F32, 2), reads(F32, 2), F64, I64, writes(I32), writes(F32, 2), writes(I32, 2)),
)
def _select(
    queries: Any,  # float32 (B, D)
    bank: Any,  # float32 (N, D)
    rough: Any,  # float32 (B, N): inner products to within the bound
    bound: Any,  # relative error of rough times the largest norm of a row
    k: Any,
    candidates: Any,  # int32 (N,)
    scores: Any,  # float32 (B, K)
    ids: Any,  # int32 (B, K)
) -> Any:
    # Whether all queries are finite; what is written for one that is not means nothing.
    finite = True
    count, dim = bank.shape
    for q in range(queries.shape[0]):
        best = scores[q]
        for t in range(k):
            best[t] = -np.inf
        worst = np.float32(-np.inf)
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            largest = np.float32(-np.inf)
            for n in range(start, stop):
                largest = rough[q, n] if rough[q, n] > largest else largest
            if largest > worst:
                for n in range(start, stop):
                    score = rough[q, n]
                    if score > worst:
                        t = k - 1
                        while t > 0 and best[t - 1] < score:
                            best[t] = best[t - 1]
                            t -= 1
                        best[t] = score
                        worst = best[k - 1]
        square = 0.0
        for d in range(dim):
            square += np.float64(queries[q, d]) * np.float64(queries[q, d])
        finite &= math.isfinite(square)
        low = np.float64(worst) - 2.0 * bound * math.sqrt(square)
        kept = 0
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            largest = np.float32(-np.inf)
            for n in range(start, stop):
                largest = rough[q, n] if rough[q, n] > largest else largest
            if np.float64(largest) >= low:
                for n in range(start, stop):
                    if np.float64(rough[q, n]) >= low:
                        candidates[kept] = n
                        kept += 1
        for t in range(k):
            best[t] = -np.inf
            ids[q, t] = -1
        for c in range(kept):
            n = candidates[c]
            exact = 0.0
            for d in range(dim):
                exact += np.float64(queries[q, d]) * np.float64(bank[n, d])
            score = np.float32(exact)
            # Candidates come in ascending order: an equal score stays behind the lower id.
            if score > best[k - 1]:
                t = k - 1
                while t > 0 and best[t - 1] < score:
                    best[t] = best[t - 1]
                    ids[q, t] = ids[q, t - 1]
                    t -= 1
                best[t] = score
                ids[q, t] = n
    return finite


@register("topk", "cpu")
def topk(queries: F32Array, bank: F32Array, k: int, *, threads: int) -> tuple[F32Array, npt.NDArray[np.int32]]:
    count, dim = bank.shape
    top = min(k, count)
    scores, ids = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int32)
    scores[:, top:], ids[:, top:] = -np.inf, -1
    if not len(queries) or not count:
        return scores, ids
    whole = top == k
    found, places = (scores, ids) if whole else (scores[:, :top].copy(), ids[:, :top].copy())
    rough = np.empty((1, count), np.float32)
    square = _scan(queries[0], bank, rough[0])
    if not math.isfinite(square):
        raise KernelError("topk", "bank", "holds NaN, infinity or a row whose squared norm leaves float32")
    # Rounding to float32 once more at the end, and of the norm itself, is covered by the spare terms.
    bound = (dim + 8) * 2.0**-24 * math.sqrt(square) + 2.0**-120

    def part(first: int, last: int) -> bool:
        candidates = np.empty(count, np.int32)
        block = np.empty((min(BLOCK, last - first), count), np.float32)
        finite = True
        for start in range(first + 1, last + 1, BLOCK):
            stop = min(start + BLOCK, last + 1)
            some = queries[start:stop]
            with np.errstate(all="ignore"):  # a query that is not finite is refused below
                product = np.matmul(some, bank.T, out=block[: stop - start])
            finite &= _select(some, bank, product, bound, top, candidates, found[start:stop], places[start:stop])
        return finite

    alone = _select(queries[:1], bank, rough, bound, top, np.empty(count, np.int32), found[:1], places[:1])
    # Rows after the first, as a ragged batch of one unit a row.
    if not all([alone, *ragged.each(part, np.arange(len(queries), dtype=np.int64), threads)]):
        raise KernelError("topk", "queries", "holds NaN or infinity")
    if not whole:
        scores[:, :top], ids[:, :top] = found, places
    return scores, ids
