"""Who may come in: what the service asks of those who know identities, or pages of their own."""

from __future__ import annotations

from typing import Protocol

from aimds.gateway.exchange import Exchange
from aimds.gateway.headers import Head
from aimds.gateway.identity import LOCAL, Identity, Peer, Route


class Access(Protocol):
    """Who may come in."""

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        """The verified sender of a request, or raise a Problem."""


class Everybody:
    """Access where no identity is asked for."""

    def identify(self, head: Head, peer: Peer, route: Route, now: float) -> Identity:
        """The local identity."""
        return LOCAL


class Pages(Protocol):
    """A part of the paths that somebody else answers."""

    def owns(self, path: str) -> bool:
        """Whether ``path`` is one of them."""

    def open(self, head: Head, peer: Peer, now: float) -> Exchange:
        """The exchange of a request, or raise a Problem."""
