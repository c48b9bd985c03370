from __future__ import annotations

import gc
import importlib.util
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from standin import Memory, There, error_of_cupy, standin

from aimds.errors import BackendError, ConfigError, DeviceLost
from aimds.kernels import cuda, placement, registry
from aimds.kernels.cuda import place as cuda_place
from aimds.kernels.cuda.place import OnGpu, Pool
from aimds.kernels.placement import HOST

OFFSETS = np.array([0, 4, 4, 10, 13, 30], np.int64)
VALUES = np.arange(30, dtype=np.int32)


def doubled(place, runs=None):
    """Twice VALUES, row by row, by way of ``place``."""

    def work(first, last):
        if runs is not None:
            runs.append((first, last))
        values, offsets = place.ragged(VALUES, OFFSETS, first, last)
        twice, edges = place.fetch(values * np.int32(2), offsets)
        return [twice[low:high].tolist() for low, high in pairwise(edges)]

    return [row for part in place.each(work, OFFSETS, 8) for row in part]


EXPECTED = [[2 * v for v in VALUES[low:high].tolist()] for low, high in pairwise(OFFSETS)]


def test_on_the_host_every_array_is_itself():
    assert HOST.put(VALUES) is VALUES
    assert HOST.resident(VALUES)[0] is VALUES
    assert HOST.fetch(VALUES)[0] is VALUES
    assert all(a is b for a, b in zip(HOST.ragged(VALUES, OFFSETS, 0, 5), (VALUES, OFFSETS), strict=True))
    assert placement.joined([VALUES]) is VALUES
    assert doubled(HOST) == EXPECTED


@pytest.mark.parametrize("free", [1 << 40, 4 * 100, 4 * 30, 1])
def test_runs_are_made_to_fit_a_share_of_what_is_free(free):
    memory, runs = Memory(), []
    memory.free_bytes = lambda: free
    assert doubled(OnGpu(memory), runs) == EXPECTED
    assert [low for low, _ in runs] == [0, *(high for _, high in runs[:-1])]
    assert (len(runs) == 1) == (free == 1 << 40)
    assert memory.released == 0


def test_runs_are_made_by_what_rows_take_beside_their_values():
    memory = Memory()
    memory.free_bytes = lambda: 4 * 100
    offsets = np.array([0, 2, 2, 2, 2], np.int64)
    runs = OnGpu(memory).each(lambda first, last: (first, last), offsets, 50, 50)
    assert runs == [(0, 1), (1, 3), (3, 4)]
    assert OnGpu(memory).each(lambda first, last: (first, last), offsets, 50) == [(0, 4)]


@pytest.mark.parametrize("room", [84, 100, 150])
def test_a_run_that_does_not_fit_is_halved_and_no_row_is_lost(room):
    memory, runs = Memory(), []
    memory.free_bytes = lambda: 1 << 40
    memory.xp.room = room
    assert doubled(OnGpu(memory), runs) == EXPECTED
    assert runs[0] == (0, 5)
    sizes = [4 * int(OFFSETS[last] - OFFSETS[first]) + 8 * (last - first + 1) for first, last in runs]
    assert memory.released == sum(size > room for size in sizes) > 0


def test_a_single_row_is_tried_again_once_memory_was_given_back():
    memory = Memory()
    memory.xp.failing = 1
    assert OnGpu(memory).each(lambda first, last: memory.xp.asarray(VALUES).get().tolist(), OFFSETS[:2], 8) == [
        VALUES.tolist()
    ]
    assert memory.released == 1


def test_memory_that_does_not_hold_one_row_is_said():
    memory = Memory()
    memory.xp.room = 16 * 4
    with pytest.raises(BackendError, match=r"memory of GPU 0 is full.*64 bytes are free") as caught:
        doubled(OnGpu(memory))
    assert not isinstance(caught.value, DeviceLost)


def test_what_filled_the_memory_is_gone_before_the_next_try():
    alive: list[int] = []

    class Held:
        def __init__(self):
            alive.append(id(self))

        def __del__(self):
            alive.remove(id(self))

    def work(first, last):
        held = Held()
        assert alive == [id(held)], "arrays of the failed run are still held"
        if last - first > 1:
            raise MemoryError
        return first

    assert OnGpu(Memory()).each(work, OFFSETS, 8) == [0, 1, 2, 3, 4]


