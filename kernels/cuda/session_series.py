"""session_series on CUDA: a thread a row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.errors import KernelError
from aimds.kernels.cuda.launch import Device, Launch, threads
from aimds.kernels.cuda.module import on_device

FEATURES: Final = 12


@on_device("session_series")
def run(device: Device, values: Any, offsets: Any) -> Any:
    if not bool(device.xp.isfinite(values).all()):
        raise KernelError("session_series", "values", "holds NaN or infinity")
    rows = len(offsets) - 1
    features = device.xp.empty((rows, FEATURES), np.float64)
    if rows:
        launch = Launch("session_series", "session_series", *threads(rows))
        device.launch(launch, values, offsets, np.int32(rows), features)
    return features
