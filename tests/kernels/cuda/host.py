"""CUDA kernels run on the CPU: a `.cu` compiled by g++ with shim.h, its kernels launched on numpy arrays.

    host = Host()
    host.launch(Launch("dtw", "dtw_thread", (4, 1, 1), (128, 1, 1)), values, offsets, np.int32(7), out)

A `Host` stands where `aimds.kernels.cuda.module.Device` stands on a GPU: same launch, ``xp`` is
numpy with POISON in fresh arrays. What the kernel does wrong raises `Fault`. Compiled libraries are kept by the hash of everything that is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimds import kernels
from aimds.kernels.cuda.launch import MOST_SHARED, UNASKED_SHARED, Launch
from aimds.kernels.cuda.module import device
from aimds.kernels.cuda.source import preamble
from aimds.kernels.cuda.source import text as whole_text

HERE = Path(__file__).parent
SOURCES = Path(kernels.__file__).parent / "cuda"
CACHE = HERE.parents[2] / ".work" / "cuda-host"
COMPILER = os.environ.get("CXX", "g++")
CHECKS = "bounds,shift,signed-integer-overflow,alignment,integer-divide-by-zero"
FLAGS = (
    *("-std=gnu++17", "-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-strict-aliasing"),
    *(f"-fsanitize={CHECKS}", "-fsanitize-undefined-trap-on-error", "-w"),
    *(f"-DUNASKED_SHARED={UNASKED_SHARED}", f"-DASKED_SHARED={MOST_SHARED}"),
)
PREPROCESS = (
    "-E",
    "-P",
    "-std=gnu++17",
    "-x",
    "c++",
    "-DCUDA_SHIM=1",
    "-D__global__=__attribute__((used))",
    "-D__launch_bounds__(...)=",
)
ON_GPU = os.environ.get("CUDA_HOST") == "gpu"
"""Set by make test-gpu: what the tests launch is run on the GPU at hand, and no C++ compiler is needed."""
POISON = 0xA5
ORDERS = (0, 1, 7)
"""Orders of the threads to run a kernel in: forwards, backwards, shuffled. A result must not depend on it."""

LAUNCHES = [0]
"""How many kernels were launched in this process."""

TYPES = {
    "unsigned char": "uint8",
    "signed char": "int8",
    "unsigned short": "uint16",
    "short": "int16",
    "unsigned": "uint32",
    "unsigned int": "uint32",
    "int": "int32",
    "unsigned long long": "uint64",
    "long long": "int64",
    "float": "float32",
    "double": "float64",
}
VECTORS = {
    f"{kind}{size}": dtype
    for kind, dtype in (("uint", "uint32"), ("int", "int32"), ("float", "float32"))
    for size in (2, 4)
}
KERNEL = re.compile(
    r'extern\s+"C"\s+(?:__global__|__attribute__\(\(used\)\))\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)\s*\{'
)


class Fault(AssertionError):
    """A kernel did what CUDA leaves undefined, or was launched with other arguments than it has."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: ``dtype`` of the scalar or of what it points to, ``written`` where not const."""

    name: str
    dtype: str
    pointer: bool
    written: bool


def missing() -> str:
    """Why kernels cannot run here, "" if they can."""
    return "" if ON_GPU or shutil.which(COMPILER) else f"no C++ compiler {COMPILER!r}"


def source(stem: str) -> str:
    """The text of ``stem``.cu."""
    return (SOURCES / f"{stem}.cu").read_text("utf-8")


def mutant(stem: str, right: str, wrong: str) -> dict[str, str]:
    """``sources`` of a `Host` whose ``stem``.cu has ``wrong`` for ``right``, which must stand there exactly once."""
    text = source(stem)
    assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times in {stem}.cu"
    return {stem: text.replace(right, wrong)}


def parameters(text: str) -> dict[str, list[Parameter]]:
    """The kernels of a source, preprocessed or not."""
    found = {}
    for name, listed in KERNEL.findall(text):
        row = []
        for one in filter(None, (part.strip() for part in listed.split(","))):
            words = re.sub(r"__restrict__", " ", one.replace("*", " * ")).split()
            pointer = "*" in words
            const = pointer and "const" in words[: words.index("*")]
            kind = " ".join(word for word in words[:-1] if word not in ("const", "*"))
            dtype = TYPES.get(kind) or VECTORS.get(kind)
            assert dtype is not None, f"{name}: the type of {one!r} is none of {', '.join((*TYPES, *VECTORS))}"
            row.append(Parameter(words[-1], dtype, pointer, pointer and not const))
        found[name] = row
    return found


@functools.cache
def _shim() -> bytes:
    return b"".join(path.read_bytes() for path in sorted([*HERE.glob("shim*"), *SOURCES.glob("*.cuh")]))


@functools.cache
def _runtime() -> Path:
    """The part of the shim that is the same for all kernels, compiled."""
    made = CACHE / f"{_key('runtime')}.o"
    if not made.exists():
        _compile((*FLAGS, "-c", str(HERE / "shim.cpp")), made)
    return made


def _key(text: str) -> str:
    return hashlib.sha256(b"\0".join((text.encode(), _shim(), repr((COMPILER, FLAGS)).encode()))).hexdigest()[:32]


