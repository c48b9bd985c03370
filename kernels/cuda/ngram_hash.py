"""ngram_hash on CUDA: a launch that counts the features of each row, and one that writes them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch
from aimds.kernels.cuda.module import on_device
from aimds.kernels.room import WINDOW_BITS

THREADS: Final = 256
MOST_BLOCKS: Final = 1 << 16


@on_device("ngram_hash")
def run(device: Device, values: Any, offsets: Any, bits: int) -> tuple[Any, Any, Any]:
    xp = device.xp
    windows = 1 << max(0, bits - WINDOW_BITS)
    items = (len(offsets) - 1) * windows
    starts = xp.zeros(items + 1, np.int64)
    grid, block = (min(items, MOST_BLOCKS), 1, 1), (THREADS, 1, 1)
    batch = values, offsets, np.int64(items), np.int32(bits)
    if items:
        sizes = xp.empty(items, np.int32)
        device.launch(Launch("ngram_hash", "ngram_hash_sizes", grid, block), *batch, sizes)
        starts[1:] = xp.cumsum(sizes, dtype=np.int64)
    total = int(starts[-1])
    indices, tally, counts = (xp.empty(total, dtype) for dtype in (np.int32, np.int32, np.float32))
    if total:
        device.launch(Launch("ngram_hash", "ngram_hash_fill", grid, block), *batch, starts, indices, tally, counts)
    return starts[::windows].copy(), indices, counts
