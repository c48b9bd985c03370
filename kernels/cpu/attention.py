"""attention on the CPU: a query at a time, its scores over the row kept, sums in float64 in the order of the tokens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, F64, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]


@compiled(
    types.void(reads(F32, 2), reads(F32), reads(I64), I64, I64, I64, writes(F64), writes(F64), writes(F32, 2)),
)
def _rows(
    qkv: Any,  # float32 (N, 3 D)
    bias: Any,  # float32 (3 D,)
    offsets: Any,  # int64 (B+1,)
    heads: Any,
    first: Any,
    last: Any,
    weights: Any,  # float64 (longest row,), scratch
    sums: Any,  # float64 (D / heads,), scratch
    mixed: Any,  # float32 (N, D)
) -> None:
    width = mixed.shape[1]
    size = width // heads
    root = math.sqrt(size)
    for row in range(first, last):
        begin, end = offsets[row], offsets[row + 1]
        for head in range(heads):
            query, key, value = head * size, width + head * size, 2 * width + head * size
            for i in range(begin, end):
                top = -np.inf
                for j in range(begin, end):
                    # The bias of the keys would add the same to all scores, which changes no weight.
                    score = 0.0
                    for c in range(size):
                        score += (np.float64(qkv[i, query + c]) + bias[query + c]) * qkv[j, key + c]
                    weights[j - begin] = score / root
                    top = max(top, score / root)
                total = 0.0
                sums[:] = 0.0
                for j in range(begin, end):
                    weight = math.exp(weights[j - begin] - top)
                    total += weight
                    for c in range(size):
                        sums[c] += weight * (np.float64(qkv[j, value + c]) + bias[value + c])
                for c in range(size):
                    mixed[i, head * size + c] = sums[c] / total


@register("attention", "cpu")
def attention(qkv: F32Array, bias: F32Array, offsets: npt.NDArray[np.int64], heads: int, *, threads: int) -> F32Array:
    width = qkv.shape[1] // 3
    mixed = np.empty((len(qkv), width), np.float32)
    longest = int(np.diff(offsets).max(initial=0))

    def part(first: int, last: int) -> None:
        scratch = np.empty(longest, np.float64), np.empty(width // heads, np.float64)
        _rows(qkv, bias, offsets, heads, first, last, *scratch, mixed)

    ragged.each(part, offsets, threads)
    return mixed
