"""The shell around the service: batches are judged on threads or in other processes, verdicts come back to the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa

from aimds.errors import DeviceLost
from aimds.gateway.batching import Batch
from aimds.gateway.following import Follows
from aimds.gateway.judges import Judges
from aimds.gateway.judging import Judged, Record, Respond, Route, finished, judge, unrecorded
from aimds.gateway.pieces import Piece
from aimds.gateway.problem import Problem
from aimds.gateway.protocol import Service
from aimds.gateway.rows import Row, batch_of
from aimds.respond.policy import Policy
from aimds.screener import Screener

LOOK_S = 0.1
"""How often it is looked for jobs past their deadline while others are judged."""


class Worker:
    """Judges what `Service.poll` gives, on ``slots`` threads; `work` is the hook that the service calls.

    Args:
        screener: judges; `replace` puts another in its place, batches that run keep theirs.
        slots: threads, as many as the batcher has slots.
        judges: processes that judge instead, as many; ``screener`` then only says what was not judged.
        record: called with requests, verdicts and pieces of a batch before its verdicts are given.
        follower: follows sessions, before the verdicts are recorded.
        route: gives the model tier to those that ask for one; may be replaced.
        say: told what a person should know.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        screener: Screener,
        *,
        slots: int = 1,
        judges: Judges | None = None,
        record: Record | None = None,
        route: Route | None = None,
        follower: Follows | None = None,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.screener = screener
        self._judges, self._record, self.route, self._clock = judges, record, route, clock
        self.follower, self._say = follower, say
        self.ready = True
        """Whether this process can judge; not any more once its device was lost."""
        self._tasks: set[asyncio.Task[Judged]] = set()
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="aimds-judge")
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = self._closed = False
        self._look_at: asyncio.TimerHandle | None = None
        self._gathers: asyncio.TimerHandle | None = None

    def attach(self, service: Service) -> None:
        """Judge for ``service``, on the running loop."""
        self._service, self._loop = service, asyncio.get_running_loop()
        # Arrow looks for pandas at its first column, for about a second: not while a client waits.
        batch_of([Row("", request_id="")])

    def replace(self, screener: Screener) -> None:
        """The next batch is judged by ``screener``."""
        self.screener = screener

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Verdicts with status error."""
        return self.screener.unjudged(batch, reason)

    def work(self) -> None:
        """Look for a batch once the loop has done what it is at, so that requests read together go together."""
        if not self._due and self._loop is not None:
            self._due = True
            self._loop.call_soon(self._dispatch)

    def rest(self) -> float:
        """See `Batcher.rest`: where a thread of this process judges, it can do so while nothing is read."""
        if self._judges is not None or self._service is None:
            return 0.0
        return self._service.batcher.rest(self._clock())

    def _dispatch(self) -> None:
        self._due = False
        service, loop = self._service, self._loop
        if service is None or loop is None or self._closed:
            return
        if self._gathers is not None:
            self._gathers.cancel()
            self._gathers = None
        if self._judges is None and (wait_s := service.batcher.gather(self._clock())) > 0:
            self._gathers = loop.call_later(wait_s, self._dispatch)
        else:
            self._begin(service, loop)
        # What runs may not end for long, and who waits is told in time all the same.
        if service.batcher.queued_rows and self._look_at is None:
            self._look_at = loop.call_later(LOOK_S, self._look, service)

    def _begin(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        while (batch := service.poll(self._clock())) is not None:
            pieces = [job.payload for job in batch.jobs]
            if self._judges is not None:
                task = loop.create_task(self._elsewhere(self._judges, pieces))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda done, batch=batch: self._done(batch, done))  # type: ignore[misc]
                continue
            future = self._threads.submit(self._judge, pieces)
            future.add_done_callback(lambda done, batch=batch: _call(loop, self._done, batch, done))  # type: ignore[misc]

    def _look(self, service: Service) -> None:
        self._look_at = None
        service.expire(self._clock())
        self._dispatch()

    def _judge(self, pieces: list[Piece]) -> Judged:
        # One screener for the whole batch, whatever a reload does meanwhile.
        screener = self.screener
        return judge(
            screener.screen_batch, screener.unjudged, pieces, self._record, self._respond(screener), self.route
        )

    async def _elsewhere(self, judges: Judges, pieces: list[Piece]) -> Judged:
        # A row that ends a process has no verdict, but those that were only queued with it have theirs.
        singles = [piece.singles() for piece in pieces]
        judged = await self._judged(judges, [one for some in singles for one in some])
        found = iter(judged.answers)
        answers: list[Any] = []
        for piece, some in zip(pieces, singles, strict=True):
            parts = [next(found) for _ in some]
            answers.append(
                [part if isinstance(part, Problem) else part[0] for part in parts] if piece.apart else parts[0]
            )
        return replace(judged, answers=answers)

    async def _judged(self, judges: Judges, pieces: list[Piece]) -> Judged:
        record, respond = self._record, self._respond(self.screener)
        route = self.route if any(piece.tiers for piece in pieces) else None
        needed = any(one is not None for one in (record, respond, route))
        judged, whole = await judges.judge(pieces, whole=needed)
        if not needed or whole.verdicts is None:
            return judged
        kept = [piece for piece, one in zip(pieces, judged.answers, strict=True) if not isinstance(one, Problem)]
        loop = asyncio.get_running_loop()
        if respond is None:
            try:
                if record is not None:
                    await loop.run_in_executor(self._threads, record, whole.requests, whole.verdicts, kept)
            except Exception as error:  # a verdict that is not recorded is not given
                return unrecorded(pieces, error)
            if route is None:
                return judged
            given = [one for one in judged.answers if not isinstance(one, Problem)]
            answers = await loop.run_in_executor(self._threads, route, whole.requests, whole.verdicts, kept, given)
            again = replace(judged, answers=answers)
        else:
            again = await loop.run_in_executor(
                self._threads, finished, whole.requests, whole.verdicts, kept, record, respond, route
            )
        left = iter(again.answers)
        return replace(again, answers=[one if isinstance(one, Problem) else next(left) for one in judged.answers])

    def _respond(self, screener: Screener) -> Respond | None:
        policy: Policy | None = getattr(screener, "policy", None)
        follower = self.follower
        if follower is None or not follower.has_work(policy):
            return None

        def respond(requests: pa.RecordBatch, verdicts: pa.RecordBatch, pieces: list[Piece]) -> pa.RecordBatch:
            senders = [piece.identity.name for piece in pieces for _ in range(piece.count)]
            return follower.respond(policy, requests, verdicts, senders)

        return respond

    def _done(self, batch: Batch, future: Future[Judged] | asyncio.Future[Judged]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            judged = future.result()
        else:
            problem = Problem("internal", f"the batch could not be judged: {type(error).__name__}: {error}")
            judged = Judged([problem] * len(batch.jobs))
        if isinstance(error, DeviceLost) and self.ready:
            # There is nobody here to start another process: whoever asks for readiness has to.
            self.ready = False
            self._say(f"not ready any more: {error}")
        if self._service is not None:
            self._service.complete(batch, judged, self._clock())
        self._dispatch()

    def close(self) -> None:
        """End the threads when their batches are done; a batch in another process is given up, and what waits for one
        is not judged any more."""
        self._closed = True
        for timer in (self._look_at, self._gathers):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        self._threads.shutdown(wait=True)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    # After the loop has closed nobody waits for the verdicts any more.
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
