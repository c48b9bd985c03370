"""A state that counts: the turns of each session and the sum of their numbers."""

from __future__ import annotations

from typing import Any


class Counting:
    """Answers with how many turns of the session there were, and their sum."""

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}

    def observe(self, turn: Any) -> list[int]:
        session, number = turn
        found = self.counts.setdefault(session, [0, 0])
        found[0] += 1
        found[1] += number
        return list(found)

    def snapshot(self) -> dict[str, list[int]]:
        return {session: list(found) for session, found in self.counts.items()}

    def restore(self, snapshot: dict[str, list[int]]) -> None:
        self.counts = {session: list(found) for session, found in snapshot.items()}
