"""Working memory of the kernels: on cache lines of its own, so that no thread waits for what another writes."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

LINE_BYTES: Final = 128
"""Two lines of 64 bytes: processors fetch them in pairs."""


def scratch(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised array of ``shape`` that begins at a cache line and shares none with another array."""
    kind = np.dtype(dtype)
    size = (shape if isinstance(shape, int) else math.prod(shape)) * kind.itemsize
    room = np.empty((-(-size // LINE_BYTES) + 1) * LINE_BYTES, np.uint8)
    start = -_address(room) % LINE_BYTES
    return room[start : start + size].view(kind).reshape(shape)


@njit(cache=True, nogil=True)
def _address(room):  # type: ignore[no-untyped-def]
    return room.ctypes.data