def test_an_error_that_is_not_of_memory_passes():
    def work(first, last):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        OnGpu(Memory()).each(work, OFFSETS, 8)


def test_no_rows_are_one_run_without_rows():
    assert OnGpu(Memory()).each(lambda first, last: (first, last), np.zeros(1, np.int64), 8) == [(0, 0)]


class Cupy:
    """What `Pool` asks of cupy: which devices and streams were entered and left, and which pools gave back, in order."""

    def __init__(self):
        self.done = []
        self.cuda = SimpleNamespace(
            Device=lambda number: self._entered(f"device {number}"),
            Stream=SimpleNamespace(null=self._entered("null stream")),
            runtime=SimpleNamespace(memGetInfo=lambda: (1 << 30, 1 << 31)),
        )

    def _entered(self, name):
        done = self.done

        class Entered:
            def __enter__(self):
                done.append(name)

            def __exit__(self, *_):
                done.append(f"no more {name}")

        return Entered()

    def get_default_memory_pool(self):
        return SimpleNamespace(free_bytes=lambda: 0, free_all_blocks=lambda: self.done.append("device pool"))

    def get_default_pinned_memory_pool(self):
        return SimpleNamespace(free_all_blocks=lambda: self.done.append("pinned pool"))


def test_memory_that_is_short_is_given_back_on_the_device_and_on_the_host(monkeypatch):
    cupy = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)

    def work(first, last):
        if "device pool" not in cupy.done:
            raise MemoryError
        return first

    assert OnGpu(Pool(0)).each(work, OFFSETS[:2], 8) == [0]
    assert cupy.done[2:4] == ["device pool", "pinned pool"]


def test_all_threads_queue_their_work_on_one_stream_of_the_device(monkeypatch):
    cupy = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    OnGpu(Pool(3)).each(lambda first, last: cupy.done.append("work"), OFFSETS, 8)
    assert cupy.done == ["device 3", "null stream", "work", "no more null stream", "no more device 3"]


def test_a_table_goes_there_once_and_is_freed_with_its_array():
    memory = Memory()
    place = OnGpu(memory)
    table, other = np.arange(5), np.arange(5)
    (there,) = place.resident(table)
    assert isinstance(there, There)
    assert place.resident(table)[0] is there
    assert place.resident(other)[0] is not there
    assert len(memory.xp.put) == 2
    assert len(place._tables) == 2
    del table
    gc.collect()
    assert len(place._tables) == 1
    assert place.resident(other)[0] is not there


def test_many_arrays_come_back_in_one_copy_with_their_shapes():
    memory = Memory()
    place = OnGpu(memory)
    copies = []
    given = [
        np.arange(3, dtype=np.uint8),
        np.arange(6.0, dtype=np.float32).reshape(2, 3),
        np.array([], np.int32),
        np.arange(2, dtype=np.int64),
    ]
    there = [place.put(array) for array in given]
    get = There.get
    try:
        There.get = lambda self: copies.append(self.nbytes) or get(self)
        found = place.fetch(*there)
    finally:
        There.get = get
    assert copies == [3 + 24 + 16]
    for a, b in zip(given, found, strict=True):
        assert type(b) is np.ndarray
        assert (a.dtype, a.shape, a.tolist()) == (b.dtype, b.shape, b.tolist())
        assert b.flags.aligned


@pytest.mark.parametrize(("gpus", "expected"), [(1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0])])
def test_workers_take_the_gpus_in_turn(gpus, expected):
    assert [placement.gpu_of(worker, gpus) for worker in range(4)] == expected


