"""What is launched, and on what: the one interface between the wrappers and a device.

`aimds.kernels.cuda.module.device` gives the GPU; the tests give a host that runs the same kernels on the CPU, so that
wrappers and launch geometry are tested without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

WARP: Final = 32
"""Threads that run in lockstep."""
MOST_THREADS: Final = 1024
MOST_GRID: Final = ((1 << 31) - 1, 65535, 65535)


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: ``kernel`` of ``stem``.cu over ``grid`` blocks of ``block`` threads, with ``shared`` bytes of dynamic
    shared memory."""

    stem: str
    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0


class Device(Protocol):
    """Where kernels run: ``xp`` is cupy (or numpy), and arguments of `launch` are its arrays and numpy scalars, which
    must have the dtypes that the kernel declares."""

    @property
    def xp(self) -> Any: ...

    def launch(self, launch: Launch, *arguments: Any) -> None: ...


def blocks(items: int, each: int) -> int:
    """Blocks that hold ``items`` at ``each`` to a block."""
    return -(-items // each)
