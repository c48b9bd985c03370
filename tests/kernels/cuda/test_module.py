from __future__ import annotations

import importlib.util
import stat
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import naive
import numpy as np
import pytest
from batches import SIZES, batches
from host import Host, missing

from aimds import kernels
from aimds.errors import BackendError, KernelError
from aimds.kernels import cuda, placement, registry
from aimds.kernels.cuda import module, source
from aimds.kernels.cuda.launch import Launch

CUPY = importlib.util.find_spec("cupy") is not None
needs_compiler = pytest.mark.skipif(bool(missing()), reason=missing() or "present")
needs_cupy = pytest.mark.skipif(not CUPY, reason="cupy is not installed")


class OnDevice(np.ndarray):
    """Stands for an array on a GPU: numpy's functions refuse it, as they refuse cupy's, until a wrapper has it."""

    __cuda_array_interface__ = np.ndarray.__array_interface__
    taken = False

    def __array_function__(self, function, types, arguments, options):
        if not OnDevice.taken:
            raise TypeError(f"{function.__name__} copies an array from the GPU")
        return super().__array_function__(function, types, arguments, options)


def on_device(array):
    return array.view(OnDevice) if isinstance(array, np.ndarray) else array


@pytest.fixture
def host(monkeypatch):
    """Batches on a "GPU" are run by the host shim."""
    found = Host()

    def device():
        OnDevice.taken = True
        return found

    monkeypatch.setattr(module, "device", device)
    monkeypatch.setattr(OnDevice, "taken", False)
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    return found


def test_there_is_a_batch_for_every_kernel():
    assert tuple(batches()) == kernels.names()


@needs_compiler
@pytest.mark.parametrize("name", kernels.names())
@pytest.mark.parametrize("sizes", [(), (0,), SIZES["small"], (90, 31)])
def test_a_batch_on_a_gpu_gives_what_the_cpu_gives(host, name, sizes):
    arguments, function = batches(sizes)[name], getattr(kernels, name)
    found = function(*map(on_device, arguments))
    assert host.launched or not sum(sizes), "nothing was launched"
    naive.agree(name, found, function(*arguments))


@needs_compiler
@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (1, np.array([0, 3, 2, 8, 9], np.int64), "falls at row 1"),
        (1, np.array([0, 3, 3, 8, 10], np.int64), "there are 9 values"),
        (0, np.array([1, 2, 0, 1, 2, 2, 8, 0, 9], np.int32), "outside 0 .. 8"),
        (0, np.array([1, 2, 0, 1, 2, 2, 8, 0, -1], np.int32), "outside 0 .. 8"),
    ],
)
def test_a_batch_on_a_gpu_is_checked_there(host, place, wrong, message):
    arguments = list(map(on_device, batches()["subsequence_dtw"]))
    arguments[place] = on_device(wrong)
    with pytest.raises(KernelError, match=message):
        kernels.subsequence_dtw(*arguments)
    assert not host.launched


@needs_compiler
def test_an_array_on_a_gpu_that_is_not_contiguous_is_copied(host):
    tokens, offsets, cost = batches()["subsequence_dtw"]
    wide = np.repeat(cost, 2, axis=2)
    found = kernels.subsequence_dtw(on_device(tokens), on_device(offsets), on_device(wide)[:, :, ::2])
    naive.agree("subsequence_dtw", found, kernels.subsequence_dtw(tokens, offsets, cost))


def test_without_a_gpu_the_reason_is_said():
    if not cuda.problem():
        pytest.skip("there is a GPU")
    assert ("cupy" in cuda.problem()) == (not CUPY)
    with pytest.raises(BackendError, match=r"cupy|driver|device"):
        module.device.__wrapped__()


def test_the_text_that_is_compiled_holds_its_headers_once():
    text = source.text("lcs", (("COLUMNS", 3),))
    assert text.startswith("#define COLUMNS 3\n")
    assert text.count("constexpr u32 ALL_LANES") == text.count("masks_fill64") == 1
    assert "#include" not in text


