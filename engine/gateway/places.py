"""Connections that each source address holds open, over QUIC and TCP together: few enough that others find room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aimds.errors import ConfigError
from aimds.gateway.limits import source
from aimds.gateway.problem import Problem

CONNECTIONS: Final = 4096
"""Of one address: more than a site behind one address wants, a fifth of what a gateway holds over QUIC."""

ROOM, CROWDED, FULL = 0, 1, 2
"""Of an address: it has less than half of its connections, half of them, all of them."""


class Places:
    """Counts open connections by the address that opened them, wherever a client moves later; of IPv6 its /64 counts.

    Each call is O(1), and an address without connections leaves nothing behind.

    Args:
        each: how many one address may hold open, 0 for no limit.

    Raises:
        ConfigError: ``each`` is below 0.
    """

    def __init__(self, each: int = 0) -> None:
        if each < 0:
            raise ConfigError("listen.connections_per_address", each, "connections of one address, 0 for no limit")
        self._each = each
        self._counts: dict[str, int] = {}
        self.changed: Callable[[str, int], None] | None = None
        """Told how an address, as `take` names it, stands, when that changes: ROOM, CROWDED or FULL."""

    def __len__(self) -> int:
        """Addresses that have connections."""
        return len(self._counts)

    def take(self, address: str) -> str:
        """Count a connection from ``address``; what to `leave` with when it is over.

        Raises:
            Problem: ``too-many-connections``; nothing was counted.
        """
        name = source(address)
        count = self._counts.get(name, 0)
        if self._each and count >= self._each:
            raise Problem("too-many-connections", f"{count} are open already", retry_after_s=1.0)
        self._count(name, count, count + 1)
        return name

    def leave(self, name: str) -> None:
        """The connection that `take` gave ``name`` for is over."""
        count = self._counts[name]
        self._count(name, count, count - 1)

    def _count(self, name: str, before: int, now: int) -> None:
        if now:
            self._counts[name] = now
        else:
            del self._counts[name]
        if self.changed is not None and self._standing(before) != self._standing(now):
            self.changed(name, self._standing(now))

    def _standing(self, count: int) -> int:
        if not 0 < self._each <= 2 * count:
            return ROOM
        return CROWDED if count < self._each else FULL

    def standings(self) -> dict[str, int]:
        """Of each address that has no room to spare: CROWDED or FULL."""
        found = {name: self._standing(count) for name, count in self._counts.items()}
        return {name: one for name, one in found.items() if one != ROOM}

    def is_crowded(self, address: str) -> bool:
        """Whether half of what ``address`` may have is taken, so that it has to be shown to be true: or connections
        begun in its name would shut it out."""
        return self._standing(self._counts.get(source(address), 0)) != ROOM
