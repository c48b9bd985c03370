"""Actors that a server awaits: one call each at a time, replaced when they end, scaled and renewed while they serve."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import GetTimeoutError, ObjectStoreFullError, RayActorError, RayError

from aimds.actors.cell import Cell
from aimds.actors.topology import Share
from aimds.errors import AimdsError

BY_REFERENCE_BYTES = 100 << 10
"""From this size on an argument goes through the object store; below, with the call, which is faster."""
WAIT_S = 30.0
"""How long a call waits for an actor when none is free."""
HUNG_S = 30.0
"""An actor that has been at one call for so long is ended."""
PULSE_S, DEAF_S = 5.0, 10.0
READY_S = 120.0
DRAIN_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0


class HandError(AimdsError):
    """An actor cannot be started; ``reason`` is what it said."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"an actor could not be started: {reason}")


class Gone(Exception):
    """The actor ended, or was ended, in the middle of a call."""


class Full(Exception):
    """The object store has no room."""


class Shell(Cell):
    """A `Cell` in an actor: answers `pulse` while it works."""

    @ray.method(concurrency_group="pulse")
    def pulse(self) -> Any:
        return super().pulse()


@dataclass(eq=False)
class _Hand:
    actor: Any
    arguments: dict[str, Any]
    pid: int = 0
    about: Any = None
    busy: bool = False
    free: asyncio.Event = field(default_factory=asyncio.Event)


