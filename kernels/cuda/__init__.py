"""The CUDA backend: raw `.cu` kernels compiled for the device at hand, launched through CuPy."""

from __future__ import annotations

import functools
import os
from typing import Any, Final

from aimds.kernels import placement

LEAST: Final = 8
"""Major number of the oldest architecture with the instructions that the kernels use: reductions over a warp."""

TOOLKIT: Final = "the CUDA toolkit has it, and the extra gpu brings it"
"""Where a library or a header of CUDA is found that is not there."""


@functools.cache
def problem() -> str:
    """Why CUDA kernels cannot run in this process, "" if they can; asked once."""
    try:
        from cupy.cuda import runtime
    except ImportError as error:
        return f"cupy cannot be imported ({error}); the extra gpu installs it"
    try:
        told, able = _told(), gpus()
    except runtime.CUDARuntimeError as error:
        return f"the CUDA driver gives no device ({error})"
    if not told:
        return "there is no CUDA device"
    if not able:
        old = ", ".join(f"GPU {number} is sm_{one['major']}{one['minor']}" for number, one in enumerate(told))
        return f"{old}, the kernels need sm_{LEAST}0 or later"
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        return f"NVRTC, which compiles the kernels, cannot be loaded ({error}); {TOOLKIT}"
    return _problem_of_cupy(able)


@functools.cache
def gpus() -> tuple[int, ...]:
    """Numbers of the GPUs that are new enough for the kernels; asked once, after cupy was found."""
    return tuple(number for number, one in enumerate(_told()) if one["major"] >= LEAST)


def _told() -> list[dict[str, Any]]:
    # What the driver says of each GPU.
    from cupy.cuda import runtime

    return [runtime.getDeviceProperties(number) for number in range(runtime.getDeviceCount())]


def _problem_of_cupy(able: tuple[int, ...]) -> str:
    # Those kernels that cupy writes itself, to compare, reduce and join arrays, need headers of CUDA besides NVRTC. A
    # worker asks its own GPU, so that it takes no memory of another's; a number that is none is refused by `placement`.
    import cupy

    given = os.environ.get(placement.VARIABLE, "0")
    worker = int(given) if given.isascii() and given.isdecimal() else 0
    try:
        with cupy.cuda.Device(able[placement.gpu_of(worker, len(able))]):
            bool((cupy.zeros(2) < 1).all())
            int(cupy.concatenate([cupy.arange(2, dtype=cupy.int32)] * 2).max())
    except Exception as error:
        # Whatever it is, the wrappers of the kernels would meet it with the first batch.
        told = str(error).strip().partition("\n")[0]
        return f"cupy cannot run kernels of its own ({type(error).__name__}: {told}); {TOOLKIT}"
    return ""


def devices() -> tuple[str, ...]:
    """What those `gpus` are: name, architecture and memory; only where there is no `problem`."""
    found, every = [], _told()
    for number in gpus():
        told = every[number]
        name, mebibytes = told["name"].decode(), told["totalGlobalMem"] >> 20
        found.append(f"{number} {name}, sm_{told['major']}{told['minor']}, {mebibytes:,} MiB")
    return tuple(found)
