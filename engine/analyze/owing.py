"""Sessions that end while something is still owed: no row is left that could say so."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_ENDED: Final = 10_000
"""So many that have ended wait to be told of, or twice as many as go on at once where that is more."""


@dataclass(frozen=True, slots=True)
class Owed:
    """A session that has ended, and the ``policies`` that it breaks by that: what they ask for did not come.
    ``request_id`` is that of its last row."""

    tenant: str | None
    session_id: str
    request_id: str | None
    policies: tuple[str, ...]


class Owing:
    """By slot, the sessions that would break a policy if they ended now; and those that have ended so.

    ``capacity``: sessions that go on at once.
    """

    def __init__(self, capacity: int = 0) -> None:
        self.sessions: dict[int, tuple[str | None, str, str | None]] = {}
        """Tenant, session and last request by slot; only of sessions that owe something."""
        self.counts: Counter[str] = Counter()
        """Sessions that ended so, by policy."""
        self.ended: deque[Owed] = deque(maxlen=max(MOST_ENDED, 2 * capacity))
        """Those that have ended so and were not `taken` yet."""

    def end(self, slot: int, policies: Sequence[str]) -> None:
        """The session in ``slot`` has ended, and breaks ``policies`` by that."""
        who = self.sessions.pop(slot, None)
        if who is not None:
            self.left(who, policies)

    def left(self, who: tuple[str | None, str, str | None], policies: Sequence[str]) -> None:
        """``who`` (tenant, session and last request) has ended without a slot, and breaks ``policies`` by that."""
        if policies:
            self.counts.update(policies)
            self.ended.append(Owed(*who, tuple(policies)))

    def taken(self) -> list[Owed]:
        """The sessions that have ended since this was last asked; of more than can wait, the last."""
        out = list(self.ended)
        self.ended.clear()
        return out
