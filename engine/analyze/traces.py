"""What is remembered of a session between its turns: packed arrays, a row a session, and the step that a turn is.

Turns are kept in order of their number (or time), those of equal order as they came. A turn that is there already, or
that is older than all that is kept, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.analyze.rephrase import DIMS
from aimds.analyze.turns import Marks, Turns
from aimds.kernels.cpu.jit import F32, F64, I8, I32, I64, U8, U32, compiled, reads, writes

LOOKBACK: Final = 4
"""Turns of the user that a new one is compared with."""


@compiled(
    I64(
        *(writes(F32, 2), writes(I64, 2), writes(U32, 2), writes(I32), writes(I64)),
        *(writes(I8, 3), writes(I32), writes(U8), writes(F32, 2), writes(U8)),
        *(reads(I64), reads(U8), reads(F64), reads(I64), reads(I64), reads(U8), reads(U32), reads(I8, 2), reads(U8)),
        *(writes(F64), writes(I64), writes(F64), writes(U8)),
    )
)
def follow(
    values: Any,  # float32 (capacity, window): surprises
    orders: Any,  # int64 (capacity, window)
    idents: Any,  # uint32 (capacity, window)
    counts: Any,  # int32 (capacity,): turns kept
    latest: Any,  # int64 (capacity,): highest order met
    prints: Any,  # int8 (capacity, LOOKBACK, DIMS): the user's last turns, round robin
    printed: Any,  # int32 (capacity,): turns of the user met
    refusals: Any,  # uint8 (capacity,): the assistant's last turn was a refusal
    found: Any,  # float32 (capacity, 2): the closest rephrasing, the largest gain of joined turns
    scales: Any,  # uint8 (capacity,): its turns go by 1 numbers, 2 times, as the first one that has any; 0 nothing yet
    slots: Any,  # int64 (B,)
    kinds: Any,  # uint8 (B,)
    surprises: Any,  # float64 (B,), not a number where nobody judged
    numbers: Any,  # int64 (B,)
    times: Any,  # int64 (B,)
    ordered: Any,  # uint8 (B,): 1 where the row has a number, and 2 where it has a time
    names: Any,  # uint32 (B,)
    fingerprints: Any,  # int8 (B, DIMS)
    refused: Any,  # uint8 (B,)
    out: Any,  # float64 (B * window,): what is kept after each row
    offsets: Any,  # int64 (B+1,)
    closest: Any,  # float64 (B,): the closest rephrasing so far
    counted: Any,  # uint8 (B,): whether the row is a turn that was not there yet
) -> Any:
    window = values.shape[1]
    position = 0
    for row in range(len(slots)):
        slot = slots[row]
        counted[row] = 0
        if kinds[row] <= 1 and not np.isnan(surprises[row]):
            kept = counts[slot]
            if scales[slot] == 0:
                scales[slot] = 1 if ordered[row] & 1 else ordered[row]
            placed = ordered[row] & scales[slot]
            # What has no order by this scale comes last.
            order = latest[slot]
            if placed:
                order = numbers[row] if scales[slot] == 1 else times[row]
            place = kept
            while place and orders[slot, place - 1] > order:
                place -= 1
            known = place == 0 and kept == window
            for i in range(kept):
                known |= orders[slot, i] == order and idents[slot, i] == names[row]
                if not placed:
                    known |= idents[slot, i] == names[row]
            if not known:
                if kept == window:
                    place -= 1
                    for i in range(place):
                        values[slot, i] = values[slot, i + 1]
                        orders[slot, i] = orders[slot, i + 1]
                        idents[slot, i] = idents[slot, i + 1]
                else:
                    for i in range(kept, place, -1):
                        values[slot, i] = values[slot, i - 1]
                        orders[slot, i] = orders[slot, i - 1]
                        idents[slot, i] = idents[slot, i - 1]
                    counts[slot] = kept + 1
                values[slot, place], orders[slot, place], idents[slot, place] = surprises[row], order, names[row]
                counted[row] = 1
                latest[slot] = order if kept == 0 else max(latest[slot], order)
                if kinds[row] == 1:
                    if refusals[slot]:
                        for i in range(min(printed[slot], prints.shape[1])):
                            product = np.int32(0)
                            for d in range(prints.shape[2]):
                                product += np.int32(prints[slot, i, d]) * np.int32(fingerprints[row, d])
                            found[slot, 0] = max(found[slot, 0], np.float32(product / 16129.0))
                    ring = printed[slot] % prints.shape[1]
                    for d in range(prints.shape[2]):
                        prints[slot, ring, d] = fingerprints[row, d]
                    printed[slot] += 1
        elif kinds[row] == 2:
            refusals[slot] = refused[row]
        offsets[row] = position
        for i in range(counts[slot]):
            out[position] = values[slot, i]
            position += 1
        closest[row] = found[slot, 0]
    offsets[len(slots)] = position
    return position


@compiled(I64(writes(F32, 2), reads(I64), reads(F64), reads(F64), writes(F64)))
def gained(
    found: Any,  # float32 (capacity, 2)
    slots: Any,  # int64 (B,)
    joined: Any,  # float64 (B,): surprise of the joined turns, not a number where there are none
    peaks: Any,  # float64 (B,): highest surprise of one turn
    largest: Any,  # float64 (B,): the largest gain so far
) -> Any:
    for row in range(len(slots)):
        if not np.isnan(joined[row]):
            gain = np.float32(joined[row] - peaks[row])
            found[slots[row], 1] = max(found[slots[row], 1], gain)
        largest[row] = found[slots[row], 1]
    return 0


@compiled(
    I64(
        *(writes(U8, 2), writes(I32), reads(I64), reads(U8), reads(U8), reads(I64)),
        *(writes(U8), writes(I64)),
    )
)
def stitched(
    tails: Any,  # uint8 (capacity, T): the end of what the user wrote
    sizes: Any,  # int32 (capacity,)
    slots: Any,  # int64 (B,)
    joins: Any,  # uint8 (B,): whether the row is input to be joined
    values: Any,  # uint8 (N,): its text
    text_offsets: Any,  # int64 (B+1,)
    out: Any,  # uint8 (B * (2 * T + 1),)
    offsets: Any,  # int64 (B+1,): empty rows where there is nothing to join
) -> Any:
    most = tails.shape[1]
    position = 0
    offsets[0] = 0
    for row in range(len(slots)):
        slot = slots[row]
        begin, stop = text_offsets[row], text_offsets[row + 1]
        if joins[row] and stop > begin:
            size = sizes[slot]
            if size and stop - begin < most:
                out[position : position + size] = tails[slot, :size]
                position += size
                out[position] = 32
                position += 1
                out[position : position + stop - begin] = values[begin:stop]
                position += stop - begin
            # What is kept: the end of the old tail, a space, the text; never the middle of a character.
            length = min(stop - begin, most)
            room = most - length - 1
            keep = min(size, max(room, 0))
            for i in range(keep):
                tails[slot, i] = tails[slot, size - keep + i]
            if keep:
                tails[slot, keep] = 32
                keep += 1
            tails[slot, keep : keep + length] = values[stop - length : stop]
            sizes[slot] = keep + length
            skip = 0
            while skip < min(3, sizes[slot]) and (tails[slot, skip] & 0xC0) == 0x80:
                skip += 1
            if skip:
                for i in range(sizes[slot] - skip):
                    tails[slot, i] = tails[slot, i + skip]
                sizes[slot] -= skip
        offsets[row + 1] = position
    return position


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept after each of B rows: ``values`` float64 (N,) and ``offsets`` int64 (B+1,), surprises in order ·
    ``closest`` float64 (B,): the closest rephrasing of what was refused · ``counted`` uint8 (B,): whether the row is a
    turn that was not there yet."""

    values: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    closest: npt.NDArray[np.float64]
    counted: npt.NDArray[np.uint8]


