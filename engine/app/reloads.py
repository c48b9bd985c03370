"""What a running gateway takes up anew when it is told to, without dropping a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aimds.analyze.owing import Owed
from aimds.app import reviews
from aimds.app.following import Following
from aimds.app.judging import Judging
from aimds.app.reviews import Reviews
from aimds.app.sockets import Sockets
from aimds.app.tiers import ModelTiers
from aimds.errors import AimdsError
from aimds.gateway.auth import Auth, Credentials
from aimds.gateway.frames import Setup
from aimds.gateway.protocol import Service
from aimds.gateway.settings import Screening, Settings
from aimds.gateway.upkeep import Upkeep
from aimds.gateway.worker import Worker


@dataclass(frozen=True, slots=True)
class Sources:
    """Where what is new comes from.

    ``reread`` gives the settings anew · ``build`` makes the screener · ``warm``: texts that make a process that judges
    ready to work · ``credentials``: who is let in by them; reads, and changes nothing that is in force.
    """

    reread: Callable[[], Settings]
    build: Callable[[Screening], Any]
    warm: Sequence[str]
    credentials: Callable[[Settings], Credentials]


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the gateway that are given what is new; None: there is none (of ``auth``: everybody is let in)."""

    worker: Worker
    service: Service
    sockets: Sockets
    following: Following
    tiers: ModelTiers
    auth: Auth | None
    upkeep: Upkeep
    judging: Judging | None
    reviews: Reviews | None


class Reloads:
    """Takes up changed certificates, keys, key sets, weights, policy, patterns, tiers and what was learnt.

    Args:
        sources: where they come from; ``parts`` take them up.
        tell: records what was owed to sessions that a new policy ends.
        say: told what a person should know.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        sources: Sources,
        parts: Parts,
        *,
        tell: Callable[[list[Owed]], None],
        say: Callable[[str], None],
        wall: Callable[[], float],
    ) -> None:
        self._sources, self._parts = sources, parts
        self._tell, self._say, self._wall = tell, say, wall
        self._under_way: set[asyncio.Task[None]] = set()
        self._one = asyncio.Lock()
        self._telling: asyncio.Future[str | None] | None = None
        self.last: dict[str, Any] = {}
        """When the last one ended, and what was wrong with it; empty before the first."""

    def soon(self) -> dict[str, Any]:
        """Begin one; what to say of it."""
        task = asyncio.create_task(self.reload())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return {"reload": "started"}

    async def reload(self) -> None:
        """Take up what has changed. What cannot be used is said, and all stays as it was. One at a time: each goes on
        from what the one before it left."""
        async with self._one:
            await self._reload()

    async def _reload(self) -> None:
        sources, parts = self._sources, self._parts
        auth, judging, kept = parts.auth, parts.judging, parts.reviews
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds")
        loop = asyncio.get_running_loop()
        try:
            settings = sources.reread().check()
            found = None
            if auth is not None and not settings.insecure:
                found = await loop.run_in_executor(None, sources.credentials, settings)
            screener = await loop.run_in_executor(None, sources.build, settings.screening)
            actions = None if kept is None else reviews.chosen(settings.screening)
            use = parts.following.renewed(settings)
            tiers = await loop.run_in_executor(None, parts.tiers.read, settings)
            read = parts.sockets.read(settings)
            if judging is not None:
                await judging.judges.replace(Setup(settings.screening, tuple(sources.warm)))
            parts.sockets.use(settings, read)
        except (AimdsError, OSError, ssl.SSLError) as error:
            self.last = {"at": at, "error": str(error)}
            self._say(f"reload failed, everything stays as it was: {error}")
            return
        if found is not None and auth is not None:
            auth.credentials = found
            parts.upkeep.use_keys(found.key_set)
        parts.worker.replace(screener)
        parts.tiers.use(tiers, parts.worker, parts.service)
        # A reload that is given up goes on here: what is owed is told before the log is closed.
        self._telling = loop.run_in_executor(None, self._renewed, use)
        problem = await asyncio.shield(self._telling)
        if kept is not None and actions is not None:
            kept.reviewing.actions = actions
        parts.service.batcher.weights = dict(settings.weights)
        self.last = {"at": at, "error": problem}
        self._say("reloaded" if problem is None else f"reloaded, but for {problem}")

    def _renewed(self, use: Callable[[], list[Owed]]) -> str | None:
        try:
            owed = use()
        except AimdsError as error:
            return f"sessions: {error}"
        self._tell(owed)
        return None

    async def close(self, patience_s: float) -> None:
        """Wait for those under way, at most ``patience_s``; then give them up, but for what is owed."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=max(0.0, patience_s))
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._telling is not None:
            await self._telling
