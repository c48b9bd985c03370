"""A server in simulated time: jobs come at their times, batches take what a cost function says, nothing sleeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from aimds.gateway.batching import Batch, Batcher, Job
from aimds.gateway.problem import Problem

BASE_S, ROW_S = 1e-3, 5e-4
"""True cost of a batch and of a row: 78 rows fill the 40 ms a batch may take, so that capacity is 1,950 rows/s."""


def true_seconds(batch: Batch) -> float:
    return BASE_S + ROW_S * batch.rows


@dataclass
class Outcome:
    """What became of every job: ``done`` with its time of completion, ``late`` ones dropped at poll, ``refused``."""

    done: list[tuple[Job, float]] = field(default_factory=list)
    late: list[Job] = field(default_factory=list)
    refused: list[tuple[Job, Problem]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def in_time(self) -> int:
        return sum(job.rows for job, end in self.done if end <= job.deadline)

    def latencies(self) -> list[float]:
        return sorted(end - job.arrived for job, end in self.done)


def poisson(
    rate: float, seconds: float, seed: int, slack_s: float, tenant: str = "a", rows: int = 1
) -> list[tuple[float, Job]]:
    """Arrivals of jobs of ``rows`` rows at ``rate`` jobs a second."""
    random, now, out = Random(seed), 0.0, []
    while (now := now + random.expovariate(rate)) < seconds:
        out.append((now, Job(tenant, rows, 200 * rows, now + slack_s)))
    return out


def run(
    batcher: Batcher, arrivals: Iterable[tuple[float, Job]], cost: Callable[[Batch], float] = true_seconds
) -> Outcome:
    """Run until all is done."""
    out = Outcome()
    events: list[tuple[float, int, Job | Batch]] = []
    for order, (at, job) in enumerate(arrivals):
        events.append((at, order, job))
    heapq.heapify(events)
    order = len(events)
    while events:
        now, _, what = heapq.heappop(events)
        if isinstance(what, Job):
            try:
                batcher.submit(what, now)
            except Problem as problem:
                out.refused.append((what, problem))
        else:
            batcher.finish(what, now)
            out.done += [(job, now) for job in what.jobs]
        while (batch := batcher.poll(now)) is not None:
            out.late += batch.late
            if batch.jobs:
                out.batches.append(batch.rows)
                order += 1
                heapq.heappush(events, (now + cost(batch), order, batch))
    return out