class Memory:
    """The turns of ``capacity`` sessions, ``window`` of each."""

    def __init__(self, capacity: int, window: int) -> None:
        self.window = window
        self.arrays: dict[str, npt.NDArray[Any]] = {
            "values": np.zeros((capacity, window), np.float32),
            "orders": np.zeros((capacity, window), np.int64),
            "idents": np.zeros((capacity, window), np.uint32),
            "counts": np.zeros(capacity, np.int32),
            "latest": np.zeros(capacity, np.int64),
            "prints": np.zeros((capacity, LOOKBACK, DIMS), np.int8),
            "printed": np.zeros(capacity, np.int32),
            "refusals": np.zeros(capacity, np.uint8),
            "found": np.zeros((capacity, 2), np.float32),
            "scales": np.zeros(capacity, np.uint8),
        }
        self._order = tuple(self.arrays)

    def follow(self, slots: npt.NDArray[np.int64], turns: Turns, marks: Marks) -> Seen:
        """Take in B rows, one after another; ``slots`` int64 (B,) are their sessions."""
        n = len(slots)
        out, offsets = np.empty(n * self.window, np.float64), np.empty(n + 1, np.int64)
        closest, counted = np.empty(n, np.float64), np.empty(n, np.uint8)
        size = follow(
            *(self.arrays[name] for name in self._order),
            *(slots, turns.kinds, turns.surprises, turns.numbers, turns.times, turns.ordered, turns.names),
            *(marks.prints, marks.refused, out, offsets, closest, counted),
        )
        return Seen(out[:size], offsets, closest, counted)
