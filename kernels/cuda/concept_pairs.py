"""concept_pairs on CUDA: a launch that counts the features of each row, and one that writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, running, warps
from aimds.kernels.cuda.module import on_device


@on_device("concept_pairs")
def run(device: Device, concept: Any, concept_offsets: Any, reach: int) -> tuple[Any, Any, Any]:
    xp, rows = device.xp, len(concept_offsets) - 1
    slots = 2 * int(concept_offsets[-1] - concept_offsets[0]) * (reach + 1)
    firsts, times, sizes = xp.full(slots, -1, np.int32), xp.zeros(slots, np.int32), xp.zeros(rows, np.int32)
    batch = concept, concept_offsets, np.int32(reach), np.int32(rows)
    if slots:
        device.launch(Launch("concept_pairs", "concept_pairs_sizes", *warps(rows)), *batch, firsts, times, sizes)
    indptr = running(xp, sizes)
    indices, counts = xp.empty(int(indptr[-1]), np.int32), xp.empty(int(indptr[-1]), np.float32)
    if slots:
        fill = Launch("concept_pairs", "concept_pairs_fill", *warps(rows))
        device.launch(fill, *batch, firsts, times, indptr, indices, counts)
    return indptr, indices, counts
