"""What signatures need, as hashed pieces of four bytes: a text without them is spared the regular expression.

A text's pieces become bits of a small table; a literal may stand in the text only where the bits of its own pieces
are set. Two pieces may share a bit, so a text is spared too seldom, never too often. B. H. Bloom, Space/time
trade-offs in hash coding with allowable errors, 1970, doi:10.1145/362686.362692.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

BITS = 1 << 16
MOST_PIECES = 6
"""Pieces looked up of one literal."""
_FACTOR = 2654435761


def _slot(key: int) -> int:
    return (key * _FACTOR >> 12) & (BITS - 1)


def _pieces(literal: bytes) -> list[int]:
    # Four bytes each, and of a literal of three the three; that is all that is looked up of it.
    width = min(4, len(literal))
    most = min(len(literal) - width + 1, MOST_PIECES)
    return [_slot(int.from_bytes(literal[k : k + width], "little")) for k in range(most)]


def program(sets: Iterable[frozenset[str]]) -> list[int]:
    """Sets of literals of three bytes or more, flat: set by set the count of what follows, then its literals.

    A literal is the number of its pieces and their slots.
    """
    flat: list[int] = []
    for literals in sets:
        slots = [_pieces(literal.encode()) for literal in sorted(literals)]
        body = [n for pieces in slots for n in (len(pieces), *pieces)]
        flat += [len(body), *body]
    return flat


@njit(cache=True, nogil=True)
def marked(table, values, low, high):  # type: ignore[no-untyped-def]
    """Sets in ``table``, uint64 (BITS / 64,), the bits of the pieces of ``values[low:high]``, and clears the others.

    O(high − low).
    """
    table[:] = 0
    key = np.uint64(0)
    for at in range(low, high):
        key = (key >> np.uint64(8)) | (np.uint64(values[at]) << np.uint64(24))
        length = at - low + 1
        if length >= 4:
            _mark(table, key)
        if length >= 3:
            _mark(table, key >> np.uint64(8))


@njit(cache=True, nogil=True)
def _mark(table, key):  # type: ignore[no-untyped-def]
    slot = (key * np.uint64(_FACTOR) >> np.uint64(12)) & np.uint64(BITS - 1)
    table[slot >> np.uint64(6)] |= np.uint64(1) << (slot & np.uint64(63))


@njit(cache=True, nogil=True)
def met(table, flat, at, last):  # type: ignore[no-untyped-def]
    """Whether of each set of the `program` ``flat[at:last]`` some literal has all its pieces in ``table``."""
    while at < last:
        end = at + 1 + flat[at]
        at += 1
        some = False
        while at < end and not some:
            count = flat[at]
            some = True
            for k in range(at + 1, at + 1 + count):
                slot = np.uint64(flat[k])
                if not (table[slot >> np.uint64(6)] >> (slot & np.uint64(63))) & np.uint64(1):
                    some = False
                    break
            at += 1 + count
        if not some:
            return False
        at = end
    return True
