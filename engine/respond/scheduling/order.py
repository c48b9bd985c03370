"""Tasks by class and deadline, without what they do: the wheel and the book of admission as one thing."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from aimds.respond.scheduling import slack, wheel

Ints = npt.NDArray[np.int64]
# A micro-batch is so short that looking up what is called, and calling more than that, would be a fifth of it.
_admit, _push, _pop, _leave = slack.admit, wheel.push, wheel.pop, wheel.leave

CLASSES: Final = ("critical", "high", "medium", "low")
ABOVE: Final = (0.95, 0.85, 0.70)
"""A confidence above the first is critical, above the second high, above the third medium, else low."""
CRITICAL_WITHIN_NS: Final = 10_000_000
COUNTERS: Final = {
    "pushed": wheel.PUSHED,
    "refused": wheel.BOOK + slack.TURNED_AWAY,
    "full": wheel.NO_ROOM,
    "dispatched": wheel.DISPATCHED,
    "cancelled": wheel.CANCELLED,
    "late_at_dispatch": wheel.LATE_START,
    "completed": wheel.COMPLETED,
    "late_at_completion": wheel.LATE_END,
}


def classes(confidences: npt.ArrayLike) -> Ints:
    """Code into CLASSES per confidence, int64; one that is not a number is low."""
    given = np.asarray(confidences, np.float64)
    above: Ints = (given[..., None] > np.array(ABOVE)).sum(-1, dtype=np.int64)
    return np.asarray(len(ABOVE) - above, np.int64)


class Order:
    """Room for ``capacity`` tasks, and which is next. Times are nanoseconds of one clock.

    Args:
        aging_ns: a task this much past its deadline counts as one class higher, twice as much as two, but never as
            the first class; 0: never.
        admission: what would be late, or make late what was taken in its class, is refused.
        tracked: a task that was popped holds its room, and its cost its place before others, until `complete`.
    """

    __slots__ = ("_admission", "_book", "state")

    def __init__(self, capacity: int, *, aging_ns: int = 0, admission: bool = False, tracked: bool = True) -> None:
        state = np.zeros(wheel.SLOTS + capacity * (wheel.SLOT + 1 + wheel.CLASSES), np.int64)
        state[wheel.CAPACITY] = state[wheel.FREE_TOP] = capacity
        state[wheel.AGING], state[wheel.ADMISSION] = -(-aging_ns >> wheel.TICK_BITS), admission
        state[wheel.TRACKED] = tracked
        state[wheel.LISTS : wheel.SLOTS] = -1
        free = wheel.SLOTS + capacity * wheel.SLOT
        state[free : free + capacity] = np.arange(capacity)[::-1]
        state[wheel.BOOK + slack.STALE : wheel.BOOK + slack.STALE + wheel.CLASSES] = (1 << 16) - 1
        self.state, self._admission = state, admission
        self._book = state[wheel.BOOK : wheel.BOOK + slack.BOOK_SIZE]

    def push(self, tasks: Ints, now: int, handles: Ints, *, force: bool = False) -> int:
        """Take ``tasks`` int64 (B, 3) of class, deadline and cost, in order; gives the number taken.

        ``handles`` int64 (B,) is filled: REFUSED (-1) or FULL (-2) for what is not taken. ``force``: none is refused.
        A deadline that has passed counts as now.
        """
        if self._admission:
            _admit(self._book, tasks, now, force, handles)
        taken: int = _push(self.state, tasks, now, handles)
        return taken

    def pop(self, now: int, most: int, handles: Ints) -> int:
        """Take out at most ``most`` tasks, the next one first, their handles to the front of ``handles``."""
        given: int = _pop(self.state, now, most, handles)
        return given

    def cancel(self, handles: Ints) -> int:
        """Take out tasks that wait; gives their number. Handles of tasks that began, ended or left do nothing."""
        gone: int = _leave(self.state, 0, handles, 0)
        return gone

    def complete(self, now: int, handles: Ints) -> int:
        """End tasks that were popped; gives their number, and counts those past their deadline."""
        gone: int = _leave(self.state, now, handles, 1)
        return gone

    @property
    def pending(self) -> int:
        """Tasks that wait."""
        return int(self.state[wheel.PENDING])

    @property
    def running(self) -> int:
        """Tasks that were popped and are not completed."""
        return int(self.state[wheel.RUNNING])

    def counts(self) -> dict[str, dict[str, int]]:
        """Every counter of COUNTERS by class, since the beginning."""
        width = len(CLASSES)
        rows = {name: self.state[place : place + width].tolist() for name, place in COUNTERS.items()}
        return {name: dict(zip(CLASSES, row, strict=True)) for name, row in rows.items()}
