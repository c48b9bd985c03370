"""concept_pairs on the CPU: a slot for each feature of a row, in a table that the rows share."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged
from aimds.kernels.cpu.jit import F32, I32, I64, U8, compiled, reads, writes
from aimds.kernels.pairs import FEATURES, LONE
from aimds.kernels.registry import register

Offsets = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]
Counts = npt.NDArray[np.float32]

SPREAD: Final = np.uint32(0x9E3779B1)


@compiled(
    I64(reads(U8), reads(I64), I64, I64, I64, writes(I64), writes(I64), writes(I32), writes(F32)),
    _nrt=False,
)
def _features(
    concept: Any,  # uint8 (K,)
    offsets: Any,  # int64 (B+1,)
    first: Any,
    last: Any,
    reach: Any,
    place: Any,  # int64, a power of two of slots, all -1
    indptr: Any,  # int64 (last - first + 1,)
    indices: Any,  # int32 (Z,)
    counts: Any,  # float32 (Z,)
) -> Any:
    # Each feature of a row has a slot of its own: what stands there from the rows before is free.
    mask, shift = np.int64(len(place) - 1), np.uint32(32)
    while np.int64(1) << (32 - np.int64(shift)) < len(place):
        shift -= np.uint32(1)
    n = np.int64(0)
    indptr[0] = 0
    for row in range(first, last):
        begun = n
        for i in range(offsets[row], offsets[row + 1]):
            for j in range(i, min(i + reach + 1, offsets[row + 1])):
                a, b = np.int64(concept[i]), np.int64(concept[j])
                if j == i:
                    b = np.int64(LONE)
                elif a > b:
                    a, b = b, a
                at = a * 256 + b
                slot = np.int64(np.uint32(np.uint32(at) * SPREAD) >> shift)
                while place[slot] >= begun and indices[place[slot]] != at:
                    slot = (slot + 1) & mask
                if place[slot] < begun:
                    place[slot] = n
                    indices[n], counts[n] = at, 1.0
                    n += 1
                else:
                    counts[place[slot]] += np.float32(1.0)
        indptr[row - first + 1] = n
    return n


@register("concept_pairs", "cpu")
def concept_pairs(
    concept: npt.NDArray[np.uint8], concept_offsets: Offsets, reach: int, *, threads: int
) -> tuple[Offsets, Ints, Counts]:
    longest = ragged.longest(concept_offsets)
    slots = 1 << max(4, (min(2 * longest * (reach + 1), FEATURES) - 1).bit_length())

    def part(first: int, last: int) -> tuple[Offsets, Ints, Counts]:
        room = int(concept_offsets[last] - concept_offsets[first]) * (reach + 1)
        indptr, indices, counts = (
            np.empty(last - first + 1, np.int64),
            np.empty(room, np.int32),
            np.empty(room, np.float32),
        )
        place = np.empty(slots, np.int64)
        place.fill(-1)
        n = _features(concept, concept_offsets, first, last, reach, place, indptr, indices, counts)
        return indptr, indices[:n].copy(), counts[:n].copy()

    return ragged.rejoined(ragged.each(part, concept_offsets, threads) or [part(0, 0)])
