"""Admission: whether a task ends in time, and lets end in time what was taken before it in its class.

The book holds the work that waits, per class and granule of about a millisecond, up to 252 ms ahead: what is due later
is held to that. Sums and least slacks of sixteen granules are kept, so that a task is looked at in 32 steps.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from aimds.kernels.cpu.bits import trailing_zeros
from aimds.kernels.cpu.jit import I64, inlined, reads, writes

REFUSED: Final = -1
CLASSES: Final = 4
UNIT_BITS, GRANULE_BITS, HORIZON = 10, 20, 240
UNITS: Final = 1 << (GRANULE_BITS - UNIT_BITS)
MAX_COST: Final = 1 << 40
EMPTY: Final = 1 << 60

# Words of the book; those with a class are the first of four. CLOCK: the granule of now. STALE: bits of the blocks
# whose sums are to be made anew.
CLOCK, RUNNING_WORK, WORK, OVERDUE, STALE, TURNED_AWAY, CELLS = 0, 1, 4, 8, 12, 16, 24
BLOCK: Final = 16
SUMS: Final = CELLS + CLASSES * 256
"""Per class and block: its work, and the least of (end - work up to it) over its granules with work, from its begin."""
BOOK_SIZE: Final = SUMS + CLASSES * 2 * BLOCK


@inlined
def _pass(book: Any, clock: Any) -> None:
    # Work that was due before the granule ``clock`` is overdue: it comes before everything.
    for granule in range(max(book[CLOCK], clock - 256), clock):
        for p in range(CLASSES):
            cell = CELLS + p * 256 + (granule & 255)
            if book[cell]:
                book[OVERDUE + p] += book[cell]
                book[cell] = 0
                book[STALE + p] |= np.int64(1) << ((granule >> 4) & 15)
    book[CLOCK] = clock


@inlined
def _sum(book: Any, p: Any) -> None:
    stale = np.uint64(book[STALE + p])
    while stale != 0:
        block = np.int64(trailing_zeros(stale))
        stale &= stale - np.uint64(1)
        cells, total, best = CELLS + p * 256 + block * BLOCK, np.int64(0), np.int64(EMPTY)
        for i in range(BLOCK):
            work = book[cells + i]
            total += work
            best = min(best, i * UNITS - total if work else np.int64(EMPTY))
        sums = SUMS + 2 * (p * BLOCK + block)
        book[sums], book[sums + 1] = total, best
    book[STALE + p] = 0


@njit([I64(writes(I64), reads(I64, 2), I64, I64, writes(I64))], cache=True)
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
        if book[STALE + p]:
            _sum(book, p)
        total = begin + book[OVERDUE + p]
        for q in range(p):
            total += book[WORK + q]
        first, own, place = clock >> 4, granule >> 4, granule & 15
        cells, sums = CELLS + p * 256 + (own & 15) * BLOCK, SUMS + 2 * (p * BLOCK + (own & 15))
        for block in range(first, own):
            total += book[SUMS + 2 * (p * BLOCK + (block & 15))]
        # Backwards from what the block holds in all: the granules before the task's own need not be looked at.
        work = book[sums] + cost
        here, left = np.int64(EMPTY), work
        for i in range(BLOCK - 1, place, -1):
            cell = book[cells + i]
            here = min(here, (i * UNITS if cell else np.int64(EMPTY)) - left)
            left -= cell
        here = min(here, place * UNITS - left)
        slack = own * BLOCK * UNITS + here - total
        total += work
        for block in range(own + 1, first + BLOCK):
            after = SUMS + 2 * (p * BLOCK + (block & 15))
            slack = min(slack, block * BLOCK * UNITS + book[after + 1] - total)
            total += book[after]
        if not force and (deadline < now or slack < 0):
            handles[row] = REFUSED
            book[TURNED_AWAY + p] += 1
            continue
        book[cells + place] += cost
        book[sums], book[sums + 1] = work, min(book[sums + 1], here)
        book[WORK + p] += cost
        handles[row] = 0
        taken += 1
    return taken
