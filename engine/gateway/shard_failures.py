"""Calls to shards of sessions that came to nothing though no row waited for them: counted, and said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from aimds.actors.lines import Call


class ShardFailures:
    """``counts`` by method; ``say`` is told of the first in a row, for each shard and method."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._say = say
        self._failing: set[tuple[int, str]] = set()

    def heard(self, shard: int, call: Call) -> bool:
        """Whether ``call``, which is over, was done."""
        why = "too much waited for it" if call.said is None else call.said.failed
        place = shard, call.method
        if why is None:
            self._failing.discard(place)
            return True
        self.counts[call.method] += 1
        if place not in self._failing:
            self._failing.add(place)
            self._say(f"shard {shard} of sessions could not do {call.method!r}: {why}")
        return False
