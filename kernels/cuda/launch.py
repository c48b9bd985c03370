"""What is launched, and on what: the one interface between the wrappers and a device, and the geometry of launches.

`aimds.kernels.cuda.module.device` gives the GPU; the tests give a host that runs the same kernels on the CPU, so that
wrappers and launch geometry are tested without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from aimds.errors import KernelError

WARP: Final = 32
"""Threads that run in lockstep."""
THREADS: Final = 128
"""Threads of a block of the kernels whose threads do not share anything."""
ROOM_BYTES: Final = 1 << 28
"""Most bytes of a table that a kernel makes for itself; past that the work is done in parts."""

UNASKED_SHARED: Final = 32 << 10
"""Bytes of dynamic shared memory that a launch takes without asking: what is static counts towards the 48 KiB too."""
MOST_SHARED: Final = 96 << 10
"""What is asked for past that, and the most a launch may take: two blocks then fit a multiprocessor of sm_90."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: ``kernel`` of ``stem``.cu over ``grid`` blocks of ``block`` threads, with ``shared`` bytes of dynamic
    shared memory; ``defines`` are the macros that the source is compiled with."""

    stem: str
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0
    defines: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.shared > MOST_SHARED:
            problem = f"{self.shared:,} bytes of shared memory, a block has at most {MOST_SHARED:,}"
            raise KernelError(self.kernel, "shared", problem)


class Device(Protocol):
    """Where kernels run: ``xp`` is cupy (or numpy), and arguments of `launch` are its arrays and numpy scalars, which
    must have the dtypes that the kernel declares."""

    @property
    def xp(self) -> Any: ...

    def launch(self, launch: Launch, *arguments: Any) -> None: ...

    def multiply(self, rows: Any, matrix: Any, product: Any) -> None:
        """Write ``rows`` times ``matrix`` into ``product``: all float32 and C-contiguous, no product in fewer bits."""


def blocks(items: int, each: int) -> int:
    """Blocks that hold ``items`` at ``each`` to a block."""
    return -(-items // each)


def rows_by_lanes(rows: int, lanes: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block for a thread a row and a lane: lanes side by side, and so many rows that a block is full."""
    across = min(THREADS, 1 << max(lanes - 1, 0).bit_length())
    down = THREADS // across
    return (blocks(rows, down), blocks(lanes, across), 1), (across, down, 1)


def warps(count: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block for ``count`` warps side by side."""
    return (blocks(count, THREADS // WARP), 1, 1), (THREADS, 1, 1)


def threads(count: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block for ``count`` threads side by side."""
    return (blocks(count, THREADS), 1, 1), (THREADS, 1, 1)


def running(xp: Any, sizes: Any) -> Any:
    """The running sum of ``sizes``, from 0 on: int64 (n + 1,)."""
    found = xp.zeros(len(sizes) + 1, np.int64)
    found[1:] = xp.cumsum(sizes, dtype=np.int64)
    return found


def address(array: Any) -> int:
    """Where an array of a device begins."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


def host(array: Any) -> Any:
    """A small array of a device as a numpy array."""
    return array.get() if hasattr(array, "get") else array
