"""Whether more is caught than before, over the traffic of all gateways that share an actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aimds.actors.lines import Call, Lines, Way

WAIT_S: Final = 1.0


class SharedDrift:
    """Hands counts to the one `aimds.learn.drift.Traffic` behind ``way``.

    Args:
        sender: a name that no other gateway has or had.
        clock: monotonic seconds.
        say: told what a person should know.
    """

    def __init__(self, way: Way, sender: str, *, clock: Callable[[], float], say: Callable[[str], None]) -> None:
        self._lines = Lines(way, sender, 1, what="drift", clock=clock, say=say)
        self._open: list[Call] = []

    def seen(self, rows: int, caught: int) -> int:
        """As `Traffic.seen`; alarms that are answered late come with the next call. Each is given to one gateway."""
        self._open.append(Call("seen", (rows, caught)))
        self._lines.ask({0: self._open[-1:]}, WAIT_S)
        over = [call for call in self._open if call.over]
        self._open = [call for call in self._open if not call.over]
        return sum(call.said.value or 0 for call in over if call.said is not None)
