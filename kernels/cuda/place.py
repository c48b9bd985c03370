"""A GPU as a place for batches: tables stay while they live on the host, runs of rows are made to fit its memory, and
answers come back in one copy.

Memory is budgeted from what is free; where that was not enough all the same (another process took it), the run is
halved and done again, so no row is lost.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from aimds.errors import BackendError, DeviceLost
from aimds.kernels import placement, ragged
from aimds.kernels.cuda import gpus, problem

T = TypeVar("T")
Array = npt.NDArray[Any]
Offsets = npt.NDArray[np.int64]

_OUT_OF_MEMORY: Final = 2
SHARE: Final = 4
"""A run takes at most this part of what is free: other workers may share the GPU."""


class Memory(Protocol):
    """The memory of GPU ``number``. ``xp`` is cupy; what does not fit raises MemoryError."""

    @property
    def number(self) -> int: ...

    @property
    def xp(self) -> Any: ...

    def present(self) -> AbstractContextManager[Any]:
        """Makes it the GPU that arrays are made on and kernels run on in this thread, one after the other with those of
        other threads."""

    def free_bytes(self) -> int:
        """Bytes that could be had now."""

    def release(self) -> None:
        """Give back what is kept for later."""


class Pool:
    """The memory of CuPy's device ``number``, with what CuPy keeps for later of it and of the host's for copies."""

    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def xp(self) -> Any:
        import cupy

        return cupy

    @contextmanager
    def present(self) -> Iterator[None]:
        # One stream for all threads, whatever their own are: a thread reads tables that another may still be sending.
        with self.xp.cuda.Device(self.number), self.xp.cuda.Stream.null:
            yield

    def free_bytes(self) -> int:
        return int(self.xp.cuda.runtime.memGetInfo()[0] + self.xp.get_default_memory_pool().free_bytes())

    def release(self) -> None:
        self.xp.get_default_memory_pool().free_all_blocks()
        # The host's part: whatever goes up passes through pinned memory, which nobody else can use.
        self.xp.get_default_pinned_memory_pool().free_all_blocks()


class OnGpu:
    """A `placement.Place` in ``memory``."""

    backend = "cuda"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tables: dict[int, tuple[weakref.ref[Array], Any]] = {}

    @property
    def number(self) -> int:
        return self._memory.number

    def each(self, work: Callable[[int, int], T], offsets: Offsets, value_bytes: int, row_bytes: int = 0) -> list[T]:
        with _no_fault_of_a_row(), self._memory.present():
            needed = (offsets - offsets[0]) * value_bytes + np.arange(len(offsets)) * row_bytes
            budget = max(self._memory.free_bytes() // SHARE, 1)
            runs = ragged.split(needed, -(-int(needed[-1]) // budget)) or [(0, 0)]
            return [found for run in runs for found in self._fitted(work, offsets, *run)]

    def _fitted(self, work: Callable[[int, int], T], offsets: Offsets, first: int, last: int) -> list[T]:
        # A failed run is left before the next one begins: its exception holds the arrays that filled the memory.
        found = _tried(work, first, last)
        if not isinstance(found, str):
            return found
        self._memory.release()
        if last - first > 1:
            halves = ragged.split(offsets[first : last + 1], 2)
            if len(halves) < 2:
                halves = [(0, (last - first) // 2), ((last - first) // 2, last - first)]
            return [one for low, high in halves for one in self._fitted(work, offsets, first + low, first + high)]
        found = _tried(work, first, last)
        if isinstance(found, str):
            told = f"a single row does not fit ({found}), {self._memory.free_bytes():,} bytes are free"
            raise BackendError("cuda", f"the memory of GPU {self.number} is full: {told}")
        return found

    def put(self, array: Array) -> Any:
        return self._memory.xp.asarray(array)

    def ragged(self, values: Array, offsets: Offsets, first: int, last: int) -> tuple[Any, Any]:
        low, high = int(offsets[first]), int(offsets[last])
        return self.put(values[low:high]), self.put(offsets[first : last + 1] - low)

    def resident(self, *tables: Array) -> tuple[Any, ...]:
        return tuple(map(self._resident, tables))

    def _resident(self, table: Array) -> Any:
        # By identity: artefacts are immutable and swapped whole, so the next version is another array, and the last
        # batch that uses an old one frees it here too.
        key = id(table)
        known = self._tables.get(key)
        if known is not None and known[0]() is table:
            return known[1]
        there = self.put(table)
        tables = self._tables

        def forget(gone: weakref.ref[Array]) -> None:
            entry = tables.get(key)
            if entry is not None and entry[0] is gone:
                del tables[key]

        tables[key] = (weakref.ref(table, forget), there)
        return there

    def fetch(self, *arrays: Any) -> tuple[Array, ...]:
        if len(arrays) == 1:
            return (np.asarray(arrays[0].get()),)
        whole = self._memory.xp.concatenate([array.reshape(-1).view(np.uint8) for array in arrays]).get()
        out, at = [], 0
        for array in arrays:
            # A copy, so that each lies where numbers of its size may lie.
            out.append(whole[at : at + array.nbytes].copy().view(array.dtype).reshape(array.shape))
            at += array.nbytes
        return tuple(out)


def _tried(work: Callable[[int, int], T], first: int, last: int) -> list[T] | str:
    # What was found, or which error said that memory is full.
    try:
        return [work(first, last)]
    except MemoryError as error:
        return type(error).__name__
    except Exception as error:
        if not _is_full(error):
            raise
        return f"{type(error).__name__}: {error}"


@contextmanager
def _no_fault_of_a_row() -> Iterator[None]:
    """What cupy raises inside is a BackendError, which passes where what a row does to a stage is looked for."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("cupy"):
            raise
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, RuntimeError) and not _is_full(error):
            # An error of the device stays with the process: each later call fails as well, whatever its rows.
            raise DeviceLost("cuda", told) from error
        # Else cupy failed by itself, as with a kernel of its own that does not compile: no row is to blame either.
        raise BackendError("cuda", told) from error


def _is_full(error: Exception) -> bool:
    # What is taken beside cupy's pool: by cuBLAS for itself (not initialised, allocation failed), a module, a launch.
    kind, status = type(error).__name__, getattr(error, "status", None)
    return status in (1, 3) if kind == "CUBLASError" else kind.startswith("CUDA") and status == _OUT_OF_MEMORY


def place(worker: int) -> OnGpu:
    """The place of ``worker``, a number from 0: of several GPUs that the kernels can run on each takes the next.

    Raises:
        BackendError: CUDA cannot run here; it says why.
    """
    if problem():
        raise BackendError("cuda", problem())
    able = gpus()
    return _place(able[placement.gpu_of(worker, len(able))])


@functools.cache
def _place(number: int) -> OnGpu:
    # One for the process, so that screeners with the same artefacts share their tables.
    return OnGpu(Pool(number))
