"""A timing wheel for bulk work: earliest deadline first within priority classes, in one flat int64 array of state.

Per class 4,096 ticks of 65,536 ns behind an occupancy bitmap, tasks in linked lists through their slots; what lies past
the last tick waits in a heap. Tasks of one class and tick leave in the order they came. Whether a task should be taken
at all is said by `aimds.respond.scheduling.slack`, whose book lies in the same array.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from numba import njit, types

from aimds.kernels.cpu.bits import trailing_zeros
from aimds.kernels.cpu.jit import I64, reads, writes

CLASSES: Final = 4
TICK_BITS: Final = 16
TICKS: Final = 4096
FULL: Final = -2

# Words of the header; those with a class are the first of four.
CAPACITY, PENDING, ORDERS, NOW, FREE_TOP, AGING, ADMISSION, TRACKED, RUNNING = range(9)
BASE, OVER, HEADS = range(16, 28, 4)
PUSHED, NO_ROOM, DISPATCHED, CANCELLED, LATE_START, COMPLETED, LATE_END = range(32, 60, 4)

BOOK: Final = 64
"""Where the book begins. Its words stand in `slack` under the same names, less this."""
CLOCK, RUNNING_WORK, WORK, OVERDUE, STALE, CELLS = (BOOK + place for place in (0, 1, 4, 8, 12, 24))
SUMS: Final = CELLS + CLASSES * 256
UNIT_BITS, GRANULE_BITS, HORIZON = 10, 20, 240
MAX_COST: Final = 1 << 40
LOW: Final = 0xFFFFFFFF
"""Of a number so masked it is known that it does not count from the end."""

WORDS: Final = TICKS // 64
BITS: Final = SUMS + CLASSES * 32
LISTS: Final = BITS + CLASSES * (WORDS + 1)
SLOTS: Final = LISTS + CLASSES * TICKS * 2
"""Where the slots begin. Then come the free slots and a heap a class, each as long as the capacity."""

SLOT: Final = 8
DEADLINE, TICK, ORDER, NEXT, PREVIOUS, PLACE, COST, TAG = range(8)
"""PLACE: the granule in the book above the class. TAG: how often the slot was used above what its task does."""
FREE, WAITING, OVERFLOWN, AT_WORK = range(4)

# The GIL is kept: a call is over before another thread could take it.
_kept = partial(njit, cache=True)


@_kept(types.boolean(writes(I64), I64, I64))
def _before(state: Any, a: Any, b: Any) -> Any:
    # Places of two slots: whether the first is due before the second.
    tick, other = state[a + TICK], state[b + TICK]
    return tick < other or (tick == other and state[a + ORDER] < state[b + ORDER])


@_kept(types.void(writes(I64), I64, I64, I64))
def _settle(state: Any, p: Any, place: Any, slot: Any) -> None:
    # Puts ``slot`` into the heap of class ``p``, at ``place`` or where it belongs; a node has four children.
    heap, count = SLOTS + state[0] * (SLOT + 1 + p), state[OVER + p]
    at = SLOTS + slot * SLOT
    while place > 0:
        parent = (place - 1) >> 2
        other = state[heap + parent]
        if not _before(state, at, SLOTS + other * SLOT):
            break
        state[heap + place] = other
        state[SLOTS + other * SLOT + NEXT] = place
        place = parent
    while True:
        child = 4 * place + 1
        if child >= count:
            break
        least = child
        for other in range(child + 1, min(child + 4, count)):
            if _before(state, SLOTS + state[heap + other] * SLOT, SLOTS + state[heap + least] * SLOT):
                least = other
        moved = state[heap + least]
        if not _before(state, SLOTS + moved * SLOT, at):
            break
        state[heap + place] = moved
        state[SLOTS + moved * SLOT + NEXT] = place
        place = least
    state[heap + place] = slot
    state[at + NEXT] = place


@_kept(types.void(writes(I64), I64, I64))
def _out_of_heap(state: Any, p: Any, place: Any) -> None:
    heap = SLOTS + state[0] * (SLOT + 1 + p)
    state[OVER + p] -= 1
    last = state[heap + state[OVER + p]]
    if place < state[OVER + p]:
        _settle(state, p, place, last)


@_kept(types.void(writes(I64), I64, I64))
def _link(state: Any, p: Any, slot: Any) -> None:
    at = SLOTS + slot * SLOT
    bucket = state[at + TICK] & (TICKS - 1)
    ends = LISTS + 2 * (p * TICKS + bucket)
    last = state[ends + 1]
    state[at + NEXT], state[at + PREVIOUS] = -1, last
    if last >= 0:
        state[SLOTS + (last & LOW) * SLOT + NEXT] = slot
    else:
        state[ends] = slot
        words = BITS + p * (WORDS + 1)
        state[words + (bucket >> 6)] |= np.int64(1) << (bucket & 63)
        state[words + WORDS] |= np.int64(1) << (bucket >> 6)
    state[ends + 1] = slot
    state[at + TAG] = (state[at + TAG] & ~3) | WAITING


@_kept(types.void(writes(I64), I64, I64))
def _unlink(state: Any, p: Any, slot: Any) -> None:
    at = SLOTS + slot * SLOT
    bucket = state[at + TICK] & (TICKS - 1)
    ends = LISTS + 2 * (p * TICKS + bucket)
    after, before = state[at + NEXT], state[at + PREVIOUS]
    if after >= 0:
        state[SLOTS + (after & LOW) * SLOT + PREVIOUS] = before
    else:
        state[ends + 1] = before
    if before >= 0:
        state[SLOTS + (before & LOW) * SLOT + NEXT] = after
    else:
        state[ends] = after
        if after < 0:
            words = BITS + p * (WORDS + 1)
            left = state[words + (bucket >> 6)] & ~(np.int64(1) << (bucket & 63))
            state[words + (bucket >> 6)] = left
            if left == 0:
                state[words + WORDS] &= ~(np.int64(1) << (bucket >> 6))


@_kept(types.boolean(writes(I64), I64, I64, I64))
def _first_out(state: Any, p: Any, ends: Any, after: Any) -> Any:
    # Takes the first out of the list ``ends`` of class ``p``; ``after``: the next one. Whether one is left.
    state[ends] = after
    if after >= 0:
        state[SLOTS + (after & LOW) * SLOT + PREVIOUS] = -1
        return True
    state[ends + 1] = -1
    bucket, words = ((ends - LISTS) >> 1) & (TICKS - 1), BITS + p * (WORDS + 1)
    left = state[words + (bucket >> 6)] & ~(np.int64(1) << (bucket & 63))
    state[words + (bucket >> 6)] = left
    if left == 0:
        state[words + WORDS] &= ~(np.int64(1) << (bucket >> 6))
    return False


@_kept(I64(writes(I64), I64))
def _due(state: Any, p: Any) -> Any:
    # The tick of the next task of class ``p``, in the wheel or past its end; -1 where there is none.
    words = BITS + p * (WORDS + 1)
    summary = np.uint64(state[words + WORDS])
    if summary == 0:
        if state[OVER + p] == 0:
            return np.int64(-1)
        return state[SLOTS + state[SLOTS + state[0] * (SLOT + 1 + p)] * SLOT + TICK]
    start = state[BASE + p] & (TICKS - 1)
    found = start >> 6
    word = np.uint64(state[words + found]) >> np.uint64(start & 63) << np.uint64(start & 63)
    if word == 0:
        above = summary >> np.uint64(found) >> np.uint64(1) << np.uint64(1) << np.uint64(found)
        found = np.int64(trailing_zeros(above if above != 0 else summary))
        word = np.uint64(state[words + found])
    return state[BASE + p] + (((found << 6) + np.int64(trailing_zeros(word)) - start) & (TICKS - 1))


@_kept(types.void(writes(I64), I64))
def _advance(state: Any, now: Any) -> None:
    # The window of a class begins at its earliest task or now, whichever comes first. Time never runs back.
    state[NOW] = now
    tick = now >> TICK_BITS
    for p in range(CLASSES):
        if tick <= state[BASE + p]:
            continue
        first = _due(state, p)
        state[BASE + p] = tick if first < 0 else min(first, tick)
        while state[OVER + p] > 0:
            slot = state[SLOTS + state[0] * (SLOT + 1 + p)]
            if state[SLOTS + slot * SLOT + TICK] >= state[BASE + p] + TICKS:
                break
            _out_of_heap(state, p, 0)
            _link(state, p, slot)


@_kept(types.void(writes(I64), I64, I64, I64))
def _unbook(state: Any, p: Any, granule: Any, cost: Any) -> None:
    # What the task would have taken no longer lies ahead of others.
    state[WORK + p] -= cost
    if granule < state[CLOCK]:
        state[OVERDUE + p] -= cost
    else:
        block = (granule >> 4) & 15
        state[CELLS + p * 256 + (granule & 255)] -= cost
        state[SUMS + 2 * (p * 16 + block)] -= cost
        state[STALE + p] |= np.int64(1) << block


@_kept(I64(writes(I64), reads(I64, 2), I64, writes(I64)))
def push(state: Any, tasks: Any, now: Any, handles: Any) -> Any:
    """Take ``tasks`` int64 (B, 3) of class, deadline and cost, in order; gives the number taken, and in ``handles``
    int64 (B,) a handle or FULL for each. With admission, rows with a negative handle are passed over."""
    if now > state[NOW]:
        _advance(state, now)
    tick_now, admission, capacity = state[NOW] >> TICK_BITS, state[ADMISSION], state[0] & LOW
    top, order = state[FREE_TOP], state[ORDERS]
    for row in range(len(tasks)):
        p, deadline = tasks[row, 0] & 3, tasks[row, 1]
        if admission and handles[row] < 0:
            continue
        cost = max((min(tasks[row, 2], MAX_COST) + (1 << UNIT_BITS) - 1) >> UNIT_BITS, 1)
        granule = min(max(deadline >> GRANULE_BITS, state[CLOCK]), state[CLOCK] + HORIZON - 1)
        if top == 0:
            handles[row] = FULL
            state[NO_ROOM + p] += 1
            if admission:
                _unbook(state, p, granule, cost)
            continue
        top -= 1
        slot = state[SLOTS + capacity * SLOT + (top & LOW)] & LOW
        at = SLOTS + slot * SLOT
        tick = max(deadline >> TICK_BITS, tick_now)
        state[at + DEADLINE], state[at + TICK], state[at + ORDER] = deadline, tick, order
        state[at + PLACE], state[at + COST] = granule << 2 | p, cost
        order += 1
        if tick < state[BASE + p] + TICKS:
            _link(state, p, slot)
        else:
            state[at + TAG] = (state[at + TAG] & ~3) | OVERFLOWN
            state[OVER + p] += 1
            _settle(state, p, state[OVER + p] - 1, slot)
        handles[row] = slot | (state[at + TAG] >> 2) << 32
        state[PUSHED + p] += 1
    taken = order - state[ORDERS]
    state[FREE_TOP], state[ORDERS] = top, order
    state[PENDING] += taken
    return taken


@_kept(types.void(writes(I64), I64))
def _release(state: Any, slot: Any) -> None:
    # The tag moves on, so that a handle of the old task fits nothing.
    at = SLOTS + slot * SLOT
    state[at + TAG] = ((state[at + TAG] & ~3) + 4) & 0x1FFFFFFFF
    top = state[FREE_TOP] & LOW
    state[SLOTS + (state[0] & LOW) * SLOT + top] = slot
    state[FREE_TOP] = top + 1


@_kept(I64(writes(I64), I64, I64, writes(I64)))
def pop(state: Any, now: Any, most: Any, handles: Any) -> Any:
    """Take out at most ``most`` tasks, their handles to the front of ``handles``; gives their number. The next one has
    the lowest class once aging is counted, then the earliest tick, then the lowest class, then came first."""
    if now > state[NOW]:
        _advance(state, now)
    time, tick_now, aging = state[NOW], state[NOW] >> TICK_BITS, state[AGING]
    admission, tracked, capacity = state[ADMISSION], state[TRACKED], state[0] & LOW
    for p in range(CLASSES):
        state[HEADS + p] = _due(state, p)
    wanted = min(most, len(handles), state[PENDING])
    best, chosen = np.int64(0), False
    free, top = SLOTS + capacity * SLOT, state[FREE_TOP] & LOW
    for done in range(wanted):
        if not chosen:
            best, rank = np.int64(0), np.int64(CLASSES)
            for p in range(CLASSES):
                tick = state[HEADS + p]
                if tick < 0:
                    continue
                own = np.int64(p)
                if aging > 0 and p > 1 and tick_now > tick:
                    own = max(own - (tick_now - tick) // aging, np.int64(1))
                if own < rank or (own == rank and tick < state[HEADS + best]):
                    best, rank = np.int64(p), own
        bucket = LISTS + 2 * (best * TICKS + (state[HEADS + best] & (TICKS - 1)))
        slot = state[bucket]
        if slot >= 0:
            slot &= LOW
            at = SLOTS + slot * SLOT
            chosen = _first_out(state, best, bucket, state[at + NEXT])
        else:
            slot = state[SLOTS + capacity * (SLOT + 1 + best)] & LOW
            _out_of_heap(state, best, 0)
            at, chosen = SLOTS + slot * SLOT, False
        if not chosen:
            state[HEADS + best] = _due(state, best)
        state[DISPATCHED + best] += 1
        if time > state[at + DEADLINE]:
            state[LATE_START + best] += 1
        tag = state[at + TAG]
        handles[done] = slot | (tag >> 2) << 32
        if admission:
            _unbook(state, best, state[at + PLACE] >> 2, state[at + COST])
        if tracked:
            state[at + TAG] = (tag & ~3) | AT_WORK
            state[RUNNING] += 1
            state[RUNNING_WORK] += state[at + COST]
        else:
            # As `_release` does it.
            state[at + TAG] = ((tag & ~3) + 4) & 0x1FFFFFFFF
            state[free + top] = slot
            top += 1
    state[FREE_TOP] = top
    state[PENDING] -= wanted
    return wanted


@_kept(I64(writes(I64), I64, reads(I64), I64))
def leave(state: Any, now: Any, handles: Any, begun: Any) -> Any:
    """Cancel those of ``handles`` that wait or, where ``begun``, end those that were popped; gives their number, and
    counts what ends past its deadline. Other handles do nothing."""
    gone = 0
    for handle in handles:
        slot = handle & LOW
        at = SLOTS + slot * SLOT
        if handle < 0 or slot >= state[0] or state[at + TAG] >> 2 != handle >> 32:
            continue
        p, where, cost = state[at + PLACE] & 3, state[at + TAG] & 3, state[at + COST]
        if where == FREE or (where == AT_WORK) != (begun != 0):
            continue
        if where == AT_WORK:
            state[RUNNING] -= 1
            state[RUNNING_WORK] -= cost
            state[COMPLETED + p] += 1
            if now > state[at + DEADLINE]:
                state[LATE_END + p] += 1
        else:
            if where == WAITING:
                _unlink(state, p, slot)
            else:
                _out_of_heap(state, p, state[at + NEXT])
            state[PENDING] -= 1
            state[CANCELLED + p] += 1
            if state[ADMISSION]:
                _unbook(state, p, state[at + PLACE] >> 2, cost)
        _release(state, slot)
        gone += 1
    return gone
