"""embed and add_norm on the CPU: a row of the hidden states at a time, its mean and variance in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, F64, I32, I64, compiled, inlined, reads, writes
from aimds.kernels.registry import register

F32Array = npt.NDArray[np.float32]
I32Array = npt.NDArray[np.int32]

EPSILON = 1e-12


@inlined
def _normalise(row, gain, bias, out):  # type: ignore[no-untyped-def]
    width = len(row)
    total = 0.0
    for d in range(width):
        total += row[d]
    mean = total / width
    square = 0.0
    for d in range(width):
        square += (row[d] - mean) * (row[d] - mean)
    scale = 1.0 / math.sqrt(square / width + EPSILON)
    for d in range(width):
        out[d] = (row[d] - mean) * scale * gain[d] + bias[d]


@compiled(
    types.void(
        *(reads(I32), reads(I64), reads(I32), reads(F32, 2), reads(F32, 2), reads(F32, 2), reads(F32), reads(F32)),
        *(I64, I64, writes(F64), writes(F32, 2)),
    )
)
def _embedded(
    tokens: Any,  # int32 (N,)
    offsets: Any,  # int64 (B+1,)
    kinds: Any,  # int32 (B,)
    word: Any,  # float32 (V, D)
    position: Any,  # float32 (L, D)
    channel: Any,  # float32 (C, D)
    gain: Any,  # float32 (D,)
    bias: Any,  # float32 (D,)
    first: Any,
    last: Any,
    row: Any,  # float64 (D,), scratch
    states: Any,  # float32 (N, D)
) -> None:
    for r in range(first, last):
        for t in range(offsets[r], offsets[r + 1]):
            place = t - offsets[r]
            for d in range(len(row)):
                row[d] = (
                    np.float64(word[tokens[t], d]) + np.float64(position[place, d]) + np.float64(channel[kinds[r], d])
                )
            _normalise(row, gain, bias, states[t])


@compiled(
    types.void(
        *(reads(F32, 2), reads(F32, 2), reads(F32), reads(F32), reads(F32)),
        *(I64, I64, writes(F64), writes(F32, 2)),
    )
)
def _added(
    states: Any,  # float32 (N, D)
    product: Any,  # float32 (N, D)
    shift: Any,  # float32 (D,)
    gain: Any,  # float32 (D,)
    bias: Any,  # float32 (D,)
    first: Any,
    last: Any,
    row: Any,  # float64 (D,), scratch
    sums: Any,  # float32 (N, D)
) -> None:
    for t in range(first, last):
        for d in range(len(row)):
            row[d] = np.float64(states[t, d]) + np.float64(product[t, d]) + np.float64(shift[d])
        _normalise(row, gain, bias, sums[t])


@register("embed", "cpu")
def embed(
    tokens: I32Array,
    offsets: npt.NDArray[np.int64],
    kinds: I32Array,
    word: F32Array,
    position: F32Array,
    channel: F32Array,
    gain: F32Array,
    bias: F32Array,
    *,
    threads: int,
) -> F32Array:
    states = np.empty((len(tokens), len(gain)), np.float32)

    def part(first: int, last: int) -> None:
        row = np.empty(len(gain), np.float64)
        _embedded(tokens, offsets, kinds, word, position, channel, gain, bias, first, last, row, states)

    ragged.each(part, offsets, threads)
    return states


@register("add_norm", "cpu")
def add_norm(
    states: F32Array, product: F32Array, shift: F32Array, gain: F32Array, bias: F32Array, *, threads: int
) -> F32Array:
    sums = np.empty_like(states)

    def part(first: int, last: int) -> None:
        _added(states, product, shift, gain, bias, first, last, np.empty(len(gain), np.float64), sums)

    ragged.each(part, np.arange(len(states) + 1, dtype=np.int64), threads)
    return sums
