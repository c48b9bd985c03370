"""attractor on CUDA: a block a row, its working memory in global memory."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.errors import KernelError
from aimds.kernels import zero_one
from aimds.kernels.cuda.launch import ROOM_BYTES, THREADS, Device, Launch, host
from aimds.kernels.cuda.module import on_device

FEATURES: Final = 16
MOST_BLOCKS: Final = 1 << 12


@on_device("attractor")
def run(
    device: Device,
    values: Any,
    offsets: Any,
    dim: int,
    lag: int,
    separation: int,
    horizon: int,
    skip: int,
    radius: int,
    angles: int,
    parts: int,
) -> Any:
    xp = device.xp
    if not bool(xp.isfinite(values).all()):
        raise KernelError("attractor", "values", "holds NaN or infinity")
    rows = len(offsets) - 1
    features = xp.empty((rows, FEATURES), np.float64)
    if not rows:
        return features
    longest = int(host((offsets[1:] - offsets[:-1]).max()))
    each = xp.asarray(zero_one.spread(angles))
    phase = xp.arange(1, longest + 1, dtype=np.float64)[:, None] * each[None, :]
    waves = xp.ascontiguousarray(xp.concatenate([xp.cos(phase), xp.sin(phase)], axis=1))
    width = (longest + 1) * (3 + 2 * angles) + (max(4, longest // 10) + 1) * angles
    grid = max(1, min(rows, MOST_BLOCKS, ROOM_BYTES // (8 * width)))
    floats, ints = xp.empty(grid * width, np.float64), xp.empty(grid * 2 * (longest + 1), np.int32)
    launch = Launch("attractor", "attractor", (grid, 1, 1), (THREADS, 1, 1))
    others = np.int32(radius), np.int32(angles), np.int32(parts)
    batch = values, offsets, np.int64(rows), np.int64(longest)
    steps = np.int32(dim), np.int64(lag), np.int64(separation), np.int64(horizon), np.int64(skip)
    device.launch(launch, *batch, *steps, *others, waves, floats, np.int64(width), ints, features)
    return features
