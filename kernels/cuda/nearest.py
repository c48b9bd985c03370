"""nearest on CUDA: a block a row, a sum for each row of the bank in shared memory, past its size in global memory."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import MOST_SHARED, ROOM_BYTES, Device, Launch
from aimds.kernels.cuda.module import on_device

THREADS: Final = 256
SUM_BYTES: Final = 8
MOST_BLOCKS: Final = 1 << 16


@on_device("nearest")
def run(
    device: Device,
    indptr: Any,
    indices: Any,
    counts: Any,
    idf: Any,
    keys: Any,
    post_offsets: Any,
    post_rows: Any,
    post_values: Any,
    owner: Any,
    k: int,
) -> tuple[Any, Any]:
    xp = device.xp
    rows, bank = len(indptr) - 1, len(owner)
    score, found = xp.empty(rows, np.float32), xp.empty(rows, np.int32)
    if not rows:
        return score, found
    size = SUM_BYTES * bank
    is_far = size > MOST_SHARED
    grid = min(rows, MOST_BLOCKS if not is_far else max(1, ROOM_BYTES // size))
    far = xp.empty(grid * 2 * bank if is_far else 1, np.uint32)
    reach = xp.abs(post_values).max(keepdims=True) if len(post_values) else xp.zeros(1, np.float32)
    launch = Launch("nearest", "nearest", (grid, 1, 1), (THREADS, 1, 1), 0 if is_far else size)
    table = keys, np.int64(len(keys)), post_offsets, post_rows, post_values, reach, owner, np.int64(bank)
    batch = indptr, np.int64(rows), indices, counts, idf
    device.launch(launch, *batch, *table, np.int32(k), far, np.int32(is_far), score, found)
    return score, found
