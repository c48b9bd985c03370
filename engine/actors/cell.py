"""What runs in an actor: an object made from a name and plain arguments, asked by name of its method."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from aimds.errors import AimdsError, ConfigError

# An actor is one thread of work: libraries that start their own would fight over the same cores.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)
DEVICE = "AIMDS_DEVICE"


def found(target: str) -> Callable[..., Any]:
    """What ``target`` (module:callable) names.

    Raises:
        ConfigError: there is no such module or callable.
    """
    module, _, name = target.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("actor", target, f"module:callable ({error})") from error
    return made  # type: ignore[no-any-return]


class Cell:
    """Holds what ``target`` called with ``arguments`` gives; made at the first call, so that a restart makes it again.

    Args:
        path: folders that the process which starts the actor imports from.
        threads: threads a library may start.
    """

    def __init__(self, target: str, arguments: dict[str, Any], path: Sequence[str] = (), threads: int = 1) -> None:
        sys.path += [folder for folder in path if folder not in sys.path]
        os.environ.update(dict.fromkeys(ONE_THREAD, str(threads)))
        # Ray shows each actor its own GPU only, as number 0.
        os.environ.pop(DEVICE, None)
        self._target, self._arguments = target, arguments
        self._object: Any = None

    def _made(self) -> Any:
        if self._object is None:
            self._object = found(self._target)(**self._arguments)
        return self._object

    def ready(self) -> tuple[int, Any, str | None]:
        """Process id, what the object says of itself (`about`), and why it could not be made."""
        try:
            return os.getpid(), self._made().about(), None
        except AimdsError as error:
            return os.getpid(), None, str(error)

    def call(self, method: str, *arguments: Any) -> Any:
        """``method`` of the object; its answer."""
        return getattr(self._made(), method)(*arguments)

    def pulse(self) -> Any:
        """What the object says of what it is at (`pulse`), while it is at it; None before it is made."""
        return None if self._object is None else self._object.pulse()
