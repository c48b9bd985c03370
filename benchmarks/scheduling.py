"""Follow-up work in micro-batches of 64: `python -m benchmarks.scheduling [--smoke] [NAME…]`.

64 tasks are pushed and 64 popped, on one thread, beside 0, 1,000 or 50,000 that wait. Rates are tasks a second; both
sides get their tasks ready made. With admission each task is also completed, so that its cost leaves the books.
"""

from __future__ import annotations

import heapq
import queue
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.kernels.cpu import wheel
from benchmarks.harness import Case, Maker, main

BATCH = 64
SPAN_NS = 260_000_000


def tasks(count: int, seed: int, cost: int) -> npt.NDArray[np.int64]:
    """Class, deadline at the beginning of a tick (so that the order is one for both sides), cost."""
    rng = np.random.default_rng(seed)
    deadlines = rng.integers(100, SPAN_NS >> wheel.TICK_BITS, count) << wheel.TICK_BITS
    return np.stack([rng.integers(0, 4, count), deadlines, np.full(count, cost)], 1)


def same(waiting: int, admission: bool) -> bool:
    """Whether the wheel gives the first 64 in the order of a heap."""
    state = wheel.new(waiting + BATCH, admission=admission, tracked=True)
    given = np.concatenate([tasks(waiting, 1, 0), tasks(BATCH, 2, 1)])
    handles = np.empty(len(given), np.int64)
    taken = wheel.push(state, given, 0, 0, handles)
    out = np.empty(BATCH, np.int64)
    wheel.pop(state, 0, BATCH, out)
    rows = {handle: row for row, handle in enumerate(handles.tolist())}
    order = heapq.nsmallest(BATCH, range(len(given)), key=lambda row: (given[row, 0], given[row, 1], row))
    return taken == len(given) and [rows[handle] for handle in out.tolist()] == order


def ours(waiting: int, admission: bool) -> Callable[[], Any]:
    state = wheel.new(waiting + BATCH, admission=admission, tracked=admission)
    kept = np.empty(max(waiting, 1), np.int64)
    wheel.push(state, tasks(waiting, 1, 0), 0, 0, kept)
    fresh, handles = tasks(BATCH, 2, 1), np.empty(BATCH, np.int64)
    rounds = 16

    def run() -> Any:
        for _ in range(rounds):
            wheel.push(state, fresh, 0, 0, handles)
            wheel.pop(state, 0, BATCH, handles)
            if admission:
                wheel.complete(state, 0, handles)
        return int(state[wheel.PENDING])

    return run


def theirs(waiting: int, kind: str) -> Callable[[], Any]:
    old = [(p, d, i) for i, (p, d, _) in enumerate(tasks(waiting, 1, 0).tolist())]
    fresh = [(p, d, waiting + i) for i, (p, d, _) in enumerate(tasks(BATCH, 2, 1).tolist())]
    if kind == "heapq":
        heap = sorted(old)

        def run() -> Any:
            push, pop = heapq.heappush, heapq.heappop
            for one in fresh:
                push(heap, one)
            for _ in fresh:
                pop(heap)
            return len(heap)

        return run
    line: queue.PriorityQueue[tuple[int, int, int]] = queue.PriorityQueue()
    for one in old:
        line.put(one)

    def run_line() -> Any:
        for one in fresh:
            line.put(one)
        for _ in fresh:
            line.get()
        return line.qsize()

    return run_line


def made(kind: str, admission: bool, floor: float) -> Maker:
    def make(smoke: bool) -> Iterator[Case]:
        for waiting in (0, 1_000) if smoke else (0, 1_000, 50_000):
            name = f"wheel{'_admission' if admission else ''}_{waiting}"
            peer_name = "heapq" if kind == "heapq" else "queue.PriorityQueue"
            yield Case(
                f"{name}_{kind}",
                "task",
                16 * BATCH,
                ours(waiting, admission),
                theirs(waiting, kind),
                f"{peer_name}, tuples",
                lambda mine, other, n=waiting: mine == other and same(n, admission),
                floor,
                BATCH,
            )

    return make


CASES: dict[str, Maker] = {
    "heapq": made("heapq", False, 3.0),
    "queue": made("queue", False, 12.0),
    "heapq_admission": made("heapq", True, 0.8),
    "queue_admission": made("queue", True, 4.0),
}


if __name__ == "__main__":
    sys.exit(main(CASES))
