"""Where the engine puts a batch: on the host, where nothing is moved, or on a GPU, where tables stay while they live.

A stage writes its work once, over a run of rows, in the words of `Place`; on the host all of these give back the array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.kernels import registry

T = TypeVar("T")
Array = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]

VARIABLE: Final = "AIMDS_DEVICE"
"""Number of this worker: of several GPUs it takes the one with that number, counted round."""


class Place(Protocol):
    """``backend`` is cpu or cuda, ``number`` the GPU's. `put`, `ragged` and `resident` are for the work of `each`."""

    @property
    def backend(self) -> str: ...

    @property
    def number(self) -> int: ...

    def each(self, work: Callable[[int, int], T], offsets: Offsets, value_bytes: int, row_bytes: int = 0) -> list[T]:
        """``work(first, last)`` over runs of rows that fit the memory, if each value takes ``value_bytes`` and each row
        ``row_bytes`` beside its values; the answers come in row order. Rows: B = len(``offsets``) - 1.

        Raises:
            BackendError: the memory does not even hold a single row.
            DeviceLost: the device failed, and will go on failing in this process.
        """

    def put(self, array: Array) -> Any:
        """``array`` as kernels take it."""

    def ragged(self, values: Array, offsets: Offsets, first: int, last: int) -> tuple[Any, Any]:
        """The rows ``first`` to ``last`` as kernels take them."""

    def resident(self, *tables: Array) -> tuple[Any, ...]:
        """``tables`` as kernels take them; they never change, and each is held as long as its array lives."""

    def fetch(self, *arrays: Any) -> tuple[Array, ...]:
        """What kernels gave, as numpy arrays."""


class Host:
    """The CPU: nothing is moved, copied or split."""

    backend = "cpu"
    number = 0

    def each(self, work: Callable[[int, int], T], offsets: Offsets, value_bytes: int, row_bytes: int = 0) -> list[T]:
        return [work(0, len(offsets) - 1)]

    def put(self, array: Array) -> Any:
        return array

    def ragged(self, values: Array, offsets: Offsets, first: int, last: int) -> tuple[Any, Any]:
        return values, offsets

    def resident(self, *tables: Array) -> tuple[Any, ...]:
        return tables

    def fetch(self, *arrays: Any) -> tuple[Array, ...]:
        return arrays


HOST: Final = Host()


def place(wanted: str = "auto") -> Place:
    """The place that `registry.backend` names; on a machine with several GPUs the one of this worker.

    Raises:
        ConfigError: an unknown backend, or AIMDS_DEVICE is no number.
        BackendError: cuda is asked for and cannot run here.
    """
    if registry.backend(wanted) == "cpu":
        return HOST
    given = os.environ.get(VARIABLE, "0")
    if not (given.isascii() and given.isdecimal()):
        raise ConfigError(VARIABLE, given, "a whole number: which GPU, counted round")
    return cast(Place, import_module("aimds.kernels.cuda.place").place(int(given)))


def gpu_of(worker: int, gpus: int) -> int:
    """The GPU of ``worker`` where there are ``gpus``, both counted from 0: one after the other, then round again."""
    return worker % gpus


def joined(parts: Sequence[Array]) -> Array:
    """The answers of `Place.each`, each an array by row, as one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
