"""linear on the CPU: eight heads at a time in registers, float64 sums in the order of the row's features."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, F64, I8, I32, I64, compiled, reads, writes
from aimds.kernels.registry import register

AHEAD: Final = 128
"""Features of a row that are fetched before they are used."""

F32Array = npt.NDArray[np.float32]


def _signature(weight: Any) -> Any:
    return F64(
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
) -> Any:
    heads = weights.shape[1]
    whole = heads - heads % 8
    sums = np.empty(heads, np.float64)
    values = np.empty(AHEAD, np.float64)
    met = np.float64(0.0)
    for row in range(first, last):
        square = 0.0
        sums[:] = 0.0
        for begin in range(indptr[row], indptr[row + 1], AHEAD):
            size = min(AHEAD, indptr[row + 1] - begin)
            # The tables are larger than the core's caches. This pass meets all of a block's rows at once, so that the
            # waits for them overlap; the next finds them near.
            for z in range(size):
                feature = indices[begin + z]
                value = np.float64(idf[feature])
                if counts[begin + z] != 1.0:
                    value *= 1.0 + math.log(np.float64(counts[begin + z]))
                values[z] = value
                met += np.float64(weights[feature, 0])
            for z in range(size):
                square += values[z] * values[z]
            for h in range(0, whole, 8):
                sum0, sum1, sum2, sum3 = sums[h], sums[h + 1], sums[h + 2], sums[h + 3]
                sum4, sum5, sum6, sum7 = sums[h + 4], sums[h + 5], sums[h + 6], sums[h + 7]
                for z in range(size):
                    feature = indices[begin + z]
                    value = values[z]
                    sum0 += value * np.float64(weights[feature, h])
                    sum1 += value * np.float64(weights[feature, h + 1])
                    sum2 += value * np.float64(weights[feature, h + 2])
                    sum3 += value * np.float64(weights[feature, h + 3])
                    sum4 += value * np.float64(weights[feature, h + 4])
                    sum5 += value * np.float64(weights[feature, h + 5])
                    sum6 += value * np.float64(weights[feature, h + 6])
                    sum7 += value * np.float64(weights[feature, h + 7])
                sums[h], sums[h + 1], sums[h + 2], sums[h + 3] = sum0, sum1, sum2, sum3
                sums[h + 4], sums[h + 5], sums[h + 6], sums[h + 7] = sum4, sum5, sum6, sum7
            for z in range(size):
                for h in range(whole, heads):
                    sums[h] += values[z] * np.float64(weights[indices[begin + z], h])
        norm = math.sqrt(square)
        for h in range(heads):
            logits[row, h] = sums[h] * scale[h] / norm + bias[h] if norm > 0.0 else bias[h]
    return met


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