class Hands:
    """Actors that hold what ``target`` called with ``arguments`` gives.

    Args:
        role: part of the actors' names, ``aimds-<role>-<job>-<number>``.
        share: what each takes of a machine.
        on_change: told how many can be called, whenever that changes.
        hung_s: see `HUNG_S`.
    """

    def __init__(
        self,
        role: str,
        target: str,
        share: Share,
        *,
        on_change: Callable[[int], None] = lambda ready: None,
        hung_s: float = HUNG_S,
    ) -> None:
        self._role, self._target, self._share, self._hung_s = role, target, share, hung_s
        self._changed = on_change
        self._path = [path for path in sys.path if path]
        self._arguments: dict[str, Any] = {}
        self._all: list[_Hand] = []
        self._idle: asyncio.LifoQueue[_Hand] = asyncio.LifoQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._job = ray.get_runtime_context().get_job_id()
        self._numbers = 0
        self._wanted = self._starting = 0
        self.restarts = 0
        """Actors that ended, or were ended since they hung, and others that took their places."""

    @property
    def ready(self) -> int:
        """Actors that can be called, or are at a call."""
        return len(self._all)

    @property
    def busy(self) -> int:
        """Actors at a call."""
        return sum(hand.busy for hand in self._all)

    @property
    def about(self) -> list[Any]:
        """What each says of itself."""
        return [hand.about for hand in self._all]

    @property
    def pids(self) -> list[int]:
        """Process ids of those that can be called."""
        return [hand.pid for hand in self._all]

    async def start(self, count: int, arguments: dict[str, Any]) -> None:
        """Start ``count``, and wait for the first; the others join as they come.

        Raises:
            HandError: the first cannot be started.
        """
        self._arguments, self._wanted = arguments, count
        self._join(await self._begun(arguments))
        for _ in range(count - 1):
            self._keep(self._another())
        self._keep(self._listen())

    async def _begun(self, arguments: dict[str, Any]) -> _Hand:
        number, self._numbers = self._numbers, self._numbers + 1
        kind = ray.remote(concurrency_groups={"pulse": 1})(Shell).options(
            name=f"aimds-{self._role}-{self._job}-{number}",
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            # It is replaced by those who hear of its end, so that a batch never waits for the same actor to come back.
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        hand = _Hand(kind.remote(self._target, arguments, self._path, max(1, int(self._share.cpus))), arguments)
        try:
            hand.pid, hand.about, problem = await _within(hand.actor.ready.remote(), READY_S)
        except TimeoutError:
            problem = f"it was not ready after {READY_S:.0f} s; is there room in the cluster?"
        except RayError as error:
            problem = str(error).strip().splitlines()[-1]
        if problem is not None:
            ray.kill(hand.actor)
            raise HandError(problem)
        return hand

    def _join(self, hand: _Hand) -> None:
        self._all.append(hand)
        self._idle.put_nowait(hand)
        self._changed(len(self._all))

    async def call(self, method: str, *arguments: Any) -> Any:
        """``method`` of one that is free; bytes of size go through the object store.

        Raises:
            TimeoutError: none was free for `WAIT_S`.
            Gone: the actor ended before it had answered.
            Full: the object store has no room for the arguments.
        """
        async with asyncio.timeout(WAIT_S):
            hand = await self._idle.get()
            while hand not in self._all:
                hand = await self._idle.get()
        hand.busy = True
        hand.free.clear()
        try:
            given = [ray.put(one) if _large(one) else one for one in arguments]
            answer = await _within(hand.actor.call.remote(method, *given), self._hung_s)
        except ObjectStoreFullError as error:
            self._release(hand)
            raise Full from error
        except (RayActorError, TimeoutError) as error:
            self._lost(hand)
            raise Gone from error
        except BaseException:
            # Cancelled, or what it was asked for failed: the actor itself is well, and done with it in its time.
            self._release(hand)
            raise
        self._release(hand)
        return answer

    def _release(self, hand: _Hand) -> None:
        hand.busy = False
        hand.free.set()
        if hand in self._all:
            self._idle.put_nowait(hand)

    def _lost(self, hand: _Hand) -> None:
        hand.busy = False
        hand.free.set()
        if hand not in self._all:
            return
        self._all.remove(hand)
        ray.kill(hand.actor)
        self.restarts += 1
        self._changed(len(self._all))
        self._keep(self._another())

    async def _another(self) -> None:
        """Start one where one is missing, however long that takes."""
        pause = FIRST_PAUSE_S
        self._starting += 1
        try:
            while len(self._all) + self._starting <= self._wanted:
                arguments = self._arguments
                try:
                    hand = await self._begun(arguments)
                except HandError:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                if arguments is self._arguments and len(self._all) < self._wanted:
                    self._join(hand)
                    return
                ray.kill(hand.actor)
        finally:
            self._starting -= 1

    def scale(self, count: int) -> None:
        """From now on there are ``count``: others are started, or let go when they are free."""
        self._wanted = max(1, count)
        for _ in range(self._wanted - len(self._all) - self._starting):
            self._keep(self._another())
        # Those that came last go first; one that is at a call finishes it.
        for hand in self._all[self._wanted :]:
            self._keep(self._leave(hand))

    async def replace(self, arguments: dict[str, Any]) -> None:
        """Renew them one by one with ``arguments``. Old ones serve until a new one has taken their place.

        Raises:
            HandError: the first new one cannot be started; the old ones stay.
        """
        old = list(self._all)
        first = await self._begun(arguments)
        self._arguments = arguments
        self._join(first)
        for place, hand in enumerate(old):
            await self._leave(hand)
            if place:
                with contextlib.suppress(HandError):
                    self._join(await self._begun(arguments))
        self.scale(self._wanted)

    async def _leave(self, hand: _Hand) -> None:
        """Take it out, wait until it is at nothing, and end it."""
        if hand in self._all:
            self._all.remove(hand)
            self._changed(len(self._all))
        if hand.busy:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await hand.free.wait()
        ray.kill(hand.actor)

    async def _listen(self) -> None:
        """Now and then ask each whether it is there: an actor that ended while it was free is found here."""
        while True:
            await asyncio.sleep(PULSE_S)
            for hand in list(self._all):
                if hand.busy or hand not in self._all:
                    continue
                try:
                    await _within(hand.actor.pulse.remote(), DEAF_S)
                except (RayError, TimeoutError):
                    if not hand.busy:
                        self._lost(hand)

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all of them."""
        self._wanted = 0
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for hand in self._all:
            ray.kill(hand.actor)
        self._all.clear()


def _large(value: Any) -> bool:
    size = value.size if isinstance(value, pa.Buffer) else len(value) if isinstance(value, bytes) else 0
    return bool(size >= BY_REFERENCE_BYTES)


async def _within(ref: Any, seconds: float) -> Any:
    """What ``ref`` becomes; the call itself is not cancelled when that takes longer.

    Raises:
        TimeoutError: it took longer.
    """
    future = asyncio.wrap_future(ref.future())
    # Nobody may be there any more when it fails.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    done, _ = await asyncio.wait([future], timeout=seconds)
    if not done:
        raise TimeoutError
    try:
        return future.result()
    except GetTimeoutError as error:
        raise TimeoutError from error
