"""The CUDA backend: raw `.cu` kernels compiled for the device at hand, launched through CuPy."""

from __future__ import annotations

import functools
from typing import Final

LEAST: Final = 8
"""Major number of the oldest architecture with the instructions that the kernels use: reductions over a warp."""

TOOLKIT: Final = "the CUDA toolkit has it, and the extra gpu brings it"
"""Where a library of CUDA is found that cannot be loaded."""


@functools.cache
def problem() -> str:
    """Why CUDA kernels cannot run in this process, "" if they can; asked once."""
    try:
        from cupy.cuda import runtime
    except ImportError as error:
        return f"cupy cannot be imported ({error}); the extra gpu installs it"
    try:
        told = [runtime.getDeviceProperties(number) for number in range(runtime.getDeviceCount())]
    except runtime.CUDARuntimeError as error:
        return f"the CUDA driver gives no device ({error})"
    if not told:
        return "there is no CUDA device"
    for number, one in enumerate(told):
        if one["major"] < LEAST:
            return f"GPU {number} is sm_{one['major']}{one['minor']}, the kernels need sm_{LEAST}0 or later"
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except (ImportError, RuntimeError) as error:
        return f"NVRTC, which compiles the kernels, cannot be loaded ({error}); {TOOLKIT}"
    return ""


def devices() -> tuple[str, ...]:
    """What the GPUs of this machine are: name, architecture and memory; only where there is no `problem`."""
    from cupy.cuda import runtime

    found = []
    for number in range(runtime.getDeviceCount()):
        told = runtime.getDeviceProperties(number)
        name, mebibytes = told["name"].decode(), told["totalGlobalMem"] >> 20
        found.append(f"{number} {name}, sm_{told['major']}{told['minor']}, {mebibytes:,} MiB")
    return tuple(found)
