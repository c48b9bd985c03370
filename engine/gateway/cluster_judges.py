"""Judges in the actors of a Ray cluster: the same questions and answers as of processes, other hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa

from aimds.actors.scaling import Bounds, Scaling
from aimds.actors.topology import Share
from aimds.gateway.frames import Found, Setup, unpacked
from aimds.gateway.judge_cell import BUILD, arguments
from aimds.gateway.judges import Gone, JudgeError, Judges, Whole
from aimds.gateway.judging import Judged
from aimds.gateway.pieces import Piece
from aimds.gateway.problem import Problem

LOOK_S = 0.5
"""How often the number of actors is thought over."""
FULL_S = 1.0


class ClusterJudges(Judges):
    """Actors with the screener that ``setup`` describes, as many as the queue needs; connected to Ray before.

    Args:
        bounds: of their number.
        share: what each takes of a machine.
        waiting: batches that wait for one of them.
        on_change: told how many there are: so many batches may be under way.
        build: makes the screener; another one in tests.
        clock: monotonic seconds.
        hung_s: an actor at one batch for longer is ended; its default if None.
    """

    def __init__(
        self,
        setup: Setup,
        bounds: Bounds,
        share: Share,
        *,
        waiting: Callable[[], float] = lambda: 0.0,
        on_change: Callable[[int], None] = lambda ready: None,
        build: str = BUILD,
        clock: Callable[[], float] = time.monotonic,
        hung_s: float | None = None,
    ) -> None:
        from aimds.actors import hands

        super().__init__(setup, bounds.least)
        more = {} if hung_s is None else {"hung_s": hung_s}
        self.hands = hands.Hands("screening", "aimds.gateway.judge_cell:Judge", share, on_change=on_change, **more)
        self._gone, self._full, self._failed = hands.Gone, hands.Full, hands.HandError
        self._scaling = Scaling(bounds)
        self._waiting, self._build, self._clock = waiting, build, clock
        self._looking: asyncio.Task[None] | None = None

    @property
    def ready(self) -> int:
        return self.hands.ready

    @property
    def versions(self) -> list[dict[str, str]]:
        """What each actor judges with; two kinds while they are being renewed."""
        return list(self.hands.about)

    async def start(self) -> None:
        try:
            await self.hands.start(self._scaling.wanted, arguments(self._setup, self._build))
        except self._failed as error:
            raise JudgeError(error.reason) from None
        self._looking = asyncio.ensure_future(self._look())

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            before = self._scaling.wanted
            wanted = self._scaling.look(self._waiting(), self.hands.busy, self.hands.ready, self._clock())
            if wanted != before:
                self.hands.scale(wanted)

    async def replace(self, setup: Setup) -> None:
        """Renew the actors one by one; a verdict says which versions it is of.

        Raises:
            JudgeError: the first cannot be started with ``setup``; the old ones stay.
        """
        try:
            await self.hands.replace(arguments(setup, self._build))
        except self._failed as error:
            raise JudgeError(error.reason) from None
        self._setup = setup

    async def judge(self, pieces: list[Piece], *, whole: bool = False) -> tuple[Judged, Whole]:
        try:
            return await super().judge(pieces, whole=whole)
        except self._full:
            problem = Problem("overloaded", "the object store of the cluster is full", retry_after_s=FULL_S)
            return Judged([problem] * len(pieces)), Whole(pa.RecordBatch.from_pydict({}), None)

    async def _ask(self, parts: list[Any]) -> tuple[Found, pa.RecordBatch | None]:
        _, head, body = parts
        try:
            answer, verdicts = await self.hands.call("judge", bytes(head), pa.py_buffer(body))
        except self._gone:
            self.restarts = self.hands.restarts
            raise Gone from None
        return msgspec.msgpack.decode(answer, type=Found), unpacked(verdicts)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self.hands.close()
        await super().close()
