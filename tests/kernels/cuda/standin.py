"""A GPU that is not there: arrays that the host's functions refuse, memory that can run out, kernels on the host shim."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from host import Arrays, Host

from aimds.kernels.cuda.place import OnGpu

PLENTY = 1 << 40
T = TypeVar("T")


class There(np.ndarray):
    """An array on the GPU: it comes back by `get` alone, numpy's functions refuse it."""

    __cuda_array_interface__ = np.ndarray.__array_interface__

    def get(self) -> Any:
        return np.array(self.view(np.ndarray))

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        raise TypeError(f"{function.__name__} copies an array from the GPU")


@dataclass
class Functions:
    """What stands for cupy: numpy, but arrays made by it are `There`, and fresh ones hold poison. ``room``: most bytes
    of an array; ``failing``: how many of the next arrays do not fit; ``largest``: bytes of the largest so far. ``put``
    keeps the shapes of what was sent there."""

    room: int = PLENTY
    failing: int = 0
    largest: int = 0
    put: list[tuple[int, ...]] = field(default_factory=list)

    def asarray(self, array: Any) -> Any:
        if not isinstance(array, There):
            self.put.append(np.shape(array))
        return self._there(np.array(_here(array)))

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self._there(Arrays().empty(shape, dtype))

    def __getattr__(self, name: str) -> Any:
        function: Callable[..., Any] = getattr(np, name)
        if isinstance(function, type):
            return function

        def called(*arguments: Any, **options: Any) -> Any:
            found = function(*map(_here, arguments), **{key: _here(value) for key, value in options.items()})
            return self._there(found) if isinstance(found, np.ndarray) else found

        return called

    def _there(self, array: Any) -> Any:
        fails, self.failing = self.failing > 0, max(self.failing - 1, 0)
        if array.nbytes > self.room or fails:
            raise MemoryError(f"{array.nbytes} bytes")
        self.largest = max(self.largest, array.nbytes)
        return array.view(There)


def _here(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_here, value))
    return value.view(np.ndarray) if isinstance(value, There) else value


@dataclass
class Memory:
    """The memory of the stand-in; ``released`` counts how often it was asked to give back what it keeps."""

    xp: Functions = field(default_factory=Functions)
    number: int = 0
    released: int = 0

    def present(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def free_bytes(self) -> int:
        return self.xp.room

    def release(self) -> None:
        self.released += 1


def standin(monkeypatch: Any) -> tuple[OnGpu, Memory, Host]:
    """A place on the stand-in, its memory, and the shim that runs its kernels from here on."""
    from aimds.kernels.cuda import module

    memory = Memory()
    host = Host(xp=memory.xp)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "device", lambda: host)
    return OnGpu(memory), memory, host


def error_of_cupy(kind: str, status: int) -> Exception:
    """As cupy raises it: a RuntimeError of a module of its own, with a number."""
    error = type(kind, (RuntimeError,), {"__module__": "cupy_backends.cuda.api.runtime"})("told")
    error.status = status  # type: ignore[attr-defined]
    return error


def room_of(monkeypatch: Any, score: Callable[[OnGpu, T], object], few: T, many: T) -> tuple[int, int]:
    """Bytes that ``score`` has the rows of ``many`` cut by beyond those of ``few``, and what it takes at its peak beyond
    those: what any call takes is no part of it. Both are scored in one run, for which all tables are there."""
    place, _, _ = standin(monkeypatch)
    asked: list[int] = []

    def each(_: OnGpu, work: Callable[[int, int], Any], offsets: Any, value_bytes: int, row_bytes: int = 0) -> Any:
        rows = len(offsets) - 1
        asked.append(int(offsets[-1] - offsets[0]) * value_bytes + rows * row_bytes)
        return [work(0, rows)]

    monkeypatch.setattr(OnGpu, "each", each)
    score(place, few)
    taken: list[list[int]] = [[], []]
    # The least of several: what else a process happens to make meanwhile is no part of it either.
    for _ in range(2):
        for peaks, rows in zip(taken, (few, many), strict=True):
            tracemalloc.start()
            try:
                score(place, rows)
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    return asked[-1] - asked[-2], min(taken[1]) - min(taken[0])
