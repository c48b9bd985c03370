"""How large the datagrams may be that are sent on a path: as many bytes as were asked for, once one has arrived.

A probe is a PING padded to that size (RFC 9000, section 14.4). Of the search of RFC 8899 there is this one step: who
asks for a size knows a network that carries it, and where it does not, the least of QUIC is what is left.
"""

from __future__ import annotations

from typing import Final

LEAST: Final = 1200
"""Every path of QUIC's carries so much (RFC 9000, section 14)."""
MOST: Final = 16_383
"""That are taken, and may be asked for."""
TRIES: Final = 3
"""Probes that are lost before the path is known not to carry them (RFC 8899, MAX_PROBES)."""
AGAIN_S: Final = 600.0
"""Until it is tried again then (RFC 8899, PMTU_RAISE_TIMER)."""
HOLES: Final = 3
"""Times that large datagrams were lost and none of them arrived between, after which the path is known to have changed
(RFC 8899, section 4.3)."""


class Probing:
    """One path. ``wanted`` is asked for; ``size`` is what is sent."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.size = wanted, min(wanted, LEAST)
        self._tries = self._holes = 0
        self._under_way = False
        self._again_at = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a probe is to be sent."""
        if self.size >= self.wanted or self._under_way or (self._tries >= TRIES and now < self._again_at):
            return False
        if self._tries >= TRIES:
            self._tries = 0
        return True

    def sent(self) -> None:
        """A probe is under way."""
        self._under_way = True

    def arrived(self) -> None:
        """It was acknowledged."""
        self._under_way, self._tries, self._holes = False, 0, 0
        self.size = self.wanted

    def lost(self, now: float) -> None:
        """It was lost."""
        self._under_way = False
        self._tries += 1
        self._again_at = now + AGAIN_S

    def large_arrived(self) -> None:
        """A datagram that is larger than the least was acknowledged."""
        self._holes = 0

    def large_lost(self) -> None:
        """Some that were sent together were lost. What is smaller may still arrive, so it may be their size."""
        if self.size <= LEAST:
            return
        self._holes += 1
        if self._holes >= HOLES:
            # Had they met other traffic alone, the next probe shows it.
            self.size, self._holes = LEAST, 0
