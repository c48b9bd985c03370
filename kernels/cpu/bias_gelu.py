"""bias_gelu on the CPU: the error function in float64, value by value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]


@compiled(types.void(reads(F32, 2), reads(F32), I64, I64, writes(F32, 2)))
def _rows(
    product: Any,  # float32 (N, M)
    bias: Any,  # float32 (M,)
    first: Any,
    last: Any,
    active: Any,  # float32 (N, M)
) -> None:
    for n in range(first, last):
        for m in range(len(bias)):
            value = np.float64(product[n, m]) + np.float64(bias[m])
            active[n, m] = 0.5 * value * (1.0 + math.erf(value * math.sqrt(0.5)))


@register("bias_gelu", "cpu")
def bias_gelu(product: F32Array, bias: F32Array, *, threads: int) -> F32Array:
    active = np.empty_like(product)

    def part(first: int, last: int) -> None:
        _rows(product, bias, first, last, active)

    ragged.each(part, np.arange(len(product) + 1, dtype=np.int64), threads)
    return active
