"""The processes that speak QUIC for a gateway on one port: started, replaced when they end, and brought to an end."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from aimds.errors import AimdsError
from aimds.gateway import children
from aimds.gateway.places import Places
from aimds.gateway.protocol import Service
from aimds.gateway.relay.link import Certified, Kind, Link, Setup, encoded
from aimds.gateway.relay.near import Near

COMMAND: Final = (sys.executable, "-m", "aimds.gateway.relay.process")
START_S: Final = 60.0
BEAT_S: Final = 5.0
"""So often each is asked whether it is there."""
MOST_UNANSWERED: Final = 3
"""One that was asked so often and has not answered is ended."""


class RelayError(AimdsError):
    """A process that speaks QUIC could not be started; ``reason`` is what it said."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"a process that speaks QUIC could not be started: {reason}")


class Processes:
    """One for each of ``socks``, which stay open here, so that the one that takes the place of another finds what came
    meanwhile.

    Args:
        service: is brought their requests.
        setup: how they listen; its ``number`` and ``standings`` are filled in here.
        places: of source addresses, over all of them and TCP.
        say: told what a person should know.
        command: what is started; another one in tests.
    """

    def __init__(
        self,
        service: Service,
        socks: Sequence[socket.socket],
        setup: Setup,
        places: Places,
        say: Callable[[str], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._service, self._socks, self._setup = service, list(socks), setup
        self._places, self._say, self._command = places, say, tuple(command)
        self._all: dict[int, _One] = {}
        """Those that listen, by number."""
        self.told: set[_One] = set()
        """Those that were told how to listen, and so of what changes."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.restarts = 0
        """Processes that ended and were started again."""
        places.changed = self._stands

    async def start(self) -> None:
        """Start all of them, and wait until they listen.

        Raises:
            RelayError: one of them cannot; none is left.
        """
        made = [_One(self, number) for number in range(len(self._socks))]
        starts = [asyncio.ensure_future(one.start()) for one in made]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(one.end(0.0) for one in made), return_exceptions=True)
            raise
        self._all = {one.number: one for one in made}
        for one in made:
            self._keep(self._watch(one))
        self._keep(self._beat())

    @property
    def ready(self) -> int:
        """Those that listen."""
        return len(self._all)

    def pids(self) -> list[int]:
        """Their process ids, by number."""
        return [self._all[number].pid for number in sorted(self._all)]

    def use(self, certified: Certified) -> None:
        """New connections see this certificate."""
        self._setup.certified = certified
        for one in self.told:
            one.send(Kind.USE, 0, encoded(certified))

    async def close(self, seconds: float) -> None:
        """Have their clients take what is theirs, for at most ``seconds``, and end them."""
        self._closing = True
        self._places.changed = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(one.end(seconds) for one in self._all.values()), return_exceptions=True)
        self._all.clear()
        for sock in self._socks:
            sock.close()

    def _stands(self, name: str, standing: int) -> None:
        for one in self.told:
            one.send(Kind.STANDING, standing, name.encode())

    def _stray(self, number: int, payload: bytes) -> None:
        one = self._all.get(number)
        if one is not None and one.near.link is not None and not one.near.link.is_full:
            one.send(Kind.HANDED, 0, payload)

    async def _watch(self, one: _One) -> None:
        while True:
            await one.ended()
            if self._closing:
                return
            self._all.pop(one.number, None)
            self._say(f"process {one.number} that speaks QUIC has ended; its connections are lost, another is started")
            one = await self._revived(one.number)

    async def _revived(self, number: int) -> _One:
        pauses = children.pauses()
        while True:
            self.restarts += 1
            one = _One(self, number)
            try:
                await one.start()
            except RelayError as error:
                await one.end(0.0)
                pause = next(pauses)
                self._say(f"{error}; tried again in {pause:g} s")
                await asyncio.sleep(pause)
                continue
            except BaseException:
                # Or it would outlive what it speaks for.
                one.kill()
                raise
            self._all[number] = one
            return one

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            for one in self._all.values():
                # Not by the clock: it may be this process that did not run.
                if one.near.unanswered >= MOST_UNANSWERED:
                    one.kill()
                one.near.unanswered += 1
                one.send(Kind.THERE, 0)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _One:
    """One of them."""

    def __init__(self, all_: Processes, number: int) -> None:
        self._all, self.number = all_, number
        self.near = Near(all_._service, all_._places, all_._stray)
        self._process: asyncio.subprocess.Process | None = None
        self._lost = asyncio.Event()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Send it a frame."""
        if self.near.link is not None:
            self.near.link.send(kind, number, payload)

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RelayError: it cannot.
        """
        of, sock = self._all, self._all._socks[self.number]
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            descriptors = sock.fileno(), theirs.fileno()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *of._command,
                    *map(str, descriptors),
                    pass_fds=descriptors,
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise RelayError(str(error)) from None
        ours.setblocking(False)
        self.near.link = await Link.over(ours, self.near.receive, self._gone)
        self.send(
            Kind.SETUP,
            0,
            encoded(msgspec.structs.replace(of._setup, number=self.number, standings=of._places.standings())),
        )
        of.told.add(self)
        try:
            async with asyncio.timeout(START_S):
                problem = await asyncio.shield(self.near.ready)
        except TimeoutError:
            problem = f"it was not ready after {START_S:g} s"
        if problem:
            raise RelayError(problem)

    def _gone(self) -> None:
        self.near.link = None
        self._all.told.discard(self)
        self._lost.set()
        self.kill()
        self.near.lost()

    async def ended(self) -> None:
        """Wait until it has."""
        await self._lost.wait()
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """End it, whatever it is at."""
        children.kill(self._process)

    async def end(self, seconds: float) -> None:
        """Let its clients take what is theirs, for at most ``seconds``, and end it."""
        if self._process is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + max(0.0, seconds)
        # What is on its way to a client is known there, what is not, here.
        while self.near.owes and loop.time() < until:
            await asyncio.sleep(0.01)
        self.send(Kind.CLOSE, 0, encoded(max(0.0, until - loop.time())))
        await children.ended(self._process, max(0.0, until - loop.time()) + children.END_S)
        if self.near.link is not None:
            self.near.link.close()
