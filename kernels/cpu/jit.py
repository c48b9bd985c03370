"""How the CPU kernels are compiled: signatures are given, so that loading a module compiles it and no call ever does.

Inputs are declared read-only: numba then takes both read-only arrays (Arrow buffers) and writable ones.
"""

from __future__ import annotations

from typing import Any, Final, cast

from numba import njit, types


def compiled(*signatures: Any, **options: Any) -> Any:
    """Decorator: compile for ``signatures``, without the GIL, machine code kept on disk.

    numba finds out by the time stamp of the function's own file whether the code on disk is still good. So a compiled
    function calls none of another module, but the operations of bits.py. Constants of a format that are shared with the
    CUDA side (hashing, stems, pairs) are compiled in: whoever changes one runs ``make clean``.
    """
    return njit(list(signatures), cache=True, nogil=True, **options)


lean: Final[Any] = cast(Any, njit)(cache=True, nogil=True, _nrt=False)
"""Decorator: a step of a kernel of the same file that is called. Who holds an array is not counted, which would be done
at each call, so it can allocate none."""


inlined: Final = njit(inline="always")
"""Decorator: a step of a kernel of the same file, written out where it is called."""


def reads(dtype: Any, axes: int = 1) -> Any:
    """A C-contiguous input array."""
    return types.Array(dtype, axes, "C", readonly=True)


def writes(dtype: Any, axes: int = 1) -> Any:
    """A C-contiguous array that the function fills."""
    return types.Array(dtype, axes, "C")


I64: Final = types.int64
I32: Final = types.int32
I16: Final = types.int16
I8: Final = types.int8
U64: Final = types.uint64
U32: Final = types.uint32
U16: Final = types.uint16
U8: Final = types.uint8
F32: Final = types.float32
F64: Final = types.float64