@needs_cupy
def test_machine_code_is_kept_by_architecture_and_text(tmp_path, monkeypatch):
    made = module.cubin("sketch", (), "90", tmp_path)
    assert made.read_bytes()[:4] == b"\x7fELF"
    assert [path.name for path in tmp_path.iterdir()] == [made.name]
    compiled: list[str] = []
    monkeypatch.setattr(module, "_compiled", lambda name, text, architecture: compiled.append(architecture) or b"code")
    assert module.cubin("sketch", (), "90", tmp_path) == made
    assert compiled == []
    assert module.cubin("sketch", (), "80", tmp_path) != made
    assert module.cubin("sketch", (("COLUMNS", 3),), "90", tmp_path) != made
    assert compiled == ["80", "90"]
    assert len(list(tmp_path.iterdir())) == 3


@needs_cupy
def test_an_architecture_that_the_compiler_does_not_know_says_so(tmp_path):
    with pytest.raises(BackendError, match=r"sketch\.cu does not compile for sm_12"):
        module.cubin("sketch", (), "12", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_lies_below_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = module.cache_folder()
    assert folder == tmp_path / "aimds" / "cuda"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_cache_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert module.cache_folder().is_dir()
    assert file not in module.cache_folder().parents


def test_a_product_is_that_of_cublas_in_float32(monkeypatch):
    asked = []
    cublas = SimpleNamespace(gemm=lambda *given, out: asked.append((*given, out)))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cublas=cublas))
    rows, matrix, product = object(), object(), object()
    module.Gpu().multiply(rows, matrix, product)
    assert asked == [("N", "N", rows, matrix, product)]


def test_a_gpu_without_cublas_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace())
    with pytest.raises(BackendError, match="cuBLAS cannot be loaded"):
        module.Gpu().multiply(None, None, None)


class Function:
    """Stands for a kernel that cupy has loaded, and keeps what it is asked."""

    def __init__(self):
        self.most = 0
        self.launched = []

    @property
    def max_dynamic_shared_size_bytes(self):
        raise AssertionError("is only set")

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value):
        self.most = value

    def __call__(self, grid, block, arguments, shared_mem):
        self.launched.append(shared_mem)


@pytest.fixture
def function(monkeypatch):
    found = Function()
    gpu = SimpleNamespace(Device=lambda: SimpleNamespace(id=0))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=gpu, ndarray=Elsewhere))
    monkeypatch.setattr(module, "_function", lambda *_: found)
    return found


@pytest.mark.parametrize(("shared", "most"), [(0, 0), (32 << 10, 0), ((32 << 10) + 4, 96 << 10), (49_100, 96 << 10)])
def test_shared_memory_is_asked_for_before_static_memory_fills_what_a_block_has(function, shared, most):
    module.Gpu().launch(Launch("t", "t", (1, 1, 1), (32, 1, 1), shared))
    assert (function.most, function.launched) == (most, [shared])


class Elsewhere:
    device = SimpleNamespace(id=1)


def test_an_array_on_another_gpu_is_refused_before_the_kernel_touches_it(function):
    there = Elsewhere()
    with pytest.raises(BackendError, match="an array lies on GPU 1, the present one is 0"):
        module.Gpu().launch(Launch("t", "t", (1, 1, 1), (32, 1, 1)), np.int32(1), there)
    assert function.launched == []


class CUDARuntimeError(RuntimeError):
    pass


GPUS = cuda.gpus.__wrapped__
"""Asks again each time."""


class CompileException(Exception):
    pass


