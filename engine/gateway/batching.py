"""Who is screened next, and with whom: batches form while workers are busy, fair between tenants, EDF within one.

Time comes in as an argument. A slot that is free takes what is there at once, be it one row; only where others are
refused it waits for a batch to fill. Tenants share the slots by weight (start-time fair queueing,
doi:10.1109/90.649569); within a tenant the earliest deadline goes first, urgency (RFC 9218) shifting it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimds.errors import ConfigError
from aimds.gateway.admission import ROW_WORK, BatchTime, Load, admit
from aimds.gateway.problem import Problem

URGENCY_S = 0.05
"""What one step of urgency is worth in time. A bounded shift: the least urgent row waits longer, but not for ever."""
DEFAULT_URGENCY = 3
REST_S = 2e-3
CONTENTION_STEP = 0.1
STRETCH, STRETCH_EVERY = 1.5, 4
"""Every fourth batch may take half as long again: batches of one size do not tell their fixed cost from their pace."""
RECENT_S = 1.0
"""How long a refusal is a sign that there will be more."""
GATHER = 0.5
"""Of the longest batch: what a slot that came free waits for where others are refused."""
IDLE_TENANTS = 1024
"""Tenants without work whose place in the order is remembered before it is looked whether it still matters."""


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """``max_rows`` and ``max_batch_ms`` bound a batch, ``max_queue_bytes`` is the one budget of what may wait. Where a
    batch of one row takes more than half of ``max_batch_ms``, `Batcher.longest_s` goes before it."""

    max_rows: int = 512
    max_batch_ms: float = 40.0
    max_queue_bytes: int = 64 << 20
    slots: int = 1

    def __post_init__(self) -> None:
        for name, least in (("max_rows", 1), ("max_batch_ms", 0.1), ("max_queue_bytes", 1 << 10), ("slots", 1)):
            if not getattr(self, name) >= least:
                raise ConfigError(name, getattr(self, name), f"at least {least}")


@dataclass(slots=True, eq=False)
class Job:
    """Rows of one request that stay together: ``rows`` with ``size_bytes`` of text, due at ``deadline``.

    ``payload`` is the caller's. ``urgency`` is 0 (first) to 7 (last).
    """

    tenant: str
    rows: int
    size_bytes: int
    deadline: float
    payload: Any = None
    urgency: int = DEFAULT_URGENCY
    cancelled: bool = False
    queued: bool = False
    arrived: float = 0.0
    work: int = 0
    """Work as `BatchTime` counts it."""

    def __post_init__(self) -> None:
        self.work = self.rows * ROW_WORK + self.size_bytes


@dataclass(slots=True, eq=False)
class Batch:
    """``jobs`` to screen together; ``late`` ones waited past their deadline and are to be answered so."""

    jobs: list[Job]
    late: list[Job]
    work: int = 0
    rows: int = 0
    started: float = 0.0


@dataclass(slots=True, eq=False)
class _Tenant:
    name: str
    weight: float
    served: float = 0.0
    """Virtual time: work had, divided by the weight."""
    waiting: list[tuple[float, int, Job]] = field(default_factory=list)
    work: int = 0
    dead: int = 0


class Batcher:
    """The queue of the gateway. `submit` takes a job in or refuses it, `poll` gives the next batch for a free slot.

    Args:
        config: bounds.
        weights: share of a tenant against others that wait; 1 for those not named.
        time: the estimate that admission uses.
        admission: False takes in all that the byte budget holds; for tests of what admission is worth.
    """

    def __init__(
        self,
        config: BatchConfig | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        time: BatchTime | None = None,
        admission: bool = True,
    ) -> None:
        self.config = config or BatchConfig()
        self.weights = dict(weights or {})
        for name, weight in self.weights.items():
            if not 0 < weight < float("inf"):
                raise ConfigError(f"weights.{name}", weight, "a positive number")
        self.time = time or BatchTime()
        self.queued_rows = self.queued_bytes = self.queued_work = self.running = 0
        self._admission = admission
        self._tenants: dict[str, _Tenant] = {}
        self._idle: dict[str, _Tenant] = {}
        self._order: list[tuple[float, int, _Tenant]] = []
        self._clock = 0.0
        self._weight = self._contention = 0.0
        self._seq = self._turn = 0
        self._ends: list[float] = []
        self._freed = self._refused = float("-inf")

    def check(self, job: Job, now: float) -> None:
        """Whether there is room for ``job``.

        Raises:
            Problem: ``overloaded`` with the time to wait, or ``deadline-exceeded``.
        """
        self._admitted(job, now)

    def _admitted(self, job: Job, now: float) -> tuple[_Tenant | None, float]:
        """The tenant of ``job``, where it has something waiting, and its weight; raises as `check`."""
        tenant = self._tenants.get(job.tenant)
        weight = self.weights.get(job.tenant, 1.0)
        if self._admission:
            longest_s = self.longest_s
            admit(self._load(job, tenant, weight, now, longest_s), self.time, job.deadline - now, longest_s)
        if self.queued_bytes + job.size_bytes > self.config.max_queue_bytes and self.queued_rows:
            wait = self.time.pace_s * self.queued_work / self.config.slots
            raise Problem("overloaded", f"{self.queued_bytes} bytes of text are waiting already", retry_after_s=wait)
        return tenant, weight

    def submit(self, job: Job, now: float) -> None:
        """Put ``job`` into the queue.

        Raises:
            Problem: as `check`; the job is not in the queue.
        """
        tenant, weight = self._admitted(job, now)
        self._seq += 1
        if tenant is None:
            tenant = self._idle.pop(job.tenant, None) or _Tenant(job.tenant, weight)
            tenant.served = max(tenant.served, self._clock)
            self._tenants[job.tenant] = tenant
            self._weight += tenant.weight
            heapq.heappush(self._order, (tenant.served, self._seq, tenant))
            self._seq += 1
        job.arrived, job.queued = now, True
        heapq.heappush(tenant.waiting, (job.deadline + job.urgency * URGENCY_S, self._seq, job))
        tenant.work += job.work
        self._count(job, 1)

    def poll(self, now: float) -> Batch | None:
        """The next batch, or None while no slot is free or nothing waits. A batch with ``jobs`` holds a slot until
        `finish`; one with only ``late`` ones holds none."""
        if self.running >= self.config.slots or not self._order:
            return None
        self._contention += CONTENTION_STEP * (self._weight - self._contention)
        batch = Batch([], [], started=now)
        self._turn += 1
        room = self.longest_s * (STRETCH if self._turn % STRETCH_EVERY == 0 else 1.0)
        while self._order:
            served, _, tenant = self._order[0]
            job = self._head(tenant)
            if job is not None:
                full = batch.rows + job.rows > self.config.max_rows or self.time.seconds(batch.work + job.work) > room
                if batch.jobs and full:
                    break
                self._take(tenant, job)
                if job.deadline <= now:
                    batch.late.append(job)
                else:
                    batch.jobs.append(job)
                    batch.rows += job.rows
                    batch.work += job.work
                    self._clock = served
                    tenant.served = served + job.work / tenant.weight
            if self._head(tenant) is None:
                heapq.heappop(self._order)
                self._rest(tenant)
            else:
                self._seq += 1
                heapq.heapreplace(self._order, (tenant.served, self._seq, tenant))
        if batch.jobs:
            self.running += 1
            self._ends.append(now + self.time.seconds(batch.work))
            return batch
        return batch if batch.late else None

    def refused(self, now: float) -> None:
        """Something was, as there is too much to do."""
        self._refused = now

    def gather(self, now: float) -> float:
        """Seconds for which a slot that came free waits for more where something was refused just now: small batches
        cost most a row, and who judges them takes the time in which others are read and refused."""
        if not self.queued_rows or self.running or now - self._refused > RECENT_S:
            return 0.0
        enough_s = GATHER * self.longest_s
        if self.time.seconds(self.queued_work) >= enough_s or self.queued_rows >= self.config.max_rows:
            return 0.0
        return max(self._freed + enough_s - now, 0.0)

    def rest(self, now: float) -> float:
        """Seconds for which what comes would only wait behind what waits already: until half of what the batches that
        run are still expected to take, `REST_S` at most."""
        if not self.queued_rows or self.running < self.config.slots:
            return 0.0
        left = min(self._ends) - now
        return min(REST_S, max(left, self.time.base_s) / 2)

    def late(self, now: float) -> list[Job]:
        """Jobs past their deadline, taken out: for who looks now and then while no slot is free, since `poll` does not.
        One behind others that are more urgent, and not late yet, is given as much later as urgency is worth."""
        found, before = [], len(self._tenants)
        for tenant in list(self._tenants.values()):
            while (job := self._head(tenant)) is not None and job.deadline <= now:
                self._take(tenant, job)
                found.append(job)
            if job is None:
                self._rest(tenant)
        if len(self._tenants) < before:
            # Who waits for nothing has no share of the slots that others are held to theirs by.
            self._order = [entry for entry in self._order if entry[2].waiting]
            heapq.heapify(self._order)
        return found

    def finish(self, batch: Batch, now: float) -> None:
        """``batch`` is done; its slot is free."""
        self.running -= 1
        # Slots are alike, so the earliest expected end may stand for the batch that really ended.
        self._ends.remove(min(self._ends))
        self._freed = now
        self.time.observe(batch.work, now - batch.started)

    def cancel(self, job: Job) -> None:
        """Nobody waits for ``job`` any more: it is skipped if it has not been dispatched."""
        if job.cancelled:
            return
        job.cancelled = True
        if not job.queued:
            return
        job.queued, job.payload = False, None
        self._count(job, -1)
        tenant = self._tenants[job.tenant]
        tenant.work -= job.work
        tenant.dead += 1
        # What was cancelled must not pile up under a deadline far away.
        if tenant.dead > 32 and 2 * tenant.dead > len(tenant.waiting):
            tenant.waiting = [entry for entry in tenant.waiting if not entry[2].cancelled]
            heapq.heapify(tenant.waiting)
            tenant.dead = 0

    @property
    def longest_s(self) -> float:
        """How long a batch may take. Where a batch costs much whatever it holds, at least as much goes to its rows:
        else batches of one row would take all the time there is."""
        return max(self.config.max_batch_ms / 1e3, 2 * self.time.base_s)

    @property
    def grain(self) -> tuple[int, float]:
        """Rows and work of an eighth of a full batch: single requests that are queued as one job are no more."""
        work = (self.longest_s - self.time.base_s) / max(self.time.pace_s, 1e-12)
        return max(1, self.config.max_rows // 8), work / 8

    @property
    def waiting_batches(self) -> float:
        """Batches that what waits will make, a part of one included."""
        full = (self.longest_s - self.time.base_s) / max(self.time.pace_s, 1e-12)
        return max(self.queued_work / max(full, 1.0), self.queued_rows / self.config.max_rows)

    @property
    def waiting_tenants(self) -> int:
        """Tenants with something in the queue."""
        return len(self._tenants)

    def _load(self, job: Job, tenant: _Tenant | None, weight: float, now: float, longest_s: float) -> Load:
        if not self.queued_rows and not self.running:
            # Whoever waited before, nobody does now.
            return Load(0.0, job.work, 1.0, 0.0, self.config.slots)
        # Others that keep coming overtake a tenant with a long queue, so it is held to its share of the slots, whoever
        # waits at the moment.
        share = weight / max(self._weight if tenant else self._weight + weight, self._contention)
        ahead = ((tenant.work if tenant else 0) + job.work) / share - job.work
        full = (longest_s - self.time.base_s) / max(self.time.pace_s, 1e-12)
        mean = self.queued_work / self.queued_rows if self.queued_rows else job.work / job.rows
        batches = 1 + ahead / max(min(full, mean * self.config.max_rows), 1.0)
        running = 0.0
        for end in self._ends:
            if end > now:
                running += end - now
        if self._ends and not running:
            # Late itself, so it says nothing of when it ends.
            running = self.time.base_s
        return Load(max(ahead, float(self.queued_rows > 0)), job.work, batches, running, self.config.slots)

    def _head(self, tenant: _Tenant) -> Job | None:
        while tenant.waiting and tenant.waiting[0][2].cancelled:
            heapq.heappop(tenant.waiting)
            tenant.dead -= 1
        return tenant.waiting[0][2] if tenant.waiting else None

    def _take(self, tenant: _Tenant, head: Job) -> None:
        heapq.heappop(tenant.waiting)
        tenant.work -= head.work
        head.queued = False
        self._count(head, -1)

    def _rest(self, tenant: _Tenant) -> None:
        # Its place is kept, or a tenant that sends one job at a time would always come first.
        del self._tenants[tenant.name]
        if not self._tenants:
            # Nobody waits, so nobody was kept waiting: all begin anew.
            self._weight = self._clock = 0.0
            self._idle.clear()
            return
        self._weight -= tenant.weight
        self._idle[tenant.name] = tenant
        if len(self._idle) > IDLE_TENANTS:
            self._idle = {name: one for name, one in self._idle.items() if one.served > self._clock}

    def _count(self, job: Job, sign: int) -> None:
        self.queued_rows += sign * job.rows
        self.queued_bytes += sign * job.size_bytes
        self.queued_work += sign * job.work
