"""Ragged batches: one array of values and one of offsets, row ``r`` being ``values[offsets[r]:offsets[r + 1]]``.

Offsets are int64 everywhere: a batch may pass 2 GiB.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from aimds.errors import KernelError

Offsets = npt.NDArray[np.int64]
T = TypeVar("T")

OUTSIDE: Final = -2
"""What `aimds.kernels.bounds` says of offsets that leave the values."""


def check(kernel: str, argument: str, offsets: Any, size: int) -> None:
    """Refuse ``offsets`` that fall, or that leave an array of ``size`` values; they may be an array on a GPU.

    Raises:
        KernelError: naming ``argument`` and the first row that is wrong.
    """
    on_host = isinstance(offsets, np.ndarray)
    fall = int(_bounds().fall(offsets, size)) if on_host else -1
    if not on_host or fall == OUTSIDE:
        first, last = int(offsets[0]), int(offsets[-1])
        if first < 0 or last > size:
            raise KernelError(kernel, argument, f"runs from {first} to {last}, but there are {size} values")
        falls = offsets[1:] < offsets[:-1]
        fall = int(falls.argmax()) if bool(falls.any()) else -1
    if fall >= 0:
        raise KernelError(kernel, argument, f"falls at row {fall}")


def lies(values: Any, low: int, high: int) -> bool:
    """Whether all of ``values`` lie in ``low`` .. ``high``; they may be an array on a GPU."""
    if isinstance(values, np.ndarray):
        return bool(_bounds().lies(values if values.ndim == 1 else values.reshape(-1), low, high))
    return not len(values) or (int(values.min()) >= low and int(values.max()) <= high)


def falls_below(values: Any, low: int) -> bool:
    """Whether any of ``values`` is less than ``low``; they may be an array on a GPU."""
    return bool(_bounds().falls_below(values, low) if isinstance(values, np.ndarray) else (values < low).any())


@functools.cache
def _bounds() -> ModuleType:
    # Numba takes a hundred megabytes, and a process that only hands out work calls no kernel.
    return import_module("aimds.kernels.bounds")


def longest(offsets: Offsets) -> int:
    """Values of the longest row, 0 where there is none."""
    return int(_bounds().longest(offsets))


def joined(rows: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], Offsets]:
    """Values and offsets int64 (B+1,) of at least one of ``rows``."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return np.concatenate(rows), offsets


def rejoined(parts: Sequence[tuple[npt.NDArray[Any], ...]]) -> tuple[Any, ...]:
    """The answers of runs of rows, at least one, as one: the offsets of each, from 0 on, and any arrays beside them."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(part[0]) for part in parts)])
    return np.cumsum(sizes), *(np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True))


def split(offsets: Offsets, parts: int) -> list[tuple[int, int]]:
    """At most ``parts`` runs of rows (first, past the last) that cover all rows and hold about as many values each."""
    rows = len(offsets) - 1
    parts = max(1, min(parts, rows))
    if parts == 1:
        return [(0, rows)] if rows else []
    # A row weighs its values and one more, so that many empty rows are shared out too.
    weight = offsets - offsets[0] + np.arange(rows + 1)
    cuts = np.searchsorted(weight, np.linspace(0, int(weight[-1]), parts + 1)[1:-1])
    edges = np.unique(np.concatenate(([0], cuts, [rows])))
    return [(int(first), int(last)) for first, last in itertools.pairwise(edges)]


def each(work: Callable[[int, int], T], offsets: Offsets, threads: int) -> list[T]:
    """``work(first, last)`` over runs of rows, on ``threads`` threads; the answers come in row order.

    ``work`` must release the GIL to gain from it. No rows: no answers.
    """
    if len(offsets) < 2:
        return []
    if threads == 1:
        return [work(0, len(offsets) - 1)]
    runs = split(offsets, threads)
    if len(runs) < 2:
        return [work(first, last) for first, last in runs]
    return list(_pool(threads).map(lambda run: work(*run), runs))


@functools.lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="aimds-kernel")


# A forked process inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
