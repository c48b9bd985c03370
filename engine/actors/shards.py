"""Which shard keeps a conversation: rendezvous hashing, so that a shard more or less moves as little as can be.

Sessions fall into a fixed number of slots, slots to shards. A slot is what moves: its state, its sequence numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from aimds.errors import ConfigError

SLOTS = 256


@dataclass(frozen=True, slots=True)
class Move:
    """``slot`` goes from shard ``source`` to shard ``target``; from nowhere where it had none."""

    slot: int
    source: str | None
    target: str


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def slot_of(session_id: str, slots: int = SLOTS) -> int:
    """The slot of a session: the same in every process and on every machine."""
    return _digest(session_id) % slots


class Shards:
    """Slots and who keeps them.

    Args:
        members: names of shards.
        slots: how many there are; it never changes while state is kept.

    Raises:
        ConfigError: no shard, one of them twice, or no slot.
    """

    def __init__(self, members: Iterable[str], slots: int = SLOTS) -> None:
        if slots < 1:
            raise ConfigError("slots", slots, "at least 1")
        self._owner: list[str | None] = [None] * slots
        self.change(members)

    def change(self, members: Iterable[str]) -> list[Move]:
        """From now on ``members`` are the shards; what has to move."""
        names = list(members)
        if not names or len(set(names)) != len(names):
            raise ConfigError("shards", names, "at least one name, each once")
        moves = []
        for slot, before in enumerate(self._owner):
            # Highest random weight (doi:10.1109/90.663936): a slot moves only to a new shard or from a lost one.
            after = max(names, key=lambda name: (_digest(f"{slot}:{name}"), name))
            if after != before:
                moves.append(Move(slot, before, after))
                self._owner[slot] = after
        return moves

    def owner(self, slot: int) -> str:
        """The shard that keeps ``slot``."""
        found = self._owner[slot]
        assert found is not None
        return found

    def slot(self, session_id: str) -> int:
        """The slot of ``session_id``."""
        return slot_of(session_id, len(self._owner))
