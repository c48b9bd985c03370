"""What a gateway keeps of conversations: their scores, and how far they are in the policies over traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aimds.analyze.attractors import Attractors
from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.gateway.following import Follower
from aimds.gateway.joined import Joined
from aimds.gateway.session_file import SessionFile
from aimds.gateway.settings import SHIPPED, Settings
from aimds.ltl.policies import TracePolicies


def sessions(settings: Settings, screener: Callable[[], Any], say: Callable[[str], None]) -> Sessions | None:
    """What scores conversations, where ``settings`` ask for it; ``screener`` gives what judges joined turns, ``say`` is
    told where it fails."""
    if settings.sessions is None:
        return None
    found = settings.sessions
    attractor = Attractors.load().column if found.attractor else None
    judge = Joined(screener, say) if found.joined else None
    return Sessions(capacity=found.capacity, max_age_s=found.max_age_s, screener=judge, attractor=attractor)


def snapshot(settings: Settings, follower: Follower, say: Callable[[str], None]) -> SessionFile | None:
    """The file that ``settings`` name, with what is in it given to ``follower``; ``say`` is told what became of it."""
    if settings.sessions is None or settings.sessions.snapshot is None:
        return None
    return SessionFile(settings.sessions.snapshot, follower, say)


def watch(settings: Settings, now: Watch | None = None) -> Watch | None:
    """What follows the policies that ``settings`` name; ``now`` where it has the same ones.

    Raises:
        AimdsError: they cannot be used.
    """
    following = settings.sessions
    if following is None or following.policies is None:
        return None
    policies = TracePolicies.load(None if following.policies == SHIPPED else following.policies)
    if now is not None and policies.version == now.policies.version:
        return now
    return Watch(policies, capacity=following.capacity, max_age_s=following.max_age_s)
