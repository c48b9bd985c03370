"""attention on CUDA: a block a row and a head, a thread a query."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, address
from aimds.kernels.cuda.module import on_device

THREADS: Final = 64
ALIGNED: Final = 16


@on_device("attention")
def run(device: Device, qkv: Any, bias: Any, offsets: Any, heads: int) -> Any:
    rows, width = len(offsets) - 1, qkv.shape[1] // 3
    mixed = device.xp.empty((len(qkv), width), np.float32)
    if len(qkv):
        if address(qkv) % ALIGNED:
            qkv = qkv.copy()
        columns = (("COLUMNS", width // heads),)
        launch = Launch("attention", "attention", (rows, heads, 1), (THREADS, 1, 1), defines=columns)
        device.launch(launch, qkv, bias, offsets, np.int32(heads), mixed)
    return mixed
