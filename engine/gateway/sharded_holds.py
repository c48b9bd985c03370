"""Which sessions shards hold, as a gateway knows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aimds.respond.carry_out import Notifier, Responder
from aimds.respond.held import Hold, Key
from aimds.respond.sessions import HELD

KINDS: Final = tuple(HELD.values())


class ShardedResponder(Responder):
    """Knows of the sessions that shards hold what they said last; `ShardedFollower` fills it.

    Args:
        notifier: None: nobody is told.
    """

    def __init__(self, notifier: Notifier | None = None) -> None:
        super().__init__(notifier)
        self.known: list[dict[str, dict[Key, Hold]]] = []
        """By shard and session action, what it held when it was last heard of."""
        self.released: Callable[[str | None, str], None] = lambda tenant, session_id: None
        """Told of a session that is to be let go."""
        self.look: Callable[[], dict[str, list[tuple[Key, Hold]]]] = dict
        """Asks the shards for the holds whose time is over."""

    def listed(self, now: float) -> dict[str, list[tuple[Key, Hold]]]:
        return {
            kind: [(key, hold) for one in self.known for key, hold in one[kind].items() if hold.until > now]
            for kind in KINDS
        }

    def ended(self, now: float) -> dict[str, list[tuple[Key, Hold]]]:
        return self.look()

    def release(self, tenant: str | None, session_id: str, now: float) -> bool:
        key: Key = (tenant, session_id, None)
        found = [(one, kind) for one in list(self.known) for kind in KINDS if key in one[kind]]
        for one, kind in found:
            # Others may be reading what is there.
            one[kind] = {other: hold for other, hold in one[kind].items() if other != key}
        if found:
            self.released(tenant, session_id)
        return bool(found)

    @property
    def counts(self) -> dict[str, int]:
        return {kind: sum(len(one[kind]) for one in self.known) for kind in KINDS}
