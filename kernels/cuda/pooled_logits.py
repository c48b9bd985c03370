"""pooled_logits on CUDA: a block a row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch
from aimds.kernels.cuda.module import on_device

THREADS: Final = 128
MEAN_BYTES: Final = 8


@on_device("pooled_logits")
def run(device: Device, states: Any, offsets: Any, weights: Any, bias: Any) -> Any:
    rows, (width, heads) = len(offsets) - 1, weights.shape
    logits = device.xp.empty((rows, heads), np.float32)
    if logits.size:
        launch = Launch("pooled_logits", "pooled_logits", (rows, 1, 1), (THREADS, 1, 1), MEAN_BYTES * width)
        device.launch(launch, states, offsets, weights, bias, np.int32(width), np.int32(heads), logits)
    return logits
