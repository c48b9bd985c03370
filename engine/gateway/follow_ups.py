"""What a gateway does beside its requests, by class and deadline: one `Worker` on its loop, and a few threads for what
waits for a disk or the network."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from aimds.metrics import Metrics
from aimds.respond.scheduling import CLASSES, SchedulingConfig, Task, Worker, classes

SLICE_NS: Final = 2_000_000
"""So long the loop works on before it looks at its sockets again."""
ASIDE: Final = 4
"""Pieces of work on threads at once, so that a key set that does not come and a locked queue leave room for what is
urgent; of more, some would wait there in no order."""
PATIENCE_NS: Final = 60_000_000_000
"""When what could not be taken in time is due instead."""
NS: Final = 1_000_000_000
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """``work`` by the ``name`` it is counted under, of a class of CLASSES (``level``), due ``within_s`` after it may
    begin. ``cost_s``: what it will take · ``aside``: on a thread · ``owed``: done before the gateway ends, however
    early · ``dropped``: called where there is no room for it."""

    name: str
    work: Callable[[], Any]
    level: str = "low"
    within_s: float = 1.0
    cost_s: float = 0.0
    aside: bool = False
    owed: bool = False
    dropped: Callable[[], Any] = lambda: None


def level_of(confidence: float) -> str:
    """The class of CLASSES of what follows from a verdict of this ``confidence``."""
    return CLASSES[int(classes(confidence))]


class FollowUps:
    """Takes work from any thread, and does it once `attach` was called.

    Args:
        metrics: counted into; `gauges` before they are read.
        say: told of work that failed, and of work that was lost.
        clock: monotonic nanoseconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        config: SchedulingConfig | None = None,
        say: Say = lambda line: None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.worker = Worker(config or SchedulingConfig(at_once=ASIDE), ended=self._soon)
        self._metrics, self._say, self._clock = metrics, say, clock
        self._came: deque[tuple[FollowUp, float]] = deque()
        self._threads = ThreadPoolExecutor(ASIDE, thread_name_prefix="aimds-follow-up")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: asyncio.Handle | None = None
        self._told: dict[tuple[str, str], int] = {}
        self.closing = self._called = False

    def attach(self) -> None:
        """Work on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._wake()

    def hand(self, one: FollowUp, after_s: float = 0.0) -> None:
        """Take ``one``, which may begin ``after_s`` from now.

        One that could not be done in time any more is done as the last of its kind instead: low, due in a minute.
        """
        self._came.append((one, after_s))
        self._soon()

    def _soon(self) -> None:
        loop = self._loop
        if loop is not None and not self._called:
            self._called = True
            # A loop that has closed has nothing to do any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    def every(self, period_s: float, one: FollowUp, after_s: float = 0.0) -> None:
        """Do ``one`` ``after_s`` from now, and again and again, ``period_s`` after it ended."""

        def again() -> None:
            try:
                one.work()
            finally:
                if not self.closing:
                    self.hand(repeated, period_s)

        repeated = FollowUp(one.name, again, one.level, one.within_s, one.cost_s, one.aside)
        self.hand(repeated, after_s)

    def _wake(self) -> None:
        self._called = False
        if self._loop is None:
            return
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._take()
        now = self._clock()
        self.worker.run(self._clock, until=now + SLICE_NS)
        then = self.worker.next_at(self._clock())
        if then is not None:
            self._due = self._loop.call_later(max(0.0, (then - self._clock()) / NS), self._wake)

    def _take(self) -> None:
        now, taken = self._clock(), []
        while self._came:
            one, after_s = self._came.popleft()
            task = Task(self._job(one), one.level, int(one.within_s * NS), int(one.cost_s * NS), one.owed)
            if after_s and not self.closing:
                self.worker.at(now + int(after_s * NS), task)
            elif one.owed or not after_s:
                taken.append((one, task))
        if not taken:
            return
        rows = np.array([task.row(now) for _, task in taken], np.int64)
        handles = self.worker.submit_many([task.job for _, task in taken], rows, now)
        for (one, task), handle in zip(taken, handles.tolist(), strict=True):
            if handle < 0:
                late = Task(task.job, "low", PATIENCE_NS, task.cost_ns, task.owed)
                last = np.array([late.row(now)], np.int64)
                if self.worker.submit_many((task.job,), last, now, force=True)[0] < 0:
                    self._metrics.follow_up_errors.labels(one.name).inc()
                    one.dropped()
                    self._say(f"{one.name}: lost, {self.worker.config.capacity} pieces of work wait already")

    def _job(self, one: FollowUp) -> Callable[[], Any]:
        def do() -> None:
            begun = self._clock()
            try:
                one.work()
            except Exception as error:  # one piece of work is not to end the others
                self._metrics.follow_up_errors.labels(one.name).inc()
                self._say(f"{one.name}: {type(error).__name__}: {error}")
            finally:
                self._metrics.follow_up_seconds.labels(one.name).observe((self._clock() - begun) / NS)

        def aside() -> Future[None]:
            return self._threads.submit(do)

        return aside if one.aside else do

    def gauges(self) -> None:
        """Bring the metrics up to date."""
        metrics, counts = self._metrics, self.worker.counts()
        for event, by_class in counts.items():
            for level, count in by_class.items():
                more = count - self._told.get((event, level), 0)
                self._told[event, level] = count
                if event.startswith("late_at_"):
                    metrics.follow_ups_late.labels(level, event.removeprefix("late_at_")).inc(more)
                else:
                    metrics.follow_ups.labels(level, event).inc(more)
        metrics.follow_ups_waiting.labels("turn").set(self.worker.pending)
        metrics.follow_ups_waiting.labels("time").set(self.worker.timers)

    async def close(self, until: float) -> None:
        """Do what waits for its turn and what is owed, until the loop's clock reads ``until``; forget the rest."""
        self.closing = True
        self._take()
        self.worker.hurry(self._clock())
        while self._loop is not None and self._loop.time() < until:
            self._wake()
            # What ends may hand more in, so that this is looked at last.
            if not (self.worker.running or self.worker.pending or self._came):
                break
            await asyncio.sleep(0.002)
        if self._due is not None:
            self._due.cancel()
        if self.worker.pending:
            self._say(f"{self.worker.pending} pieces of follow-up work are given up")
        self._loop = None
        self._threads.shutdown(wait=False, cancel_futures=True)
