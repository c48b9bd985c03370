"""Compiles kernels for the GPU at hand and launches them: NVRTC through CuPy, machine code kept on disk.

The only module of the project that imports cupy, and only when a kernel is first run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aimds.errors import BackendError
from aimds.kernels.cuda import TOOLKIT, problem, source
from aimds.kernels.cuda.launch import MOST_SHARED, UNASKED_SHARED, Device, Launch
from aimds.kernels.registry import register

OPTIONS: Final = ("-std=c++17", "-default-device")
_WHOLE: Final = "2"
"""Of the files that are kept; those of the first kind lack a byte."""
Run = Callable[..., Any]


def on_device(name: str) -> Callable[[Run], Run]:
    """Decorator: ``run(device, *arguments)`` implements kernel ``name`` on the GPU; the arrays it takes and gives are
    cupy's."""

    def keep(run: Run) -> Run:
        @register(name, "cuda")
        def implementation(*arguments: Any, threads: int) -> Any:
            return run(device(), *arguments)

        return run

    return keep


@functools.cache
def device() -> Device:
    """The present GPU of CuPy.

    Raises:
        BackendError: CUDA cannot run here; it says why.
    """
    if problem():
        raise BackendError("cuda", problem())
    return Gpu()


class Gpu:
    """Launches kernels on CuPy's present device and stream."""

    @property
    def xp(self) -> Any:
        import cupy

        return cupy

    def launch(self, launch: Launch, *arguments: Any) -> None:
        """Queue the kernel; it runs after what was queued on the stream before."""
        here = self.xp.cuda.Device().id
        for one in arguments:
            if isinstance(one, self.xp.ndarray) and one.device.id != here:
                raise BackendError("cuda", f"an array lies on GPU {one.device.id}, the present one is {here}")
        function = _function(here, launch.stem, launch.defines, launch.kernel)
        if launch.shared > UNASKED_SHARED:
            # Always the same: threads share the function, and none must take from another what it is about to use.
            function.max_dynamic_shared_size_bytes = MOST_SHARED
        function(launch.grid, launch.block, arguments, shared_mem=launch.shared)

    def multiply(self, rows: Any, matrix: Any, product: Any) -> None:
        """Queue the product. Not cupy's own operator: that multiplies in TF32 where CUPY_TF32 says so.

        Raises:
            BackendError: there is no cuBLAS.
        """
        try:
            from cupy import cublas
        except ImportError as error:
            raise BackendError("cuda", f"cuBLAS cannot be loaded ({error}); {TOOLKIT}") from error
        cublas.gemm("N", "N", rows, matrix, out=product)


@functools.cache
def _function(device_id: int, stem: str, defines: tuple[tuple[str, int], ...], kernel: str) -> Any:
    return _module(device_id, stem, defines).get_function(kernel)


@functools.cache
def _module(device_id: int, stem: str, defines: tuple[tuple[str, int], ...]) -> Any:
    import cupy

    architecture = cupy.cuda.Device(device_id).compute_capability
    return cupy.RawModule(path=str(cubin(stem, defines, architecture, cache_folder())))


def cache_folder() -> Path:
    """Where machine code is kept: below the user's cache folder, or below a temporary one where that is read-only."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "aimds" / "cuda"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return _temporary()


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="aimds-cuda-"))


def cubin(stem: str, defines: tuple[tuple[str, int], ...], architecture: str, folder: Path) -> Path:
    """The file with the machine code of ``stem``.cu for ``architecture`` ("90"), compiled unless ``folder`` has it.

    The name holds a hash of the whole text, the options and the compiler's version; a file appears whole or not at all.

    Raises:
        BackendError: the compiler refuses the text or the architecture.
    """
    from cupy.cuda import nvrtc

    text = source.text(stem, defines)
    version = ".".join(map(str, nvrtc.getVersion()))
    key = hashlib.sha256("\0".join((text, *OPTIONS, version, _WHOLE)).encode()).hexdigest()[:32]
    path = folder / f"{stem}-sm_{architecture}-{key}.cubin"
    if not path.exists():
        code = _compiled(f"{stem}.cu", text, architecture)
        handle, part = tempfile.mkstemp(dir=folder, prefix=f"{stem}-")
        with os.fdopen(handle, "wb") as file:
            file.write(code)
        os.replace(part, path)
    return path


def _compiled(name: str, text: str, architecture: str) -> bytes:
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(text, name, (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"-arch=sm_{architecture}"))
        # cupy takes off the last byte, for a NUL that a cubin has not; as NVRTC's own end, that byte is zero.
        return bytes(nvrtc.getCUBIN(program)) + b"\0"
    except nvrtc.NVRTCError as error:
        log = str(nvrtc.getProgramLog(program)).strip()
        raise BackendError("cuda", f"{name} does not compile for sm_{architecture}: {error} {log}") from error
    finally:
        nvrtc.destroyProgram(program)
