"""One implementation of each kernel per backend, found by where the input lives."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from aimds.errors import BackendError, ConfigError, KernelError
from aimds.kernels.spec import SPECS

VARIABLE = "AIMDS_BACKEND"
BACKENDS = ("cpu", "cuda")

Implementation = Callable[..., Any]
F = TypeVar("F", bound=Implementation)

_IMPLEMENTATIONS: dict[tuple[str, str], Implementation] = {}
_PLAIN = frozenset((np.ndarray, int))
"""What lives on the CPU for certain."""


def register(name: str, backend: str) -> Callable[[F], F]:
    """Decorator: the function implements kernel ``name`` on ``backend`` ("cpu" or "cuda").

    Raises:
        KernelError: no spec row of that name, or it has an implementation on that backend already.
        BackendError: no such backend.
    """

    def keep(function: F) -> F:
        _known(name)
        if backend not in BACKENDS:
            raise BackendError(backend, f"the backends are {', '.join(BACKENDS)}")
        if (name, backend) in _IMPLEMENTATIONS:
            raise KernelError(name, "backend", f"has an implementation on {backend} already")
        _IMPLEMENTATIONS[name, backend] = function
        return function

    return keep


def names() -> tuple[str, ...]:
    """Every kernel, in the order of the spec."""
    return tuple(SPECS)


def find(name: str, backend: str) -> Implementation:
    """The implementation of kernel ``name`` on ``backend``; loads its module on first use; on the CPU that compiles it.

    Raises:
        KernelError: no such kernel (the known ones are listed).
        BackendError: that backend has no such kernel.
    """
    known = _IMPLEMENTATIONS.get((name, backend))
    if known is not None:
        return known
    _known(name)
    module = f"aimds.kernels.{backend}.{SPECS[name].stem}"
    if find_spec(f"aimds.kernels.{backend}") is not None and find_spec(module) is not None:
        import_module(module)
    if (name, backend) not in _IMPLEMENTATIONS:
        raise BackendError(backend, f"it has no kernel {name!r}")
    return _IMPLEMENTATIONS[name, backend]


def backend(wanted: str = "auto") -> str:
    """The backend to put batches on: ``wanted`` (auto, cpu or cuda), where auto is what AIMDS_BACKEND says, and auto
    there, the default, is cuda where it runs.

    Raises:
        ConfigError: another value.
        BackendError: cuda is asked for and cannot run here; there is no silent fall back.
    """
    key = "backend"
    if wanted == "auto":
        key, wanted = VARIABLE, os.environ.get(VARIABLE, "auto")
    if wanted not in ("auto", *BACKENDS):
        raise ConfigError(key, wanted, "auto, cpu or cuda")
    problem = _cuda_problem() if wanted != "cpu" else ""
    if wanted == "cuda" and problem:
        raise BackendError("cuda", problem)
    return "cuda" if wanted != "cpu" and not problem else "cpu"


def choose(kernel: str, arguments: Sequence[Any]) -> str:
    """The backend for these arguments: the one they live on, whatever `backend` says of where to put new ones.

    Raises:
        KernelError: some live on the CPU and some on a GPU.
    """
    if _PLAIN.issuperset(map(type, arguments)):
        return "cpu"
    host = device = False
    for argument in arguments:
        if type(argument) is np.ndarray:
            host = True
        elif not isinstance(argument, int | np.integer):
            on_device = hasattr(argument, "__cuda_array_interface__")
            host, device = host or not on_device, device or on_device
    if host and device:
        raise KernelError(kernel, "arguments", "some live on the CPU and some on a GPU")
    return "cuda" if device else "cpu"


def _known(name: str) -> None:
    if name not in SPECS:
        raise KernelError(name, "name", f"no such kernel; there are {', '.join(SPECS)}")


@functools.cache
def _has_cuda_kernels() -> bool:
    return find_spec("aimds.kernels.cuda") is not None


def _cuda_problem() -> str:
    if not _has_cuda_kernels():
        return "this version has no CUDA kernels"
    return str(import_module("aimds.kernels.cuda").problem())
