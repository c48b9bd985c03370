"""Requests whose answers have not ended: how many of them each identity has, and how much of their bodies is held."""

from __future__ import annotations

from collections.abc import Iterator

from aimds.gateway.exchange import Exchange
from aimds.gateway.identity import Identity
from aimds.gateway.problem import Problem

MOST_EXCHANGES = 20_000
MOST_OF_ONE = MOST_EXCHANGES // 2
"""Of one identity, so that there is always room for the others."""


class UnderWay:
    """Exchanges, each of an identity or of none; up to `MOST_EXCHANGES`, of an identity `MOST_OF_ONE`."""

    def __init__(self) -> None:
        self._names: dict[Exchange, str] = {}
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._names))

    def check(self, identity: Identity) -> None:
        """Whether ``identity`` may have one more.

        Raises:
            Problem: ``overloaded``.
        """
        if len(self) >= MOST_EXCHANGES:
            raise Problem("overloaded", f"{len(self)} requests are open", retry_after_s=1.0)
        if (count := self._counts.get(_name(identity), 0)) >= MOST_OF_ONE:
            raise Problem("overloaded", f"{count} requests of {identity.name} are open", retry_after_s=1.0)

    def add(self, exchange: Exchange, identity: Identity | None) -> None:
        """``exchange`` begins."""
        name = self._names[exchange] = _name(identity)
        self._counts[name] = self._counts.get(name, 0) + 1

    def discard(self, exchange: Exchange) -> None:
        """``exchange`` is over."""
        name = self._names.pop(exchange, None)
        if name is None:
            return
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]


class Bodies:
    """Bytes of bodies that are kept until enough of them has come, or will be, up to ``most``; of an identity half."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        self._of: dict[str, int] = {}

    def take(self, identity: Identity, size: int) -> None:
        """``size`` bytes more are held for ``identity``; below 0, so many were let go.

        Raises:
            Problem: ``overloaded``; nothing was counted.
        """
        name = _name(identity)
        own = self._of.get(name, 0) + size
        if size > 0 and own > self._most // 2:
            told = f"{own - size} bytes of bodies of {identity.name} are held, which are not whole"
            raise Problem("overloaded", told, retry_after_s=1.0)
        if size > 0 and self.held + size > self._most:
            raise Problem("overloaded", f"{self.held} bytes of bodies are held, which are not whole", retry_after_s=1.0)
        self.held += size
        if own:
            self._of[name] = own
        else:
            self._of.pop(name, None)


def _name(identity: Identity | None) -> str:
    return "" if identity is None else identity.key
