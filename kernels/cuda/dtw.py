"""dtw on CUDA: a thread a row and a pattern up to 64 columns, a warp above."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.errors import KernelError
from aimds.kernels.cuda.launch import ROOM_BYTES, WARP, Device, Launch, blocks, rows_by_lanes, warps
from aimds.kernels.cuda.module import on_device

THREAD_COLUMNS: Final = 64
LANE_COLUMNS: Final = 16
"""Most columns of a lane; a warp with more takes them in stretches."""


@on_device("dtw")
def run(device: Device, values: Any, offsets: Any, patterns: Any) -> Any:
    xp = device.xp
    for name, array in (("values", values), ("patterns", patterns)):
        if not bool(xp.isfinite(array).all()):
            raise KernelError("dtw", name, "holds NaN or infinity")
    rows, (count, length) = len(offsets) - 1, patterns.shape
    distance = xp.empty((rows, count), np.float32)
    if not distance.size:
        return distance
    if length <= THREAD_COLUMNS:
        launch = Launch("dtw", "dtw_thread", *rows_by_lanes(rows, count), defines=(("COLUMNS", length),))
        places = xp.ascontiguousarray(patterns.T)
        device.launch(launch, values, offsets, places, np.int32(rows), np.int32(count), distance)
        return distance
    columns = min(blocks(length, WARP), LANE_COLUMNS)
    edges = len(values) if length > WARP * columns else 0
    each = min(count, max(1, ROOM_BYTES // (4 * max(edges, 1))))
    edge = xp.empty(edges * each, np.float32)
    for first in range(0, count, each):
        here = min(each, count - first)
        launch = Launch("dtw", "dtw_warp", *warps(rows * here), defines=(("COLUMNS", columns),))
        sizes = (np.int32(size) for size in (rows, count, first, here, length))
        device.launch(launch, values, offsets, patterns, *sizes, edge, distance)
    return distance
