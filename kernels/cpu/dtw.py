"""dtw on the CPU: lanes are patterns, four values of the query at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.errors import KernelError
from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I64, compiled, reads, writes
from aimds.kernels.cpu.scratch import scratch
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]

LANES: Final = 64
"""Patterns in one block; a block is filled up with zeros, so that no lane runs in a slower loop than another."""


@compiled(
    types.void(reads(F32), reads(I64), reads(F32, 3), I64, I64, writes(F32, 2), writes(F32, 2), writes(F32, 2)),
    fastmath={"contract"},
)
def _rows(
    values: Any,  # float32 (N,)
    offsets: Any,  # int64 (B+1,)
    patterns: Any,  # float32 (blocks, M, LANES)
    first: Any,
    last: Any,
    above: Any,  # float32 (M, LANES): D[i - 1, j] of each lane
    left: Any,  # float32 (5, LANES): D[i .. i + 3, j - 1] and D[i - 1, j - 1]
    distance: Any,  # float32 (B, blocks * LANES)
) -> None:
    blocks, length, _ = patterns.shape
    far = np.float32(np.inf)
    for block in range(blocks):
        for row in range(first, last):
            begin, stop = offsets[row], offsets[row + 1]
            above[:, :] = far
            i = begin
            while i + 4 <= stop:
                value0, value1, value2, value3 = values[i], values[i + 1], values[i + 2], values[i + 3]
                left[:, :] = far
                if i == begin:
                    left[4, :] = 0.0
                for j in range(length):
                    for lane in range(LANES):
                        place = patterns[block, j, lane]
                        up = above[j, lane]
                        left0, left1, left2, left3 = left[0, lane], left[1, lane], left[2, lane], left[3, lane]
                        gap = value0 - place
                        d0 = gap * gap + min(min(left[4, lane], up), left0)
                        gap = value1 - place
                        d1 = gap * gap + min(min(left0, d0), left1)
                        gap = value2 - place
                        d2 = gap * gap + min(min(left1, d1), left2)
                        gap = value3 - place
                        d3 = gap * gap + min(min(left2, d2), left3)
                        left[0, lane], left[1, lane], left[2, lane], left[3, lane] = d0, d1, d2, d3
                        left[4, lane] = up
                        above[j, lane] = d3
                i += 4
            while i < stop:
                left[:, :] = far
                if i == begin:
                    left[4, :] = 0.0
                for j in range(length):
                    for lane in range(LANES):
                        up = above[j, lane]
                        gap = values[i] - patterns[block, j, lane]
                        d0 = gap * gap + min(min(left[4, lane], up), left[0, lane])
                        left[0, lane], left[4, lane] = d0, up
                        above[j, lane] = d0
                i += 1
            for lane in range(LANES):
                distance[row, block * LANES + lane] = above[length - 1, lane]


@register("dtw", "cpu")
def dtw(values: F32Array, offsets: npt.NDArray[np.int64], patterns: F32Array, *, threads: int) -> F32Array:
    for name, array in (("values", values), ("patterns", patterns)):
        if not np.isfinite(array).all():
            raise KernelError("dtw", name, "holds NaN or infinity")
    count, length = patterns.shape
    blocks = -(-count // LANES)
    padded = np.zeros((blocks * LANES, length), np.float32)
    padded[:count] = patterns
    lanes = scratch((blocks, length, LANES), np.float32)
    lanes[:] = padded.reshape(blocks, LANES, length).transpose(0, 2, 1)
    distance = np.empty((len(offsets) - 1, blocks * LANES), np.float32)

    def part(first: int, last: int) -> None:
        above, left = scratch((length, LANES), np.float32), scratch((5, LANES), np.float32)
        _rows(values, offsets, lanes, first, last, above, left, distance)

    ragged.each(part, offsets, threads)
    return np.ascontiguousarray(distance[:, :count])
