"""linear on CUDA: a block a row, eight heads at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, address
from aimds.kernels.cuda.module import on_device

THREADS: Final = 128
HEADS: Final = 8
"""Heads that a thread sums at once."""
ALIGNED: Final = 16


@on_device("linear")
def run(device: Device, indptr: Any, indices: Any, counts: Any, weights: Any, scale: Any, idf: Any, bias: Any) -> Any:
    rows, heads = len(indptr) - 1, weights.shape[1]
    logits = device.xp.empty((rows, heads), np.float32)
    if logits.size:
        whole = "_whole" if heads % HEADS == 0 and address(weights) % ALIGNED == 0 else ""
        launch = Launch("linear", f"linear_{weights.dtype}{whole}", (rows, 1, 1), (THREADS, 1, 1))
        device.launch(launch, indptr, indices, counts, weights, scale, idf, bias, np.int32(heads), logits)
    return logits
