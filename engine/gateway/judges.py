"""Processes that judge, so that the gateway's own has nothing to do but to talk: one batch each at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from aimds.errors import AimdsError
from aimds.gateway import children
from aimds.gateway.frames import SIZES, Asked, Found, Ready, Setup, packed, unpacked
from aimds.gateway.judging import Judged
from aimds.gateway.pieces import ARROW, Piece, joined
from aimds.gateway.problem import Problem
from aimds.kernels import placement

COMMAND = (sys.executable, "-m", "aimds.gateway.judge_process")
WAIT_S = 30.0
"""How long a batch waits for a process that is being started again."""
HUNG_S = 30.0
"""A process that has been at one batch for so long is ended."""
START_S = 600.0
"""A process that is not ready after so long is ended: the first start on a GPU compiles its kernels, for minutes."""
BEAT_S = 5.0
"""So often each process that is at nothing is asked whether it is there."""
SILENT_S = 10.0
"""One that is at nothing and does not answer within so long is ended."""


class JudgeError(AimdsError):
    """A process that judges could not be started; ``reason`` is what it said."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"a process that judges could not be started: {reason}")


NOTHING = Asked([], [])
"""What asks whether a process is there."""


class Gone(Exception):
    """The process ended, or was ended, in the middle."""


@dataclass(frozen=True, slots=True)
class Whole:
    """What was asked and what was found, as tables, for those who keep a record."""

    requests: pa.RecordBatch
    verdicts: pa.RecordBatch | None


class Judges:
    """``count`` processes with the screener that ``setup`` describes.

    A process that ends, or is ended since it hangs, takes no verdict with it: the pieces of its batch are judged again,
    each by itself, and only one that has ended two when it was alone has none. Another process takes its place. So does
    one for a process that hangs while nothing is asked of it (`BEAT_S`).

    Args:
        command: what is started; another one in tests.
        hung_s: see `HUNG_S`.
        start_s: see `START_S`.
    """

    def __init__(
        self,
        setup: Setup,
        count: int,
        command: Sequence[str] = COMMAND,
        *,
        hung_s: float = HUNG_S,
        start_s: float = START_S,
    ) -> None:
        self._setup, self._count, self._command = setup, count, tuple(command)
        self._hung_s, self._start_s = hung_s, start_s
        self._idle: asyncio.LifoQueue[_Process] = asyncio.LifoQueue()
        self._all: set[_Process] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beats = False
        self.restarts = 0
        """Processes that ended and were started again."""

    @property
    def ready(self) -> int:
        """Those that can be asked, or are at a batch."""
        return len(self._all)

    async def start(self) -> None:
        """Start all of them, and wait until they are ready.

        Raises:
            JudgeError: one of them cannot be started; none is left.
        """
        await self.replace(self._setup)

    async def replace(self, setup: Setup) -> None:
        """Start processes with ``setup``, then let go of the old ones, which finish what they are at.

        Raises:
            JudgeError: as `start`; the old ones stay.
        """
        begun = [_Process(self._command, number) for number in range(self._count)]
        starts = [asyncio.ensure_future(one.start(setup, self._start_s)) for one in begun]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(one.end(now=True) for one in begun))
            raise
        # The queue stays: who waits for a process waits for the new ones from here on.
        old, self._all, self._setup = self._all, set(), setup
        while not self._idle.empty():
            self._idle.get_nowait()
        for one in begun:
            self._join(one)
        for one in old:
            self._keep(one.end())
        if not self._beats:
            self._beats = True
            self._keep(self._beat())

    def _join(self, one: _Process) -> None:
        self._all.add(one)
        self._idle.put_nowait(one)
        self._keep(self._watch(one))

    async def _watch(self, one: _Process) -> None:
        """It may end while nobody asks it for anything."""
        await one.ended()
        self._lost(one)

    async def _beat(self) -> None:
        """It may hang while nobody asks it for anything."""
        while True:
            await asyncio.sleep(BEAT_S)
            # None of them is given a batch until it has answered.
            for one in [self._idle.get_nowait() for _ in range(self._idle.qsize())]:
                if one in self._all:
                    self._keep(self._pulse(one))

    async def _pulse(self, one: _Process) -> None:
        with contextlib.suppress(Gone):
            await self._given(one, packed(NOTHING), SILENT_S)

    def _lost(self, one: _Process) -> None:
        if one in self._all:
            self._all.remove(one)
            self._keep(self._revive(one.number))

    async def judge(self, pieces: list[Piece], *, whole: bool = False) -> tuple[Judged, Whole]:
        """Verdicts of ``pieces``, and with ``whole`` all of them as a table."""
        batch = joined(pieces)
        asked = Asked([piece.count for piece in pieces], [piece.form for piece in pieces], whole)
        # A request that is alone may have met a process that had ended before: it is not to blame at once.
        parts, tries = packed(asked, batch), 2 if len(pieces) == 1 else 1
        while True:
            try:
                found, verdicts = await self._ask(parts)
                break
            except TimeoutError:
                problem = Problem("internal", "no process that judges could be started")
                return Judged([problem] * len(pieces)), Whole(batch, None)
            except Gone:
                tries -= 1
                if tries:
                    continue
                if len(pieces) > 1:
                    return await self._singly(pieces, whole)
                problem = Problem("internal", "the process that judged this ended in the middle, or hung")
                return Judged([problem]), Whole(batch, None)
        answers, start = [], 0
        for piece, one in zip(pieces, found.answers, strict=True):
            if piece.form == ARROW and verdicts is not None:
                one = verdicts.slice(start, piece.count)
            answers.append(one)
            start += piece.count
        return Judged(answers, found.actions, found.threats, found.unjudged), Whole(batch, verdicts)

    async def _singly(self, pieces: list[Piece], whole: bool) -> tuple[Judged, Whole]:
        parts = [await self.judge([piece], whole=whole) for piece in pieces]
        judged = Judged(
            [answer for one, _ in parts for answer in one.answers],
            [pair for one, _ in parts for pair in one.actions],
            [pair for one, _ in parts for pair in one.threats],
            sum(one.unjudged for one, _ in parts),
        )
        found = [table for _, table in parts if table.verdicts is not None]
        if not found:
            return judged, Whole(parts[0][1].requests, None)
        requests = pa.concat_batches([table.requests for table in found])
        return judged, Whole(requests, pa.concat_batches([table.verdicts for table in found]))

    async def _ask(self, parts: list[Any]) -> tuple[Found, pa.RecordBatch | None]:
        async with asyncio.timeout(WAIT_S):
            one = await self._idle.get()
            while one not in self._all:
                one = await self._idle.get()
        head, body = await self._given(one, parts, self._hung_s)
        return msgspec.msgpack.decode(head, type=Found), unpacked(body)

    async def _given(self, one: _Process, parts: list[Any], within_s: float) -> tuple[bytes, bytes]:
        """What ``one``, which was at nothing, answers to ``parts``."""
        try:
            async with asyncio.timeout(within_s):
                answer = await one.ask(parts)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self._lost(one)
            one.kill()
            await one.end(now=True)
            raise Gone from None
        finally:
            one.release()
        if one in self._all:
            self._idle.put_nowait(one)
        return answer

    async def _revive(self, number: int) -> None:
        setup, pauses = self._setup, children.pauses()
        # When all have been replaced meanwhile, so has this one.
        while setup is self._setup:
            self.restarts += 1
            one = _Process(self._command, number)
            try:
                await one.start(setup, self._start_s)
            except JudgeError:
                await asyncio.sleep(next(pauses))
                continue
            if setup is self._setup:
                self._join(one)
            else:
                await one.end()
            return

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(one.end(now=True) for one in self._all), return_exceptions=True)
        self._all.clear()


