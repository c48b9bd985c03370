"""Bit counts that numba has no name for, as the LLVM operations."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), generate


def _ones(typing_context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


trailing_zeros: Any = intrinsic(_trailing_zeros)
"""Zero bits below the lowest one of a uint64; the word must not be 0."""

ones: Any = intrinsic(_ones)
"""Bits set in an unsigned word, as a word of the same width."""