def machine(monkeypatch, *, majors, nvrtc=None, asked=None, **functions):
    """A machine with cupy and GPUs of these major numbers, and an NVRTC whose version is asked with ``nvrtc``; cupy's
    ``functions`` are numpy's but for these, and ``asked`` hears on which GPU they run."""
    told = [{"major": one, "minor": 5, "name": b"A card", "totalGlobalMem": 80 << 30} for one in majors]
    runtime = SimpleNamespace(
        getDeviceCount=lambda: len(told), getDeviceProperties=told.__getitem__, CUDARuntimeError=CUDARuntimeError
    )
    monkeypatch.setattr(cuda, "gpus", GPUS)
    compiler = SimpleNamespace(getVersion=nvrtc or (lambda: (13, 0)))
    gpus = SimpleNamespace(Device=lambda number: nullcontext((asked if asked is not None else []).append(number)))
    names = ("arange", "concatenate", "int32", "zeros")
    own = {name: getattr(np, name) for name in names} | functions
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=gpus, **own))
    monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(runtime=runtime, nvrtc=compiler))
    return cuda.problem.__wrapped__()


def lacking():
    raise RuntimeError("CuPy failed to load libnvrtc.so.13")


def test_a_machine_that_cannot_run_the_kernels_says_why(monkeypatch):
    assert machine(monkeypatch, majors=[9, 9]) == ""
    assert machine(monkeypatch, majors=[]) == "there is no CUDA device"
    assert machine(monkeypatch, majors=[7]) == "GPU 0 is sm_75, the kernels need sm_80 or later"
    assert machine(monkeypatch, majors=[7, 6]) == ("GPU 0 is sm_75, GPU 1 is sm_65, the kernels need sm_80 or later")
    without = machine(monkeypatch, majors=[9], nvrtc=lacking)
    assert "NVRTC, which compiles the kernels, cannot be loaded (CuPy failed to load libnvrtc.so.13)" in without


@pytest.mark.parametrize("name", ["zeros", "arange", "concatenate"])
def test_a_cupy_that_cannot_compile_its_own_kernels_is_no_backend(monkeypatch, name):
    def fails(*_, **__):
        raise CompileException('carray.cuh(9): cannot open source file "vector_types.h"\n\n1 catastrophic error')

    assert machine(monkeypatch, majors=[9], **{name: fails}) == (
        'cupy cannot run kernels of its own (CompileException: carray.cuh(9): cannot open source file "vector_types.h"); '
        "the CUDA toolkit has it, and the extra gpu brings it"
    )


@pytest.mark.parametrize(("given", "number"), [(None, 0), ("5", 2), ("first", 0)])
def test_a_worker_tries_the_gpu_that_is_its_own(monkeypatch, given, number):
    if given is None:
        monkeypatch.delenv(placement.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(placement.VARIABLE, given)
    asked = []
    assert machine(monkeypatch, majors=[8, 9, 9], asked=asked) == ""
    assert asked == [number]


def test_a_gpu_that_is_too_old_does_not_keep_the_others_from_work(monkeypatch):
    monkeypatch.delenv(placement.VARIABLE, raising=False)
    asked = []
    assert machine(monkeypatch, majors=[7, 9, 8], asked=asked) == ""
    assert asked == [1]
    assert cuda.devices() == ("1 A card, sm_95, 81,920 MiB", "2 A card, sm_85, 81,920 MiB")


def test_machine_code_has_the_byte_that_cupy_takes_off(monkeypatch):
    nvrtc = SimpleNamespace(
        NVRTCError=ValueError,
        createProgram=lambda *_: 1,
        compileProgram=lambda *_: None,
        getCUBIN=lambda _: b"\x7fELF code",
        destroyProgram=lambda _: None,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cupy.cuda", SimpleNamespace(nvrtc=nvrtc))
    assert module._compiled("t.cu", "", "90") == b"\x7fELF code\0"


def test_a_launch_that_needs_more_shared_memory_than_a_block_has_names_the_kernel():
    with pytest.raises(KernelError, match=r"pooled\(shared\): 98,308 bytes of shared memory"):
        Launch("t", "pooled", (1, 1, 1), (32, 1, 1), (96 << 10) + 4)
