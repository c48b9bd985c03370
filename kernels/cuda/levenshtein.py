"""levenshtein on CUDA: bit-parallel, a thread a query and a pattern up to 64 symbols, a lane a word above."""

from __future__ import annotations

from typing import Any

from aimds.kernels.cuda import masks
from aimds.kernels.cuda.launch import Device
from aimds.kernels.cuda.module import on_device


@on_device("levenshtein")
def run(device: Device, q_values: Any, q_offsets: Any, p_values: Any, p_offsets: Any) -> Any:
    return masks.over_patterns(device, "levenshtein", q_values, q_offsets, p_values, p_offsets)
