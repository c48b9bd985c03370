"""The one who does the jobs: takes them with a class and a deadline or a time to begin, and runs the next one."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aimds.errors import ConfigError
from aimds.respond.scheduling.order import CLASSES, CRITICAL_WITHIN_NS, Ints, Order, classes

Job = Callable[[], Any]
"""Where it gives something with ``add_done_callback``, a future, it has ended when that is done."""


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """At most ``capacity`` tasks, begun ones included; then tasks are refused. A task ``aging_ms`` past its deadline
    counts as one class higher, but never as critical (0: never). With ``at_once`` (0: any number) jobs under way that
    gave a future, none is begun until one of them ends."""

    capacity: int = 16_384
    aging_ms: float = 100.0
    admission: bool = True
    at_once: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= 1 << 24:
            raise ConfigError("capacity", self.capacity, "1 to 16,777,216 tasks")
        if not 0.0 <= self.aging_ms <= 3_600_000.0:
            raise ConfigError("aging_ms", self.aging_ms, "0 to 3,600,000")
        if self.at_once < 0:
            raise ConfigError("at_once", self.at_once, "a number of jobs, 0 for any")


@dataclass(frozen=True, slots=True)
class Task:
    """A ``job`` of a class of CLASSES, due ``within_ns`` of the time it may begin. ``cost_ns``: what it will take ·
    ``owed``: not forgotten by `Worker.hurry`."""

    job: Job
    level: str
    within_ns: int
    cost_ns: int = 0
    owed: bool = False

    def __post_init__(self) -> None:
        if self.level not in CLASSES:
            raise ConfigError("level", self.level, "one of " + ", ".join(CLASSES))

    def row(self, now: int) -> tuple[int, int, int]:
        """Class, deadline and cost of the task that may begin ``now``."""
        return CLASSES.index(self.level), now + self.within_ns, self.cost_ns


class Worker:
    """Jobs and the one who does them. All times are nanoseconds of one clock, which the caller reads. Used by one
    thread at a time.

    Args:
        ended: called, by whatever thread ends it, when a job has ended that gave a future.
    """

    def __init__(self, config: SchedulingConfig | None = None, *, ended: Callable[[], None] = lambda: None) -> None:
        self.config, self._told = config or SchedulingConfig(), ended
        aging_ns = int(self.config.aging_ms * 1e6)
        self._order = Order(self.config.capacity, aging_ns=aging_ns, admission=self.config.admission)
        self._jobs: dict[int, Job] = {}
        self._one = np.empty(1, np.int64)
        self._timers: list[tuple[int, int, Task]] = []
        self._set = 0
        self._ended: deque[tuple[int, int]] = deque()

    def submit(
        self,
        job: Job,
        *,
        confidence: float,
        now: int,
        deadline: int | None = None,
        cost: int = 0,
        force: bool = False,
    ) -> int:
        """Take a job; gives its handle, or a negative number where it is refused: -1 it would be late, or make late
        what was taken in its class; -2 there is no room.

        Args:
            deadline: by default ``now`` and 10 ms, and that is the latest for a critical one.
            cost: what the job will take, in ns; admission trusts it.
            force: refused for want of room only.
        """
        code = int(classes(confidence))
        due = now + CRITICAL_WITHIN_NS if deadline is None else deadline
        if code == 0:
            due = min(due, now + CRITICAL_WITHIN_NS)
        return int(self.submit_many((job,), np.array([[code, due, cost]], np.int64), now, force=force)[0])

    def submit_many(self, jobs: Sequence[Job], tasks: Ints, now: int, *, force: bool = False) -> Ints:
        """Take a micro-batch: ``tasks`` int64 (B, 3) of class, deadline and cost in ns. Gives the handles, int64 (B,),
        negative where one is refused.

        Raises:
            ConfigError: as many jobs as tasks are needed, of classes that exist.
        """
        if tasks.shape != (len(jobs), 3):
            raise ConfigError("tasks", tasks.shape, f"({len(jobs)}, 3): class, deadline, cost of each job")
        if len(jobs) and not 0 <= int(tasks[:, 0].min()) <= int(tasks[:, 0].max()) < len(CLASSES):
            raise ConfigError("tasks", tasks[:, 0].tolist(), f"classes from 0 to {len(CLASSES) - 1}")
        self._settle()
        handles = np.empty(len(jobs), np.int64)
        self._order.push(np.ascontiguousarray(tasks, np.int64), now, handles, force=force)
        self._jobs.update((handle, job) for handle, job in zip(handles.tolist(), jobs, strict=True) if handle >= 0)
        return handles

    def at(self, time: int, task: Task) -> None:
        """Take ``task``, which may begin at ``time``. It is never refused: where there is no room it waits for some."""
        self._set += 1
        heapq.heappush(self._timers, (time, self._set, task))

    def cancel(self, handle: int) -> bool:
        """Take a job back that has not begun; whether there was one."""
        if not self._order.cancel(np.array([handle], np.int64)):
            return False
        del self._jobs[handle]
        return True

    def run(self, clock: Callable[[], int], until: int) -> int:
        """Do jobs, the next one each time, until none may begin or ``clock`` reads ``until``; gives their number.

        A job that raises has ended all the same; its error goes to the caller, and the next call goes on behind it.
        """
        done = 0
        while (now := clock()) < until:
            self._settle()
            self._ring(now)
            if self._blocked or not self._order.pop(now, 1, self._one):
                break
            handle = int(self._one[0])
            out: Any = None
            try:
                out = self._jobs.pop(handle)()
            finally:
                if hasattr(out, "add_done_callback"):
                    out.add_done_callback(lambda _, handle=handle: self._later(handle, clock()))
                else:
                    self._end(handle, clock())
            done += 1
        return done

    def _ring(self, now: int) -> None:
        # What was set to a time that has come takes its place among the others.
        while self._timers and self._timers[0][0] <= now:
            time, _, task = self._timers[0]
            row = np.array([task.row(time)], np.int64)
            if self.submit_many((task.job,), row, now, force=True)[0] < 0:
                return
            heapq.heappop(self._timers)

    def hurry(self, now: int) -> None:
        """Let what is owed begin ``now``, and forget what else was set to a time."""
        self._timers = [(now, number, task) for _, number, task in self._timers if task.owed]
        heapq.heapify(self._timers)

    @property
    def _blocked(self) -> bool:
        return 0 < self.config.at_once <= self._order.running

    def _settle(self) -> None:
        while self._ended:
            self._end(*self._ended.popleft())

    def _later(self, handle: int, now: int) -> None:
        self._ended.append((handle, now))
        self._told()

    def _end(self, handle: int, now: int) -> None:
        self._order.complete(now, np.array([handle], np.int64))

    def next_at(self, now: int) -> int | None:
        """When `run` has something to do: ``now``, later, or None: never, unless something is taken or ends."""
        self._settle()
        if self._blocked:
            return None
        if self.pending:
            return now
        return max(now, self._timers[0][0]) if self._timers else None

    @property
    def pending(self) -> int:
        """Jobs that wait for their turn."""
        return self._order.pending

    @property
    def running(self) -> int:
        """Jobs that have begun and not ended."""
        self._settle()
        return self._order.running

    @property
    def timers(self) -> int:
        """Jobs whose time has not come."""
        return len(self._timers)

    def counts(self) -> dict[str, dict[str, int]]:
        """Every counter of `aimds.respond.scheduling.order.COUNTERS` by class, since the beginning."""
        self._settle()
        return self._order.counts()