def test_the_place_of_a_worker_is_its_gpu(monkeypatch):
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "")
    monkeypatch.setattr(cuda_place, "problem", lambda: "")
    majors = [8, 9, 7, 9, 9]
    runtime = SimpleNamespace(getDeviceCount=lambda: 5, getDeviceProperties=lambda number: {"major": majors[number]})
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(cuda_place, "gpus", cuda.gpus.__wrapped__)
    monkeypatch.setenv(placement.VARIABLE, "6")
    found = placement.place("cuda")
    assert (found.backend, found.number) == ("cuda", 3), "GPU 2 is too old and not counted"
    monkeypatch.delenv(placement.VARIABLE)
    assert placement.place("cuda").number == 0
    assert placement.place("cpu") is HOST
    for wrong in ("-1", "first", ""):
        monkeypatch.setenv(placement.VARIABLE, wrong)
        with pytest.raises(ConfigError, match="AIMDS_DEVICE"):
            placement.place("cuda")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="cupy is installed")
def test_without_cupy_a_place_on_a_gpu_says_what_is_missing(monkeypatch):
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    assert placement.place() is HOST
    with pytest.raises(BackendError, match="cupy cannot be imported"):
        placement.place("cuda")


def test_the_stand_in_refuses_functions_of_the_host(monkeypatch):
    place, _, _ = standin(monkeypatch)
    with pytest.raises(TypeError, match="copies an array from the GPU"):
        np.concatenate([place.put(VALUES)])


@pytest.mark.parametrize(("kind", "status"), [("CUDADriverError", 2), ("CUDARuntimeError", 2), ("CUBLASError", 1)])
def test_memory_that_ran_out_beside_the_pool_halves_the_run_as_well(kind, status):
    memory = Memory()

    def work(first, last):
        if last - first > 2:
            raise error_of_cupy(kind, status)
        return (first, last)

    runs = OnGpu(memory).each(work, OFFSETS, 8)
    assert [low for low, _ in runs] == [0, *(high for _, high in runs[:-1])]
    assert memory.released >= 1


@pytest.mark.parametrize(("kind", "status"), [("CUDARuntimeError", 700), ("CUDADriverError", 1), ("CUBLASError", 13)])
def test_an_error_of_the_device_is_no_fault_of_a_row(kind, status):
    asked = []

    def work(first, last):
        asked.append((first, last))
        raise error_of_cupy(kind, status)

    with pytest.raises(DeviceLost, match=f"{kind}: told; the process has to be started anew"):
        OnGpu(Memory()).each(work, OFFSETS, 8)
    assert asked == [(0, 5)]


@pytest.mark.parametrize("asked", ["present", "free_bytes", "release"])
def test_a_device_that_fails_beside_the_work_is_no_fault_of_a_row(asked):
    memory = Memory()
    memory.xp.failing = 1

    def fails():
        raise error_of_cupy("CUDARuntimeError", 700)

    setattr(memory, asked, fails)
    with pytest.raises(DeviceLost, match="CUDARuntimeError: told; the process has to be started anew"):
        OnGpu(memory).each(lambda first, last: memory.xp.asarray(VALUES), OFFSETS, 8)


def test_a_gpu_too_full_to_begin_on_does_not_ask_for_another_process():
    memory = Memory()

    def fails():
        raise error_of_cupy("CUDARuntimeError", 2)

    memory.free_bytes = fails
    with pytest.raises(BackendError, match=r"CUDARuntimeError: told$") as caught:
        OnGpu(memory).each(lambda first, last: first, OFFSETS, 8)
    assert not isinstance(caught.value, DeviceLost)


def test_a_kernel_of_cupy_that_does_not_compile_is_no_fault_of_a_row():
    compile_exception = type("CompileException", (Exception,), {"__module__": "cupy.cuda.compiler"})
    asked = []

    def work(first, last):
        asked.append((first, last))
        raise compile_exception("cannot open source file <cuda_fp16.h>")

    with pytest.raises(BackendError, match=r"CompileException: cannot open source file <cuda_fp16\.h>$"):
        OnGpu(Memory()).each(work, OFFSETS, 8)
    assert asked == [(0, 5)]


def test_an_error_that_is_none_of_the_device_stays_what_it_is():
    def work(first, last):
        raise RuntimeError("a stage broke")

    with pytest.raises(RuntimeError, match="a stage broke") as caught:
        OnGpu(Memory()).each(work, OFFSETS, 8)
    assert not isinstance(caught.value, BackendError)
