"""linear on the CPU: eight heads at a time in registers, float64 sums in the order of the row's features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I8, I32, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]


def _signature(weight: Any) -> Any:
    return types.void(
        *(reads(I64), reads(I32), reads(F32), reads(weight, 2), reads(F32), reads(F32), reads(F32)),
        *(I64, I64, writes(F32, 2)),
    )


@compiled(_signature(I8), _signature(F32))
def _rows(
    indptr: Any,  # int64 (B+1,)
    indices: Any,  # int32 (Z,)
    counts: Any,  # float32 (Z,)
    weights: Any,  # int8 or float32 (F, H)
    scale: Any,  # float32 (H,)
    idf: Any,  # float32 (F,)
    bias: Any,  # float32 (H,)
    first: Any,
    last: Any,
    logits: Any,  # float32 (B, H)
) -> None:
    heads = weights.shape[1]
    sums = np.empty(heads, np.float64)
    for row in range(first, last):
        sums[:] = 0.0
        square = 0.0
        for z in range(indptr[row], indptr[row + 1]):
            feature = indices[z]
            value = np.float64(idf[feature])
            if counts[z] != 1.0:
                value *= 1.0 + math.log(np.float64(counts[z]))
            square += value * value
            for h in range(heads):
                sums[h] += value * np.float64(weights[feature, h])
        norm = math.sqrt(square)
        for h in range(heads):
            logits[row, h] = sums[h] * scale[h] / norm + bias[h] if norm > 0.0 else bias[h]


@register("linear", "cpu")
def linear(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    counts: F32Array,
    weights: npt.NDArray[Any],
    scale: F32Array,
    idf: F32Array,
    bias: F32Array,
    *,
    threads: int,
) -> F32Array:
    logits = np.empty((len(indptr) - 1, weights.shape[1]), np.float32)

    def part(first: int, last: int) -> None:
        _rows(indptr, indices, counts, weights, scale, idf, bias, first, last, logits)

    ragged.each(part, indptr, threads)
    return logits