@functools.cache
def library(text: str) -> tuple[ctypes.CDLL, dict[str, list[Parameter]]]:
    """The library made of a kernel's source text, and the parameters of its kernels."""
    made = CACHE / f"{_key(text)}.so"
    described = made.with_suffix(".json")
    if not described.exists():
        rows = parameters(_run((*PREPROCESS, "-I", str(SOURCES), "-"), text))
        exports = "".join(f"SHIM_EXPORT({name}, {len(row)})\n" for name, row in rows.items())
        include = ("-include", str(HERE / "shim.h"), "-I", str(SOURCES))
        _compile((*FLAGS, "-shared", *include, str(_runtime()), "-x", "c++", "-"), made, f"{text}\n{exports}")
        listed = {name: [vars(one) for one in row] for name, row in rows.items()}
        part = made.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(listed))
        part.replace(described)
    read = json.loads(described.read_text())
    return ctypes.CDLL(str(made)), {name: [Parameter(**one) for one in row] for name, row in read.items()}


def _compile(options: Sequence[str], made: Path, text: str = "") -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    part = made.with_suffix(f".{os.getpid()}")
    _run((*options, "-o", str(part)), text)
    part.replace(made)


def _run(options: Sequence[str], text: str) -> str:
    done = subprocess.run((COMPILER, *options), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Fault(f"{COMPILER}: {done.stderr[-3000:]}")
    return done.stdout


class Arrays:
    """numpy, but fresh arrays hold POISON, as on a GPU they hold anything."""

    def empty(self, shape: Any, dtype: Any) -> Any:
        fresh = np.empty(shape, dtype)
        fresh.reshape(-1).view(np.uint8)[:] = POISON
        return fresh

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@dataclass
class Host:
    """Launches kernels on the CPU, threads in ``order`` (see ORDERS); ``sources`` by stem stand for the files of these
    names. ``launched`` keeps every launch."""

    order: int = 0
    sources: dict[str, str] = field(default_factory=dict)
    launched: list[Launch] = field(default_factory=list)
    xp: Arrays = field(default_factory=Arrays)

    def launch(self, launch: Launch, *arguments: Any) -> None:
        """Run the kernel to its end; arrays it may write are changed in place.

        Raises:
            Fault: what the kernel did wrong, or an argument that does not fit its parameter.
        """
        if ON_GPU:
            self._launch_on_gpu(launch, *arguments)
            return
        text = self.sources.get(launch.stem) or source(launch.stem)
        loaded, rows = library(f"{preamble(launch.defines)}#line 1\n{text}")
        if launch.kernel not in rows:
            raise Fault(f"{launch.stem}.cu has no kernel {launch.kernel!r}, only {', '.join(rows)}")
        row = rows[launch.kernel]
        if len(row) != len(arguments):
            raise Fault(f"{launch.kernel} takes {len(row)} arguments, got {len(arguments)}")
        for i, (parameter, argument) in enumerate(zip(row, arguments, strict=True)):
            _fits(launch.kernel, i, parameter, argument)
        # A scalar is kept alive here while the kernel reads it.
        held = [value if isinstance(value, np.ndarray) else np.array(value) for value in arguments]
        values = (ctypes.c_void_p * len(held))(*(value.ctypes.data for value in held))
        sizes = (ctypes.c_longlong * len(held))(
            *(value.nbytes if one.pointer else -1 for one, value in zip(row, held, strict=True))
        )
        written = (ctypes.c_ubyte * len(held))(*(one.written for one in row))
        geometry = (ctypes.c_uint * 6)(*launch.grid, *launch.block)
        function = getattr(loaded, f"shim_launch_{launch.kernel}")
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t, ctypes.c_uint]
        problem = function(values, sizes, written, geometry, launch.shared, self.order)
        self.launched.append(launch)
        LAUNCHES[0] += 1
        if problem is not None:
            named = {f"argument {i}": f"argument {one.name!r}" for i, one in enumerate(row)}
            raise Fault(f"{launch.kernel}: " + re.sub(r"argument \d+", lambda m: named[m[0]], problem.decode()))

    def multiply(self, rows: Any, matrix: Any, product: Any) -> None:
        """Where cuBLAS stands on a GPU: sums in float64, so that the order that a BLAS chooses is not seen."""
        for array in (rows, matrix, product):
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
        if ON_GPU:
            there = [device().xp.asarray(np.asarray(array)) for array in (rows, matrix, product)]
            device().multiply(*there)
            product[...] = there[2].get()
            return
        product[...] = np.asarray(rows, np.float64) @ np.asarray(matrix, np.float64)

    def _launch_on_gpu(self, launch: Launch, *arguments: Any) -> None:
        if launch.stem in self.sources:
            pytest.skip("only the kernels themselves are run on the GPU")
        self.launched.append(launch)
        gpu, row = device(), parameters(whole_text(launch.stem))[launch.kernel]
        for i, (parameter, argument) in enumerate(zip(row, arguments, strict=True)):
            _fits(launch.kernel, i, parameter, argument)
        there = [gpu.xp.asarray(one.view(np.ndarray)) if isinstance(one, np.ndarray) else one for one in arguments]
        gpu.launch(launch, *there)
        for parameter, argument, found in zip(row, arguments, there, strict=True):
            if parameter.written:
                argument[...] = found.get()


def _fits(kernel: str, place: int, parameter: Parameter, argument: Any) -> None:
    where = f"{kernel}: argument {place} ({parameter.name!r})"
    if not isinstance(argument, np.ndarray if parameter.pointer else np.generic):
        wanted = "array" if parameter.pointer else "scalar"
        raise Fault(f"{where} is {type(argument).__name__}, expected a numpy {wanted}")
    if str(argument.dtype) != parameter.dtype:
        raise Fault(f"{where} is {argument.dtype}, the kernel reads {parameter.dtype}")
    if parameter.pointer and not argument.flags.c_contiguous:
        raise Fault(f"{where} is not contiguous")
    if parameter.written and not argument.flags.writeable:
        raise Fault(f"{where} is read-only, the kernel writes it")
