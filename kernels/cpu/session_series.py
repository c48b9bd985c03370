"""session_series on the CPU: two passes over a row that stays in the first cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.errors import KernelError
from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F64, I64, compiled, reads, writes
from aimds.kernels.registry import register

F64Array = npt.NDArray[np.float64]

FEATURES = 12


@compiled(types.void(reads(F64), reads(I64), I64, I64, writes(F64), writes(F64, 2)))
def _rows(
    values: Any,  # float64 (N,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    head: Any,  # float64 (longest head), scratch: the first values, sorted
    features: Any,  # float64 (B, 12)
) -> None:
    for row in range(first, last):
        begin, stop = offsets[row], offsets[row + 1]
        n = stop - begin
        features[row, :] = 0.0
        if n == 0:
            continue
        peak, size, total = values[begin], abs(values[begin]), 0.0
        for i in range(begin, stop):
            peak = max(peak, values[i])
            size = max(size, abs(values[i]))
            total += values[i]
        mean = total / n
        middle = (n - 1) / 2.0
        square, along, steps = 0.0, 0.0, 0.0
        for i in range(n):
            gap = values[begin + i] - mean
            square += gap * gap
            along += gap * (i - middle)
            if i:
                step = values[begin + i] - values[begin + i - 1]
                steps += step * step
        features[row, 0], features[row, 1], features[row, 2] = peak, mean, values[stop - 1]
        # What rounding makes of equal values is no change.
        if square <= n * (1e-12 * size) ** 2:
            continue
        times = n * (n * n - 1.0) / 12.0
        features[row, 3] = along / times * (n - 1)
        features[row, 4] = along / math.sqrt(times * square)
        # Sums of gaps to the mean of all: the means on both sides of a cut differ by sum * n / (cut * (n - cut)).
        best, cut, sum_before = 0.0, 0, 0.0
        low, drawn, before, harm = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            gap = values[begin + i] - mean
            if i and sum_before < 0.0:
                between = sum_before * sum_before * n / (i * (n - i))
                if between > best:
                    best, cut = between, i
            sum_before += gap
            before += gap
            drawn += gap - before / (i + 1)
            low = min(low, drawn)
            harm = max(harm, drawn - low)
        spread = math.sqrt(square / n)
        features[row, 5], features[row, 6], features[row, 7] = math.sqrt(best), best / square, cut
        features[row, 9], features[row, 10], features[row, 11] = harm, spread, steps / square
        early = min(n, max(3, n // 5))
        for i in range(early):
            value = values[begin + i]
            place = i
            while place and head[place - 1] > value:
                head[place] = head[place - 1]
                place -= 1
            head[place] = value
        level = 0.5 * (head[(early - 1) // 2] + head[early // 2]) + 0.5 * spread
        run, top = 0.0, 0.0
        for i in range(begin, stop):
            run = max(0.0, run + values[i] - level)
            top = max(top, run)
        features[row, 8] = top


@register("session_series", "cpu")
def session_series(values: F64Array, offsets: npt.NDArray[np.int64], *, threads: int) -> F64Array:
    if not np.isfinite(values).all():
        raise KernelError("session_series", "values", "holds NaN or infinity")
    features = np.empty((len(offsets) - 1, FEATURES), np.float64)
    longest = int(np.diff(offsets).max(initial=0))

    def part(first: int, last: int) -> None:
        _rows(values, offsets, first, last, np.empty(max(3, longest // 5), np.float64), features)

    ragged.each(part, offsets, threads)
    return features
