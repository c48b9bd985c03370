"""pooled_logits on the CPU: the mean of a row in float64, then its product with each head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, F64, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]


@compiled(types.void(reads(F32, 2), reads(I64), reads(F32, 2), reads(F32), I64, I64, writes(F64), writes(F32, 2)))
def _rows(
    states: Any,  # float32 (N, D)
    offsets: Any,  # int64 (B+1,)
    weights: Any,  # float32 (D, H)
    bias: Any,  # float32 (H,)
    first: Any,
    last: Any,
    mean: Any,  # float64 (D,), scratch
    logits: Any,  # float32 (B, H)
) -> None:
    for row in range(first, last):
        count = offsets[row + 1] - offsets[row]
        mean[:] = 0.0
        for t in range(offsets[row], offsets[row + 1]):
            for d in range(len(mean)):
                mean[d] += states[t, d]
        for h in range(len(bias)):
            dot = 0.0
            for d in range(len(mean)):
                dot += mean[d] / max(count, 1) * weights[d, h]
            logits[row, h] = dot + bias[h]


@register("pooled_logits", "cpu")
def pooled_logits(
    states: F32Array, offsets: npt.NDArray[np.int64], weights: F32Array, bias: F32Array, *, threads: int
) -> F32Array:
    logits = np.empty((len(offsets) - 1, len(bias)), np.float32)

    def part(first: int, last: int) -> None:
        _rows(states, offsets, weights, bias, first, last, np.empty(len(weights), np.float64), logits)

    ragged.each(part, offsets, threads)
    return logits
