"""Follow-up work in micro-batches of 64: `python -m benchmarks.scheduling [--smoke] [NAME…]`.

64 tasks are pushed and 64 popped, on one thread, beside 0, 1,000 or 50,000 that wait. Rates are tasks a second; both
sides get their tasks ready made. With admission each task is also completed, so that its cost leaves the book; the
peers admit everything.
"""

from __future__ import annotations

import heapq
import queue
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.respond.scheduling import Order
from aimds.respond.scheduling.wheel import TICK_BITS
from benchmarks.harness import Case, Maker, main

BATCH, ROUNDS = 64, 16
SPAN_NS = 240_000_000
FLOORS = {("heapq", False): 3.0, ("queue", False): 12.0, ("heapq", True): 1.5, ("queue", True): 6.0}


def tasks(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Class, deadline at the beginning of a tick (so that the order is one for both sides), cost of next to nothing."""
    rng = np.random.default_rng(seed)
    deadlines = rng.integers(2_000, SPAN_NS >> TICK_BITS, count) << TICK_BITS
    return np.stack([rng.integers(0, 4, count), deadlines, np.ones(count, np.int64)], 1)


def same(waiting: int, admission: bool) -> bool:
    """Whether the wheel takes everything and gives the first 64 in the order of a heap."""
    order = Order(waiting + BATCH, admission=admission)
    given = np.concatenate([tasks(waiting, 1), tasks(BATCH, 2)])
    handles, out = np.empty(len(given), np.int64), np.empty(BATCH, np.int64)
    taken = order.push(given, 0, handles)
    order.pop(0, BATCH, out)
    rows = {handle: row for row, handle in enumerate(handles.tolist())}
    expected = heapq.nsmallest(BATCH, range(len(given)), key=lambda row: (given[row, 0], given[row, 1], row))
    return taken == len(given) and [rows[handle] for handle in out.tolist()] == expected


def ours(waiting: int, admission: bool) -> Callable[[], Any]:
    order = Order(waiting + BATCH, admission=admission, tracked=admission)
    order.push(tasks(waiting, 1), 0, np.empty(waiting, np.int64))
    fresh, handles = tasks(BATCH, 2), np.empty(BATCH, np.int64)
    push, pop, complete = order.push, order.pop, order.complete

    def run() -> Any:
        for _ in range(ROUNDS):
            push(fresh, 0, handles)
            pop(0, BATCH, handles)
            if admission:
                complete(0, handles)
        return order.pending

    return run


def heap(waiting: int) -> Callable[[], Any]:
    line = sorted((p, d, i) for i, (p, d, _) in enumerate(tasks(waiting, 1).tolist()))
    fresh = [(p, d, waiting + i) for i, (p, d, _) in enumerate(tasks(BATCH, 2).tolist())]

    def run() -> Any:
        push, pop = heapq.heappush, heapq.heappop
        for one in fresh:
            push(line, one)
        for _ in fresh:
            pop(line)
        return len(line)

    return run


def locked(waiting: int) -> Callable[[], Any]:
    line: queue.PriorityQueue[tuple[int, int, int]] = queue.PriorityQueue()
    for i, (p, d, _) in enumerate(tasks(waiting, 1).tolist()):
        line.put((p, d, i))
    fresh = [(p, d, waiting + i) for i, (p, d, _) in enumerate(tasks(BATCH, 2).tolist())]

    def run() -> Any:
        for one in fresh:
            line.put(one)
        for _ in fresh:
            line.get()
        return line.qsize()

    return run


def made(kind: str, admission: bool) -> Maker:
    theirs, peer = (heap, "heapq, tuples") if kind == "heapq" else (locked, "queue.PriorityQueue, tuples")

    def make(smoke: bool) -> Iterator[Case]:
        for waiting in (0, 1_000) if smoke else (0, 1_000, 50_000):
            yield Case(
                f"wheel{'_admission' if admission else ''}_{waiting}_{kind}",
                "task",
                ROUNDS * BATCH,
                ours(waiting, admission),
                theirs(waiting),
                peer,
                lambda mine, other, n=waiting: mine == other == n and same(n, admission),
                FLOORS[kind, admission],
                BATCH,
            )

    return make


CASES: dict[str, Maker] = {
    f"{kind}{'_admission' if admission else ''}": made(kind, admission) for kind, admission in FLOORS
}


if __name__ == "__main__":
    sys.exit(main(CASES))
