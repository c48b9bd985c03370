"""What a gateway keeps of conversations: their scores, and how far they are in the policies over traces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import aimds
from aimds.analyze.attractors import Attractors
from aimds.analyze.owing import Owed
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.errors import AimdsError, ConfigError
from aimds.gateway.following import Follower
from aimds.gateway.joined import Joined
from aimds.gateway.session_file import SessionFile
from aimds.gateway.settings import SHIPPED, Settings
from aimds.gateway.sharded import ShardedFollower
from aimds.gateway.sharded_holds import ShardedResponder
from aimds.gateway.shared_drift import SharedDrift
from aimds.learn.drift import Traffic
from aimds.ltl.policies import TracePolicies
from aimds.respond.carry_out import Notifier, Responder
from aimds.respond.hold_file import HoldFile

if TYPE_CHECKING:
    from aimds.actors.stateful import Stateful

BEGIN_S: Final = 60.0
SHARD: Final = "aimds.gateway.session_shard:SessionShard"
TRAFFIC: Final = "aimds.learn.drift:Traffic"
Say = Callable[[str], None]


def sessions(settings: Settings, screener: Callable[[], Any], say: Say) -> Sessions | None:
    """What scores conversations, where ``settings`` ask for it; ``screener`` gives what judges joined turns, ``say`` is
    told where it fails."""
    if settings.sessions is None:
        return None
    found = settings.sessions
    attractor = Attractors.load().column if found.attractor else None
    judge = Joined(screener, say) if found.joined else None
    return Sessions(capacity=found.capacity, max_age_s=found.max_age_s, screener=judge, attractor=attractor)


def snapshot(settings: Settings, follower: Follower, say: Say) -> SessionFile | None:
    """The file that ``settings`` name, with what is in it given to ``follower``; ``say`` is told what became of it."""
    if settings.sessions is None or settings.sessions.snapshot is None:
        return None
    return SessionFile(settings.sessions.snapshot, follower, say)


def policies(settings: Settings) -> TracePolicies | None:
    """The policies over traces that ``settings`` name.

    Raises:
        AimdsError: they cannot be used.
    """
    if settings.sessions is None or settings.sessions.policies is None:
        return None
    path = settings.sessions.policies
    return TracePolicies.load(None if path == SHIPPED else path)


def watch(settings: Settings, now: Watch | None = None) -> Watch | None:
    """What follows the policies that ``settings`` name; ``now`` where it has the same ones.

    Raises:
        AimdsError: they cannot be used.
    """
    found, following = policies(settings), settings.sessions
    if found is None or following is None:
        return None
    if now is not None and found.version == now.policies.version:
        return now
    return Watch(found, capacity=following.capacity, max_age_s=following.max_age_s)


def responder(settings: Settings, told: Notifier | None, file: HoldFile | None, now: float) -> Responder:
    """What holds sessions, or knows which are held; ``told`` of rows. ``file`` and ``now`` as `Responder` has them."""
    if settings.ray is not None and settings.ray.sessions:
        return ShardedResponder(told)
    return Responder(told, file=file, now=now)


class Following:
    """The follower that ``settings`` ask for, and what gateways of a group share beside it.

    Args:
        responder: as `responder` gives it.
        screener: gives what judges joined turns.
        clock: monotonic seconds; ``wall``: seconds since 1970.
        say: told what a person should know.

    Raises:
        AimdsError: policies or a file cannot be used, or shards cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        responder: Responder,
        screener: Callable[[], Any],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        say: Say,
    ) -> None:
        self._say = say
        self._way: Stateful | None = None
        self._learning: Stateful | None = None
        self.kept: SessionFile | None = None
        self.follower: Follower | ShardedFollower
        self.caught: Callable[[int, int], int] = Traffic().seen
        """Given rows and how many of them were caught, over all gateways of a group, says how many alarms there are."""
        if isinstance(responder, ShardedResponder):
            self._way = _way(settings)
            self.follower = _sharded(settings, self._way, responder, clock, wall, say)
            self.caught = self._drift(settings, clock)
            return
        made = sessions(settings, screener, say)
        self.follower = Follower(made, watch(settings), responder, clock=clock, wall=wall)
        self.kept = snapshot(settings, self.follower, say)

    def _drift(self, settings: Settings, clock: Callable[[], float]) -> Callable[[int, int], int]:
        if settings.ray is None or settings.ray.group is None:
            return self.caught
        from aimds.actors.stateful import Stateful

        terms = {"version": aimds.__version__}
        self._learning = Stateful("learning", TRAFFIC, {}, group=settings.ray.group, terms=terms)
        return SharedDrift(self._learning, os.urandom(8).hex(), clock=clock, say=self._say).seen

    async def begin(self) -> None:
        """Wait until the shards are ready, where there are any.

        Raises:
            AimdsError: they cannot be started.
        """
        follower, way = self.follower, self._way
        if not isinstance(follower, ShardedFollower) or way is None:
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, way.ready, len(follower))
        await loop.run_in_executor(None, follower.begin, BEGIN_S)
        self._say(f"Ray: {len(follower)} shards keep sessions")

    def renewed(self, settings: Settings) -> Callable[[], list[Owed]]:
        """What goes on with the policies over sessions of ``settings`` once it is called, and gives what was owed by
        those before.

        Raises:
            AimdsError: they cannot be used.
        """
        follower = self.follower
        if not isinstance(follower, ShardedFollower):
            made, inside = watch(settings, follower.watch), follower
            return lambda: inside.use(made)
        found, on, sharded = policies(settings), settings.ray, follower
        shards = len(follower) if on is None or not on.sessions else on.sessions
        if shards != len(follower) and follower.outlives:
            raise ConfigError("ray.sessions", shards, f"{len(follower)}, as long as others use these shards")

        def use() -> list[Owed]:
            owed, before = sharded.use(found), len(sharded)
            if shards != before:
                try:
                    moved = sharded.resize(shards)
                except AimdsError:
                    sharded.owe(owed)
                    raise
                self._say(f"sessions are kept by {shards} shards in the place of {before}; {moved} of 256 slots moved")
            return owed

        return use

    def ended(self, tell: Callable[[list[Owed]], None]) -> None:
        """``tell`` what is owed to sessions that have ended by now; all have, where nothing keeps them on."""
        follower = self.follower
        # What has ended by now is told of before what goes on is written, or the next start would tell of it again.
        tell(follower.forget())
        if isinstance(follower, ShardedFollower) and follower.outlives:
            return
        if self.kept is None or not self.kept.write():
            tell(follower.forget(over=True))

    def close(self) -> None:
        """Let go of the shards."""
        for way in (self._way, self._learning):
            if way is not None:
                way.close()


def _way(settings: Settings) -> Stateful:
    from aimds.actors.stateful import Stateful

    following, on = settings.sessions, settings.ray
    assert following is not None
    assert on is not None
    if on.group is not None and on.address is None and not os.environ.get("RAY_ADDRESS"):
        expected = "nothing without ray.address: a Ray of this machine ends with the gateway"
        raise ConfigError("ray.group", on.group, expected)
    made = {
        "capacity": following.capacity,
        "max_age_s": float(following.max_age_s),
        "attractor": following.attractor,
    }
    # What is kept is handed over within one version only.
    terms = {"version": aimds.__version__, "shards": on.sessions, **made}
    return Stateful("sessions", SHARD, made, group=on.group, terms=terms)


def _sharded(
    settings: Settings,
    way: Stateful,
    responder: ShardedResponder,
    clock: Callable[[], float],
    wall: Callable[[], float],
    say: Say,
) -> ShardedFollower:
    assert settings.ray is not None
    return ShardedFollower(
        way,
        settings.ray.sessions,
        os.urandom(8).hex(),
        responder,
        policies(settings),
        outlives=settings.ray.group is not None,
        clock=clock,
        wall=wall,
        say=say,
    )
