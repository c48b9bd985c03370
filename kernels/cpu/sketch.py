"""sketch on the CPU: sign and bucket of each feature from one 64-bit mix of its id."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I32, I64, compiled, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]

MIX: Final = np.uint64(0x9E3779B97F4A7C15)
LOW32: Final = np.uint64(0xFFFFFFFF)


@compiled(
    types.void(reads(I64), reads(I32), reads(F32), reads(F32), I64, I64, writes(F32, 2)),
)
def _rows(
    indptr: Any,  # int64 (B+1,)
    indices: Any,  # int32 (Z,)
    counts: Any,  # float32 (Z,)
    idf: Any,  # float32 (F,)
    first: Any,
    last: Any,
    sketches: Any,  # float32 (B, D)
) -> None:
    dim = np.uint64(sketches.shape[1])
    sums = np.empty(sketches.shape[1], np.float64)
    for row in range(first, last):
        sums[:] = 0.0
        for z in range(indptr[row], indptr[row + 1]):
            value = np.float64(idf[indices[z]])
            if counts[z] != 1.0:
                value *= 1.0 + math.log(np.float64(counts[z]))
            mixed = (np.uint64(indices[z]) + np.uint64(1)) * MIX
            mixed ^= mixed >> np.uint64(32)
            mixed *= MIX
            bucket = ((mixed >> np.uint64(32)) * dim) >> np.uint64(32)
            sums[bucket] += value if mixed & np.uint64(1 << 20) else -value
        square = 0.0
        for d in range(len(sums)):
            square += sums[d] * sums[d]
        inverse = 1.0 / math.sqrt(square) if square > 0.0 else 0.0
        for d in range(len(sums)):
            sketches[row, d] = sums[d] * inverse


@register("sketch", "cpu")
def sketch(
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
    counts: F32Array,
    idf: F32Array,
    dim: int,
    *,
    threads: int,
) -> F32Array:
    sketches = np.empty((len(indptr) - 1, dim), np.float32)
    ragged.each(lambda first, last: _rows(indptr, indices, counts, idf, first, last, sketches), indptr, threads)
    return sketches
