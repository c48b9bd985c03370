"""A timing wheel for bulk work: earliest deadline first within priority classes, in one flat int64 array of state.

Per class 4,096 ticks of 65,536 ns behind an occupancy bitmap, tasks in linked lists through their slots; what lies past
the last tick waits in a heap. A tree over the ticks of each class keeps the slack of what was admitted. Tasks of one
class and tick leave in the order they came.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types

from aimds.kernels.cpu.bits import trailing_zeros
from aimds.kernels.cpu.jit import I64, compiled, inlined, reads, writes

State = npt.NDArray[np.int64]

CLASSES: Final = 4
TICK_BITS: Final = 16
TICKS: Final = 4096
UNIT_BITS: Final = 10
UNITS_A_TICK: Final = 1 << (TICK_BITS - UNIT_BITS)
MAX_COST: Final = 1 << 40
REFUSED: Final = -1
FULL: Final = -2
NO_CLASS: Final = -3

# Words of the header; those with a class are the first of four.
CAPACITY: Final = 0
PENDING: Final = 1
SEQ: Final = 2
NOW: Final = 3
FREE_TOP: Final = 4
AGING: Final = 5
ADMISSION: Final = 6
TRACKED: Final = 7
RUNNING: Final = 8
RUNNING_WORK: Final = 9
BASE: Final = 16
OVER: Final = 20
WORK: Final = 24
HEADS: Final = 28
COUNTS: Final = 32
"""Counters, each by class, in the order of the names below."""
PUSHED, TURNED_AWAY, NO_ROOM, DISPATCHED, CANCELLED, LATE_START, COMPLETED, LATE_END = range(8)
HEADER: Final = 64

WORDS: Final = TICKS // 64
BITS: Final = HEADER
LISTS: Final = BITS + CLASSES * (WORDS + 1)
LEAVES: Final = 2 * TICKS
TREE: Final = LISTS + CLASSES * TICKS * 2
SLOTS: Final = TREE + CLASSES * LEAVES * 4
"""Where the slots begin. Then come the free slots and a heap a class, each as long as the capacity."""

SLOT: Final = 8
DEADLINE, TICK, ORDER, NEXT, PREVIOUS, CLASS, COST, TAG = range(8)
FREE, WAITING, OVERFLOWN, AT_WORK = range(4)
EMPTY: Final = 1 << 60


def new(capacity: int, *, aging_ns: int = 0, admission: bool = False, tracked: bool = False) -> State:
    """The state of an empty wheel for ``capacity`` tasks.

    Args:
        aging_ns: a task this much past its deadline counts as one class higher, twice as much as two, but never as
            class 0; 0: never.
        admission: `push` refuses what would be late, or make late what was admitted in its class.
        tracked: a task holds its slot, and its cost its place in the admission of others, until `complete`.
    """
    state = np.zeros(SLOTS + capacity * (SLOT + 1 + CLASSES), np.int64)
    state[CAPACITY], state[FREE_TOP] = capacity, capacity
    state[AGING], state[ADMISSION], state[TRACKED] = -(-aging_ns >> TICK_BITS), admission, tracked
    state[LISTS:TREE] = -1
    state[TREE + 1 : SLOTS : 2] = EMPTY
    free = SLOTS + capacity * SLOT
    state[free : free + capacity] = np.arange(capacity)[::-1]
    return state


def grown(state: State, capacity: int) -> State:
    """A wheel with the same tasks and room for ``capacity``; handles stay good."""
    old = int(state[CAPACITY])
    out = new(capacity)
    out[:SLOTS] = state[:SLOTS]
    out[CAPACITY] = capacity
    out[SLOTS : SLOTS + old * SLOT] = state[SLOTS : SLOTS + old * SLOT]
    was, free = SLOTS + old * SLOT, SLOTS + capacity * SLOT
    unused, more = int(state[FREE_TOP]), capacity - old
    out[free : free + more] = np.arange(old, capacity)[::-1]
    out[free + more : free + more + unused] = state[was : was + unused]
    out[FREE_TOP] = more + unused
    for p in range(CLASSES):
        start, to = was + (p + 1) * old, free + (p + 1) * capacity
        out[to : to + old] = state[start : start + old]
    return out


@inlined
def _before(state: Any, a: Any, b: Any) -> Any:
    # Places of two slots: whether the first is due before the second.
    if state[a + TICK] != state[b + TICK]:
        return state[a + TICK] < state[b + TICK]
    return state[a + ORDER] < state[b + ORDER]


@compiled(types.void(writes(I64), I64, I64, I64))
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


@compiled(types.void(writes(I64), I64, I64))
def _out_of_heap(state: Any, p: Any, place: Any) -> None:
    heap = SLOTS + state[0] * (SLOT + 1 + p)
    state[OVER + p] -= 1
    last = state[heap + state[OVER + p]]
    if place < state[OVER + p]:
        _settle(state, p, place, last)


@compiled(I64(writes(I64), I64, I64, I64))
def _weigh(state: Any, p: Any, tick: Any, cost: Any) -> Any:
    # Adds ``cost`` at ``tick``, whose list is as it will be; gives the least slack, in units and before time and work
    # ahead are taken off, of the tasks due at that tick or later. A node holds the work below it and the least of
    # (tick - work up to it) over its ticks with tasks. A window lies in two blocks of 4,096 ticks, and these take turns
    # in the halves of the tree.
    tree = TREE + p * LEAVES * 4
    node = LEAVES + (tick & (LEAVES - 1))
    total = state[tree + 2 * node] + cost
    occupied = state[LISTS + 2 * (p * TICKS + (tick & (TICKS - 1)))] >= 0
    best = tick * UNITS_A_TICK - total if occupied else np.int64(EMPTY)
    state[tree + 2 * node], state[tree + 2 * node + 1] = total, best
    slack = best
    # No branch on left or right: it would be guessed wrong at every second level.
    while node > 3:
        beside, right = tree + 2 * (node ^ 1), -(node & 1)
        work, other = state[beside], state[beside + 1]
        slack = min(slack - (work & right), other - total + (EMPTY & right))
        best = min(best - (work & right), other - (total & ~right))
        total += work
        node >>= 1
        state[tree + 2 * node], state[tree + 2 * node + 1] = total, best
    beside = tree + 2 * (node ^ 1)
    if (node & 1) == (state[BASE + p] >> 12) & 1:
        return min(slack, state[beside + 1] - total)
    return slack - state[beside]


@inlined
def _far_slack(state: Any, p: Any, cost: Any) -> Any:
    # The least slack of the tasks past the window, where ``cost`` more of their class comes before them.
    if state[OVER + p] == 0:
        return np.int64(EMPTY)
    top = state[SLOTS + state[0] * (SLOT + 1 + p)]
    return state[SLOTS + top * SLOT + TICK] * UNITS_A_TICK - state[WORK + p] - cost


@inlined
def _link(state: Any, p: Any, slot: Any) -> None:
    at = SLOTS + slot * SLOT
    tick = state[at + TICK]
    bucket = tick & (TICKS - 1)
    ends = LISTS + 2 * (p * TICKS + bucket)
    state[at + NEXT] = -1
    last = state[ends + 1]
    state[at + PREVIOUS] = last
    if last >= 0:
        state[SLOTS + last * SLOT + NEXT] = slot
    else:
        state[ends] = slot
        word = BITS + p * (WORDS + 1) + (bucket >> 6)
        state[word] |= np.int64(1) << (bucket & 63)
        state[BITS + p * (WORDS + 1) + WORDS] |= np.int64(1) << (bucket >> 6)
    state[ends + 1] = slot
    state[at + TAG] = (state[at + TAG] & ~3) | WAITING


@inlined
def _unlink(state: Any, p: Any, slot: Any) -> None:
    at = SLOTS + slot * SLOT
    tick = state[at + TICK]
    bucket = tick & (TICKS - 1)
    ends = LISTS + 2 * (p * TICKS + bucket)
    after, before = state[at + NEXT], state[at + PREVIOUS]
    if after >= 0:
        state[SLOTS + after * SLOT + PREVIOUS] = before
    else:
        state[ends + 1] = before
    if before >= 0:
        state[SLOTS + before * SLOT + NEXT] = after
    else:
        state[ends] = after
        if after < 0:
            word = BITS + p * (WORDS + 1) + (bucket >> 6)
            state[word] &= ~(np.int64(1) << (bucket & 63))
            if state[word] == 0:
                state[BITS + p * (WORDS + 1) + WORDS] &= ~(np.int64(1) << (bucket >> 6))
    if state[ADMISSION]:
        _weigh(state, p, tick, -state[at + COST])


@inlined
def _first(state: Any, p: Any) -> Any:
    # The earliest tick of the wheel with a task, -1 where there is none.
    words = BITS + p * (WORDS + 1)
    summary = np.uint64(state[words + WORDS])
    if summary == 0:
        return np.int64(-1)
    base = state[BASE + p]
    start = base & (TICKS - 1)
    word = start >> 6
    here = np.uint64(state[words + word]) >> np.uint64(start & 63)
    if here != 0:
        return base + np.int64(trailing_zeros(here))
    above = (summary >> np.uint64(word)) >> np.uint64(1)
    if above != 0:
        found = word + 1 + np.int64(trailing_zeros(above))
    else:
        found = np.int64(trailing_zeros(summary))
    bucket = (found << 6) + np.int64(trailing_zeros(np.uint64(state[words + found])))
    return base + ((bucket - start) & (TICKS - 1))


@inlined
def _due(state: Any, p: Any) -> Any:
    # The tick of the next task of class ``p``, in the wheel or past its end; -1 where there is none.
    tick = _first(state, p)
    if tick < 0 and state[OVER + p] > 0:
        tick = state[SLOTS + state[SLOTS + state[0] * (SLOT + 1 + p)] * SLOT + TICK]
    return tick


@compiled(types.void(writes(I64), I64))
def _advance(state: Any, now: Any) -> None:
    # The window of a class begins at its earliest task or now, whichever comes first. Time never runs back.
    if now <= state[NOW]:
        return
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
            if state[ADMISSION]:
                _weigh(state, p, state[SLOTS + slot * SLOT + TICK], state[SLOTS + slot * SLOT + COST])


@inlined
def _release(state: Any, slot: Any) -> None:
    # The tag moves on, so that a handle of the old task fits nothing.
    at = SLOTS + slot * SLOT
    state[at + TAG] = ((state[at + TAG] & ~3) + 4) & 0x1FFFFFFFF
    state[SLOTS + state[0] * SLOT + state[FREE_TOP]] = slot
    state[FREE_TOP] += 1


@compiled(I64(writes(I64), reads(I64, 2), I64, I64, writes(I64)))
def push(
    state: Any,  # int64 wheel
    tasks: Any,  # int64 (B, 3): class (0 first), deadline in ns, cost in ns
    start: Any,  # first row to take
    now: Any,  # ns
    handles: Any,  # int64 (B,): handle, or REFUSED, FULL, NO_CLASS
) -> Any:
    """Take the tasks from row ``start`` on, in order; gives the number taken. A deadline that has passed counts as now.

    O(B); a task past the window, O(log of those).
    """
    _advance(state, now)
    tick_now, unit_now = state[NOW] >> TICK_BITS, (state[NOW] + (1 << UNIT_BITS) - 1) >> UNIT_BITS
    taken = 0
    for row in range(start, len(tasks)):
        p, deadline = tasks[row, 0], tasks[row, 1]
        if p < 0 or p >= CLASSES:
            handles[row] = NO_CLASS
            continue
        cost = (min(max(tasks[row, 2], 0), MAX_COST) + (1 << UNIT_BITS) - 1) >> UNIT_BITS
        tick = max(deadline >> TICK_BITS, tick_now)
        if state[FREE_TOP] == 0:
            handles[row] = FULL
            state[COUNTS + NO_ROOM * CLASSES + p] += 1
            continue
        slot = state[SLOTS + state[0] * SLOT + state[FREE_TOP] - 1]
        at = SLOTS + slot * SLOT
        state[at + DEADLINE], state[at + TICK], state[at + ORDER] = deadline, tick, state[SEQ]
        state[at + CLASS], state[at + COST] = p, cost
        near = tick < state[BASE + p] + TICKS
        if near:
            _link(state, p, slot)
        if state[ADMISSION]:
            ahead = state[RUNNING_WORK] + unit_now
            for q in range(p):
                ahead += state[WORK + q]
            slack = _far_slack(state, p, cost)
            if near:
                slack = min(slack, _weigh(state, p, tick, cost))
            else:
                slack = min(slack, tick * UNITS_A_TICK - state[WORK + p] - cost)
            if deadline < state[NOW] or slack < ahead:
                if near:
                    _unlink(state, p, slot)
                    state[at + TAG] &= ~3
                handles[row] = REFUSED
                state[COUNTS + TURNED_AWAY * CLASSES + p] += 1
                continue
        if not near:
            state[at + TAG] = (state[at + TAG] & ~3) | OVERFLOWN
            state[OVER + p] += 1
            _settle(state, p, state[OVER + p] - 1, slot)
        state[FREE_TOP] -= 1
        state[SEQ] += 1
        state[WORK + p] += cost
        handles[row] = slot | (state[at + TAG] >> 2) << 32
        state[PENDING] += 1
        state[COUNTS + PUSHED * CLASSES + p] += 1
        taken += 1
    return taken


@compiled(I64(writes(I64), I64, I64, writes(I64)))
def pop(
    state: Any,  # int64 wheel
    now: Any,  # ns
    most: Any,  # tasks wanted
    handles: Any,  # int64 (most or more,): filled from the front
) -> Any:
    """Take out the next tasks; gives their number. The next one has the lowest class once aging is counted, then the
    earliest tick, then the lowest class of its own, then came first. O(tasks)."""
    _advance(state, now)
    tick_now, aging = state[NOW] >> TICK_BITS, state[AGING]
    for p in range(CLASSES):
        state[HEADS + p] = _due(state, p)
    done = 0
    while done < min(most, len(handles)) and state[PENDING] > 0:
        best, rank = np.int64(-1), np.int64(CLASSES)
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
        if state[BITS + best * (WORDS + 1) + WORDS] != 0:
            slot = state[bucket]
            _unlink(state, best, slot)
        else:
            slot = state[SLOTS + state[0] * (SLOT + 1 + best)]
            _out_of_heap(state, best, 0)
        if state[BITS + best * (WORDS + 1) + WORDS] == 0 or state[bucket] < 0:
            state[HEADS + best] = _due(state, best)
        at = SLOTS + slot * SLOT
        state[PENDING] -= 1
        state[WORK + best] -= state[at + COST]
        state[COUNTS + DISPATCHED * CLASSES + best] += 1
        if state[NOW] > state[at + DEADLINE]:
            state[COUNTS + LATE_START * CLASSES + best] += 1
        handles[done] = slot | (state[at + TAG] >> 2) << 32
        done += 1
        if state[TRACKED]:
            state[at + TAG] = (state[at + TAG] & ~3) | AT_WORK
            state[RUNNING] += 1
            state[RUNNING_WORK] += state[at + COST]
        else:
            _release(state, slot)
    return done


@inlined
def _slot(state: Any, handle: Any) -> Any:
    # The slot of a handle that is still good, else -1.
    slot = handle & 0xFFFFFFFF
    if handle < 0 or slot >= state[0] or state[SLOTS + slot * SLOT + TAG] >> 2 != handle >> 32:
        return np.int64(-1)
    return slot


@compiled(I64(writes(I64), reads(I64)))
def cancel(state: Any, handles: Any) -> Any:
    """Take out tasks that wait; gives their number. Handles of tasks that began, ended or were cancelled do nothing."""
    gone = 0
    for handle in handles:
        slot = _slot(state, handle)
        if slot < 0:
            continue
        at = SLOTS + slot * SLOT
        p, where = state[at + CLASS], state[at + TAG] & 3
        if where == WAITING:
            _unlink(state, p, slot)
        elif where == OVERFLOWN:
            _out_of_heap(state, p, state[at + NEXT])
        else:
            continue
        state[PENDING] -= 1
        state[WORK + p] -= state[at + COST]
        state[COUNTS + CANCELLED * CLASSES + p] += 1
        _release(state, slot)
        gone += 1
    return gone


@compiled(I64(writes(I64), I64, reads(I64)))
def complete(state: Any, now: Any, handles: Any) -> Any:
    """End tasks that were popped from a tracked wheel; gives their number, and counts those past their deadline."""
    ended = 0
    for handle in handles:
        slot = _slot(state, handle)
        if slot < 0 or state[SLOTS + slot * SLOT + TAG] & 3 != AT_WORK:
            continue
        at = SLOTS + slot * SLOT
        p = state[at + CLASS]
        state[RUNNING] -= 1
        state[RUNNING_WORK] -= state[at + COST]
        state[COUNTS + COMPLETED * CLASSES + p] += 1
        if now > state[at + DEADLINE]:
            state[COUNTS + LATE_END * CLASSES + p] += 1
        _release(state, slot)
        ended += 1
    return ended
