"""Matrix products on CUDA, by cuBLAS in float32: every product over the same number of rows.

cuBLAS chooses its algorithm, and so the order of its sums, by the shape of a product. Of one shape it makes one choice,
so that a row's result does not hang on how many others came with it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from aimds.kernels.cuda.launch import Device

ROWS: Final = 2048
"""Rows of a product; the last ones are filled up with zeros."""


def run(device: Device, rows: Any, matrix: Any) -> Any:
    """``rows`` float32 (N, K) times ``matrix`` float32 (K, M), float32 (N, M)."""
    xp, count = device.xp, len(rows)
    product = xp.empty((count, matrix.shape[1]), np.float32)
    whole = count - count % ROWS
    for start in range(0, whole, ROWS):
        device.multiply(rows[start : start + ROWS], matrix, product[start : start + ROWS])
    if whole < count:
        padded, filled = xp.zeros((ROWS, rows.shape[1]), np.float32), xp.empty((ROWS, matrix.shape[1]), np.float32)
        padded[: count - whole] = rows[whole:]
        device.multiply(padded, matrix, filled)
        product[whole:] = filled[: count - whole]
    return product
