"""Sessions that are held, for administrators: which they are, and letting one go."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aimds.errors import AimdsError
from aimds.gateway.identity import Identity
from aimds.gateway.problem import Problem
from aimds.gateway.upkeep import Upkeep
from aimds.respond.carry_out import Responder


class Holds:
    """The sessions that ``responder`` holds; ``upkeep`` records what is let go. ``wall``: seconds since 1970."""

    def __init__(self, responder: Responder, upkeep: Upkeep, wall: Callable[[], float]) -> None:
        self._responder, self._upkeep, self._wall = responder, upkeep, wall

    def listed(self, identity: Identity) -> list[dict[str, Any]]:
        """Those that ``identity`` may know of."""
        now, rows = self._wall(), []
        for kind, holds in self._responder.listed(now).items():
            for (tenant, session, sender), hold in holds:
                if identity.tenant in (None, tenant):
                    at = datetime.fromtimestamp(hold.since, UTC).isoformat(timespec="seconds")
                    left = None if math.isinf(hold.until) else round(hold.until - now)
                    whose = {"tenant": tenant, "session_id": session, "sender": sender}
                    times = {"since": at, "seconds_left": left, "request_id": hold.request_id}
                    rows.append({"session_action": kind, **whose, **times})
        return rows

    def release(self, tenant: str | None, session_id: str, identity: Identity) -> bool:
        """Let a session go; False where it is not held.

        Raises:
            Problem: it was let go, and that could not be recorded.
        """
        released = self._responder.release(tenant, session_id, self._wall())
        if released:
            try:
                whose: dict[str, Any] = {"tenant": tenant, "session_id": session_id, "identity": identity.name}
                self._upkeep.record("released", whose)
            except AimdsError as error:
                raise Problem("internal", f"the session was let go, but that could not be recorded: {error}") from error
        return released
