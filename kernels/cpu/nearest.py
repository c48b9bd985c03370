"""nearest on the CPU: one pass over the postings of a row's features, all cosines of the bank at once in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I32, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]
I32Array = npt.NDArray[np.int32]
I64Array = npt.NDArray[np.int64]


@compiled(
    types.void(
        *(reads(I64), reads(I32), reads(F32), reads(F32)),
        *(reads(I32), reads(I64), reads(I32), reads(F32), reads(I32), I64),
        *(I64, I64, writes(F32), writes(I32)),
    )
)
def _rows(
    indptr: Any,  # int64 (B+1,)
    indices: Any,  # int32 (Z,)
    counts: Any,  # float32 (Z,)
    idf: Any,  # float32 (F,)
    keys: Any,  # int32 (S,), S a power of two, -1 for an empty slot
    post_offsets: Any,  # int64 (S+1,)
    post_rows: Any,  # int32 (E,)
    post_values: Any,  # float32 (E,)
    owner: Any,  # int32 (N,), ascending
    k: Any,
    first: Any,
    last: Any,
    score: Any,  # float32 (B,)
    nearest: Any,  # int32 (B,)
) -> None:
    size = len(owner)
    mask = len(keys) - 1
    dots = np.zeros(size, np.float64)
    best = np.empty(k, np.float64)
    for row in range(first, last):
        square = 0.0
        met = False
        for z in range(indptr[row], indptr[row + 1]):
            feature = indices[z]
            value = np.float64(idf[feature])
            if counts[z] != 1.0:
                value *= 1.0 + math.log(np.float64(counts[z]))
            square += value * value
            slot = feature & mask
            while keys[slot] >= 0 and keys[slot] != feature:
                slot = (slot + 1) & mask
            if keys[slot] == feature:
                met = True
                for post in range(post_offsets[slot], post_offsets[slot + 1]):
                    dots[post_rows[post]] += value * np.float64(post_values[post])
        score[row] = np.float32(0.0)
        nearest[row] = -1
        if not met or square == 0.0:
            continue
        found = 0
        at = 0
        while at < size:
            group = owner[at]
            most = dots[at]
            dots[at] = 0.0
            at += 1
            while at < size and owner[at] == group:
                most = max(most, dots[at])
                dots[at] = 0.0
                at += 1
            if found == 0 or most > best[0]:
                nearest[row] = group
            place = found
            if found < k:
                found += 1
            else:
                place = k - 1
                if most <= best[place]:
                    continue
            while place > 0 and best[place - 1] < most:
                best[place] = best[place - 1]
                place -= 1
            best[place] = most
        total = 0.0
        for place in range(found):
            total += best[place]
        score[row] = np.float32(total / found / math.sqrt(square))


@register("nearest", "cpu")
def nearest(
    indptr: I64Array,
    indices: I32Array,
    counts: F32Array,
    idf: F32Array,
    keys: I32Array,
    post_offsets: I64Array,
    post_rows: I32Array,
    post_values: F32Array,
    owner: I32Array,
    k: int,
    *,
    threads: int,
) -> tuple[F32Array, I32Array]:
    score, found = np.empty(len(indptr) - 1, np.float32), np.empty(len(indptr) - 1, np.int32)

    def part(first: int, last: int) -> None:
        _rows(
            indptr, indices, counts, idf, keys, post_offsets, post_rows, post_values, owner, k,
            first, last, score, found,
        )  # fmt: skip

    ragged.each(part, indptr, threads)
    return score, found
