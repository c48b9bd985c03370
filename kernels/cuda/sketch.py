"""sketch on CUDA: a block a row, its columns as fixed-point sums in shared memory."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch
from aimds.kernels.cuda.module import on_device

THREADS: Final = 256


@on_device("sketch")
def run(device: Device, indptr: Any, indices: Any, counts: Any, idf: Any, dim: int) -> Any:
    rows = len(indptr) - 1
    sketches = device.xp.empty((rows, dim), np.float32)
    if rows:
        launch = Launch("sketch", "sketch", (rows, 1, 1), (THREADS, 1, 1))
        device.launch(launch, indptr, indices, counts, idf, np.int32(dim), sketches)
    return sketches