class _Process:
    """One of them; ``number`` says which GPU it takes where it takes one, and is that of its successor too."""

    def __init__(self, command: Sequence[str], number: int) -> None:
        self._command, self.number = command, number
        self._process: asyncio.subprocess.Process | None = None
        self._free = asyncio.Event()
        self._free.set()

    async def start(self, setup: Setup, patience_s: float) -> None:
        """Wait until it is ready; one that is not after ``patience_s``, or that nobody waits for any more, is ended.

        Raises:
            JudgeError: it is not.
        """
        try:
            await self._begin(setup, patience_s)
        except BaseException:
            self.kill()
            await self.end(now=True)
            raise

    async def _begin(self, setup: Setup, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s):
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    start_new_session=True,
                    env=os.environ | {placement.VARIABLE: _device(self.number)},
                )
                head, _ = await self.ask(packed(setup))
                self.release()
        except TimeoutError:
            raise JudgeError(f"it was not ready after {patience_s:g} s") from None
        except OSError as error:
            raise JudgeError(str(error)) from None
        except asyncio.IncompleteReadError:
            raise JudgeError("it ended before it was ready") from None
        ready = msgspec.msgpack.decode(head, type=Ready)
        if ready.error is not None:
            raise JudgeError(ready.error)

    async def ask(self, parts: list[Any]) -> tuple[bytes, bytes]:
        """Send a message, and wait for the answer; `release` says that it was read."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._free.clear()
        self._process.stdin.writelines(parts)
        await self._process.stdin.drain()
        head, body = SIZES.unpack(await self._process.stdout.readexactly(SIZES.size))
        return await self._process.stdout.readexactly(head), await self._process.stdout.readexactly(body)

    def release(self) -> None:
        """It is at nothing."""
        self._free.set()

    def kill(self) -> None:
        """End it, whatever it is at."""
        children.kill(self._process)

    async def ended(self) -> None:
        """Wait until it has."""
        assert self._process is not None
        await self._process.wait()

    async def end(self, *, now: bool = False) -> None:
        """Let it finish what it is at, and end it."""
        process = self._process
        if process is None or process.stdin is None:
            return
        if not now and process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await self._free.wait()
        process.stdin.close()
        await children.ended(process)


def _device(number: int) -> str:
    """The GPU of process ``number``: one after the other from AIMDS_DEVICE on, counted round where it is used."""
    given = os.environ.get(placement.VARIABLE, "0")
    return str(int(given) + number) if given.isascii() and given.isdecimal() else given
