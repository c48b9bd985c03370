"""word_spans on CUDA: a launch that counts the words of each row, and one that writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from aimds.kernels.cuda.launch import Device, Launch, running, warps
from aimds.kernels.cuda.module import on_device


@on_device("word_spans")
def run(device: Device, values: Any, offsets: Any) -> tuple[Any, Any, Any, Any]:
    xp, rows = device.xp, len(offsets) - 1
    sizes = xp.empty(rows, np.int32)
    if rows:
        device.launch(Launch("word_spans", "word_spans_sizes", *warps(rows)), values, offsets, np.int32(rows), sizes)
    word_offsets = running(xp, sizes)
    total = int(word_offsets[-1])
    starts, ends, kinds = xp.empty(total, np.int32), xp.empty(total, np.int32), xp.empty(total, np.uint8)
    if total:
        fill = Launch("word_spans", "word_spans_fill", *warps(rows))
        device.launch(fill, values, offsets, word_offsets, np.int32(rows), starts, ends, kinds)
    return word_offsets, starts, ends, kinds
