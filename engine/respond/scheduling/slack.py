"""Admission: whether a task ends in time, and lets end in time what was taken before it in its class.

The book holds the work that waits, per class and granule of about a millisecond, up to 252 ms ahead: what is due later
is held to that. Sums of sixteen granules are kept, and a bound on the least slack of a class: as long as that is enough
for the new task, no other one needs to be looked at.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np
from numba import njit, types

from aimds.kernels.cpu.bits import trailing_zeros
from aimds.kernels.cpu.jit import I64, reads, writes

REFUSED: Final = -1
CLASSES: Final = 4
UNIT_BITS, GRANULE_BITS, HORIZON = 10, 20, 240
UNITS: Final = 1 << (GRANULE_BITS - UNIT_BITS)
MAX_COST: Final = 1 << 40
EMPTY: Final = 1 << 60

# Words of the book; those with a class are the first of four. CLOCK: the granule of now. STALE: bits of the blocks
# whose least slack is to be found anew. LEAST: no task of the class has less slack, before time and work ahead.
CLOCK, RUNNING_WORK, WORK, OVERDUE, STALE, TURNED_AWAY, LEAST, CELLS = 0, 1, 4, 8, 12, 16, 20, 24
BLOCK: Final = 16
SUMS: Final = CELLS + CLASSES * 256
"""Per class and block: its work, and the least of (end - work up to it) over its granules with work, from its begin."""
BOOK_SIZE: Final = SUMS + CLASSES * 2 * BLOCK


# The GIL is kept: a call is over before another thread could take it.
_kept = partial(njit, cache=True)


@_kept(types.void(writes(I64), I64))
def _pass(book: Any, clock: Any) -> None:
    # Work that was due before the granule ``clock`` is overdue: it comes before everything.
    for granule in range(max(book[CLOCK], clock - 256), clock):
        for p in range(CLASSES):
            cell = CELLS + p * 256 + (granule & 255)
            if book[cell]:
                block = (granule >> 4) & 15
                book[OVERDUE + p] += book[cell]
                book[SUMS + 2 * (p * BLOCK + block)] -= book[cell]
                book[STALE + p] |= np.int64(1) << block
                book[cell] = 0
    book[CLOCK] = clock


@_kept(types.void(writes(I64), I64))
def _refresh(book: Any, p: Any) -> None:
    # The least slack of each stale block, counted from its begin.
    stale = np.uint64(book[STALE + p])
    while stale != 0:
        block = np.int64(trailing_zeros(stale))
        stale &= stale - np.uint64(1)
        cells, total, best = CELLS + p * 256 + block * BLOCK, np.int64(0), np.int64(EMPTY)
        for i in range(BLOCK):
            work = book[cells + i]
            total += work
            best = min(best, i * UNITS - total if work else np.int64(EMPTY))
        book[SUMS + 2 * (p * BLOCK + block) + 1] = best
    book[STALE + p] = 0


@_kept(I64(writes(I64), I64, I64, I64, I64))
def _least(book: Any, p: Any, first: Any, granule: Any, cost: Any) -> Any:
    # The least slack of what is due at ``granule`` or later, with ``cost`` more there. LEAST is made exact.
    _refresh(book, p)
    total, found, least = book[OVERDUE + p], np.int64(EMPTY), np.int64(EMPTY)
    for block in range(first, first + BLOCK):
        sums = SUMS + 2 * (p * BLOCK + (block & 15))
        here = block * BLOCK * UNITS - total + book[sums + 1]
        least = min(least, here)
        if block > granule >> 4:
            found = min(found, here - cost)
        elif block == granule >> 4:
            cells, done = CELLS + p * 256 + (block & 15) * BLOCK, total
            for i in range(BLOCK):
                done += book[cells + i] + (cost if i == granule & 15 else 0)
                if i >= granule & 15 and (book[cells + i] or i == granule & 15):
                    found = min(found, (block * BLOCK + i) * UNITS - done)
        total += book[sums]
    book[LEAST + p] = least
    return found


@_kept(I64(writes(I64), reads(I64, 2), I64, I64, writes(I64)))
def admit(
    book: Any,  # int64 (BOOK_SIZE,)
    tasks: Any,  # int64 (B, 3): class (0 first), deadline in ns, cost in ns
    now: Any,  # ns
    force: Any,  # 1: none is refused
    handles: Any,  # int64 (B,): 0 or REFUSED
) -> Any:
    """Enter in the book, in order, the tasks that can be taken; gives their number.

    A task can be taken if it, and the tasks of its class due with it or later, would all end by the beginning of their
    granules, if what runs, the higher classes, and what is due before or with them in the class came first.
    """
    if now >> GRANULE_BITS > book[CLOCK]:
        _pass(book, now >> GRANULE_BITS)
    clock, taken = book[CLOCK], 0
    begin = max((now + (1 << UNIT_BITS) - 1) >> UNIT_BITS, clock * UNITS) + book[RUNNING_WORK]
    for row in range(len(tasks)):
        p, deadline = tasks[row, 0] & 3, tasks[row, 1]
        cost = max((min(tasks[row, 2], MAX_COST) + (1 << UNIT_BITS) - 1) >> UNIT_BITS, 1)
        granule = min(max(deadline >> GRANULE_BITS, clock), clock + HORIZON - 1)
        ahead = begin
        for q in range(p):
            ahead += book[WORK + q]
        block = (granule >> 4) & 15
        cells, total = CELLS + p * 256 + block * BLOCK, book[OVERDUE + p] + cost
        for i in range(clock >> 4, granule >> 4):
            total += book[SUMS + 2 * (p * BLOCK + (i & 15))]
        for i in range((granule & 15) + 1):
            total += book[cells + i]
        own = granule * UNITS - total
        if book[WORK + p] == 0:
            book[LEAST + p] = EMPTY
        slack = min(own, book[LEAST + p] - cost)
        if own >= ahead > slack:
            slack = _least(book, p, clock >> 4, granule, cost)
        if not force and (deadline < now or slack < ahead):
            handles[row] = REFUSED
            book[TURNED_AWAY + p] += 1
            continue
        book[cells + (granule & 15)] += cost
        book[SUMS + 2 * (p * BLOCK + block)] += cost
        book[STALE + p] |= np.int64(1) << block
        book[LEAST + p] = min(book[LEAST + p] - cost, own)
        book[WORK + p] += cost
        handles[row] = 0
        taken += 1
    return taken
