"""Ragged batches: one array of values and one of offsets, row ``r`` being ``values[offsets[r]:offsets[r + 1]]``.

Offsets are int64 everywhere: a batch may pass 2 GiB.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.errors import KernelError

Offsets = npt.NDArray[np.int64]
T = TypeVar("T")

_OUTSIDE: Final = -2


def check(kernel: str, argument: str, offsets: Any, size: int) -> None:
    """Refuse ``offsets`` that fall, or that leave an array of ``size`` values; they may be an array on a GPU.

    Raises:
        KernelError: naming ``argument`` and the first row that is wrong.
    """
    fall = int(_fall(offsets, size)) if isinstance(offsets, np.ndarray) else -1
    if not isinstance(offsets, np.ndarray) or fall == _OUTSIDE:
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
        return bool(_lies(values if values.ndim == 1 else values.reshape(-1), low, high))
    return not len(values) or (int(values.min()) >= low and int(values.max()) <= high)


def falls_below(values: Any, low: int) -> bool:
    """Whether any of ``values`` is less than ``low``; they may be an array on a GPU."""
    return bool(_falls_below(values, low) if isinstance(values, np.ndarray) else (values < low).any())


@njit(cache=True, nogil=True)
def _falls_below(values, low):  # type: ignore[no-untyped-def]
    k = 0
    while k < len(values) and values[k] >= low:
        k += 1
    return k < len(values)


@njit(cache=True, nogil=True)
def _fall(offsets, size):  # type: ignore[no-untyped-def]
    # Row of the first fall in ``offsets`` int64 (B+1,), -1 where there is none, _OUTSIDE where they leave 0 .. size.
    if offsets[0] < 0 or offsets[-1] > size:
        return _OUTSIDE
    for row in range(len(offsets) - 1):
        if offsets[row + 1] < offsets[row]:
            return row
    return -1


@njit(cache=True, nogil=True)
def _lies(values, low, high):  # type: ignore[no-untyped-def]
    inside = True
    for k in range(len(values)):
        inside &= low <= values[k] <= high
    return inside


def joined(rows: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], Offsets]:
    """Values and offsets int64 (B+1,) of at least one of ``rows``."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return np.concatenate(rows), offsets


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
