"""Which session lives in which slot: a hash table and a list by last use, all in arrays of a fixed size.

A session is known by 128 bits of a hash. When every slot is taken, the session that was seen longest ago makes room.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.kernels.cpu.jit import F64, I32, I64, U64, compiled, reads, writes

Slots = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

HEAD: Final = 0
TAIL: Final = 1
USED: Final = 2
FREE: Final = 3
"""Places in ``state``: newest slot, oldest slot, slots in use, first free slot; -1 for none."""


@compiled(I64(reads(I32), reads(U64, 2), U64, U64))
def _find(index: Any, keys: Any, high: Any, low: Any) -> Any:
    # The place in the index that holds the key, or the free one where it would go.
    mask = np.uint64(len(index) - 1)
    place = high & mask
    while index[place] >= 0:
        slot = index[place]
        if keys[slot, 0] == high and keys[slot, 1] == low:
            return np.int64(place)
        place = (place + np.uint64(1)) & mask
    return np.int64(place)


@compiled(I64(writes(I32, 2), writes(I64), I64))
def _unlink(links: Any, state: Any, slot: Any) -> Any:
    newer, older = links[slot, 0], links[slot, 1]
    if newer >= 0:
        links[newer, 1] = older
    else:
        state[0] = older
    if older >= 0:
        links[older, 0] = newer
    else:
        state[1] = newer
    return slot


@compiled(I64(writes(I32), writes(U64, 2), writes(I32, 2), writes(I64), I64))
def _drop(index: Any, keys: Any, links: Any, state: Any, slot: Any) -> Any:
    mask = np.uint64(len(index) - 1)
    hole = np.uint64(_find(index, keys, keys[slot, 0], keys[slot, 1]))
    index[hole] = -1
    place = (hole + np.uint64(1)) & mask
    # Linear probing: what stands behind the hole and would be looked for through it moves into it.
    while index[place] >= 0:
        home = keys[index[place], 0] & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index[hole] = index[place]
            index[place] = -1
            hole = place
        place = (place + np.uint64(1)) & mask
    _unlink(links, state, slot)
    links[slot, 0], links[slot, 1] = state[3], -1
    state[3] = slot
    state[2] -= 1
    return slot


@compiled(
    I64(
        *(writes(I32), writes(U64, 2), writes(I32, 2), writes(I64), writes(F64)),
        *(reads(U64, 2), F64, writes(I64), writes(I64)),
    )
)
def _admit(
    index: Any,  # int32 (2 ** k,): slot or -1
    keys: Any,  # uint64 (capacity, 2)
    links: Any,  # int32 (capacity, 2): the next newer and the next older slot; of a free slot, the next free one
    state: Any,  # int64 (4,)
    seen: Any,  # float64 (capacity,)
    wanted: Any,  # uint64 (B, 2)
    now: Any,
    slots: Any,  # int64 (B,)
    fresh: Any,  # int64 (capacity,): slots that begin anew, in order
) -> Any:
    begun = 0
    for row in range(len(wanted)):
        high, low = wanted[row, 0], wanted[row, 1]
        place = _find(index, keys, high, low)
        slot = np.int64(index[place])
        if slot < 0:
            if state[3] < 0:
                _drop(index, keys, links, state, state[1])
                place = _find(index, keys, high, low)
            slot = state[3]
            state[3] = links[slot, 0]
            index[place] = slot
            keys[slot, 0], keys[slot, 1] = high, low
            state[2] += 1
            fresh[begun] = slot
            begun += 1
        else:
            _unlink(links, state, slot)
        links[slot, 0], links[slot, 1] = -1, state[0]
        if state[0] >= 0:
            links[state[0], 0] = slot
        else:
            state[1] = slot
        state[0] = slot
        seen[slot] = now
        slots[row] = slot
    return begun


@compiled(I64(reads(I32, 2), I64, writes(I64)))
def _walk(links: Any, slot: Any, out: Any) -> Any:
    for place in range(len(out)):
        out[place] = slot
        slot = np.int64(links[slot, 0])
    return slot


class SlotTable:
    """At most ``capacity`` sessions."""

    def __init__(self, capacity: int) -> None:
        if not 1 <= capacity < 1 << 30:
            raise ConfigError("capacity", capacity, "a number of sessions from 1 to 2 ** 30 - 1")
        self.capacity = capacity
        self.index = np.full(1 << (2 * capacity - 1).bit_length(), -1, np.int32)
        self.keys = np.zeros((capacity, 2), np.uint64)
        self.links = np.full((capacity, 2), -1, np.int32)
        self.links[:-1, 0] = np.arange(1, capacity)
        self.state = np.array([-1, -1, 0, 0], np.int64)
        self.seen = np.zeros(capacity, np.float64)

    def __len__(self) -> int:
        return int(self.state[USED])

    def admit(self, keys: Keys, now: float) -> tuple[Slots, Slots]:
        """The slot of each session of ``keys`` uint64 (B, 2), and those slots that begin anew, int64; B is at most
        ``capacity``, so that no row takes the slot of another."""
        slots, fresh = np.empty(len(keys), np.int64), np.empty(min(len(keys), self.capacity), np.int64)
        begun = _admit(self.index, self.keys, self.links, self.state, self.seen, keys, now, slots, fresh)
        return slots, fresh[:begun]

    def find(self, keys: Keys) -> Slots:
        """The slot of each session of ``keys`` uint64 (B, 2), int64, -1 for one that is not there."""
        found = [int(self.index[_find(self.index, self.keys, high, low)]) for high, low in keys]
        return np.array(found, np.int64)

    def drop(self, slot: int) -> None:
        """Forget the session in ``slot``."""
        _drop(self.index, self.keys, self.links, self.state, slot)

    def expire(self, before: float) -> int:
        """Forget sessions not seen since ``before``, in the order in which they were last seen; how many."""
        gone = 0
        while self.state[TAIL] >= 0 and self.seen[self.state[TAIL]] < before:
            self.drop(int(self.state[TAIL]))
            gone += 1
        return gone

    def oldest_first(self) -> Slots:
        """The slots in use by last use, int64."""
        out = np.empty(len(self), np.int64)
        _walk(self.links, self.state[TAIL], out)
        return out
