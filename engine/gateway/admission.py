"""Whether a request that comes now can still be answered in time: decided in O(1) when it comes, never afterwards.

A server that takes everything in and throws away what is late does so when the work of waiting is already lost; under
overload nearly all of it is late. Here a request is refused at once, with the time after which it would be taken.
"""

from __future__ import annotations

from dataclasses import dataclass

from aimds.gateway.problem import Problem

ROW_WORK = 128
"""What a row costs beside its bytes, in bytes of text."""
FORGET = 0.92
CLIP = 4.0
"""One batch counts at most this many times what was expected: a compilation must not close the door for a minute."""
LEAST_SPREAD = 1e-3
MARGIN = 1.5
"""On the estimate: batches vary, tenants take turns by jobs and not by bytes, and who asks counts the way to and fro. A
queue that is shorter than it could be costs no verdict: it is never empty where there is too much to do."""


class Overloaded(Problem):
    """A request is refused, as its verdict would be there after ``needed_s`` and is due within ``slack_s``."""

    def __init__(self, needed_s: float, slack_s: float, own_s: float) -> None:
        detail = f"about {needed_s * 1e3:.0f} ms would be needed, the deadline is in {slack_s * 1e3:.0f} ms"
        super().__init__("overloaded", detail, retry_after_s=max(needed_s - slack_s, own_s))
        self.needed_s = needed_s


def too_late() -> Problem:
    """Of a request that was read when it was of no use any more."""
    return Problem("deadline-exceeded", "the deadline passed before the request was read")


class BatchTime:
    """Seconds a batch takes, as ``base + pace * work``, fitted by least squares that forget.

    Args:
        base_s, pace_s: what is assumed before the first batch; ``pace_s`` a byte of work (`ROW_WORK` + bytes a row).
    """

    def __init__(self, base_s: float = 2e-3, pace_s: float = 5e-7) -> None:
        self.base_s, self.pace_s = base_s, pace_s
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        for work in (ROW_WORK, 256 * ROW_WORK):
            self._add(work, base_s + pace_s * work)

    def seconds(self, work: float) -> float:
        """Seconds a batch with ``work`` is expected to take."""
        return self.base_s + self.pace_s * work

    def observe(self, work: float, seconds: float) -> None:
        """Learn from a batch that took ``seconds``."""
        self._n, self._x, self._y = self._n * FORGET, self._x * FORGET, self._y * FORGET
        self._xx, self._xy = self._xx * FORGET, self._xy * FORGET
        self._add(work, min(seconds, CLIP * self.seconds(work)))
        mean_x, mean_y = self._x / self._n, self._y / self._n
        spread = self._xx / self._n - mean_x * mean_x
        if spread > LEAST_SPREAD * mean_x * mean_x:
            self.pace_s = max(0.0, (self._xy / self._n - mean_x * mean_y) / spread)
        # Batches of one size say nothing of the slope, so the last one is kept and only the level is learnt.
        self.base_s = mean_y - self.pace_s * mean_x
        if self.base_s <= 0:
            self.base_s, self.pace_s = 0.0, mean_y / mean_x

    def _add(self, work: float, seconds: float) -> None:
        self._n += 1
        self._x += work
        self._y += seconds
        self._xx += work * work
        self._xy += work * seconds


@dataclass(slots=True)
class Load:
    """What waits and runs when a request comes; work as in `BatchTime`.

    ``ahead_work`` waits before or beside the request · ``own_work`` of the request · ``batches`` that ``ahead_work``
    will make · ``running_s`` until the running batches are done, all slots together · ``slots`` that work side by side.
    """

    ahead_work: float
    own_work: float
    batches: float
    running_s: float
    slots: int


def finish_s(load: Load, time: BatchTime) -> float:
    """Seconds until the request would have its verdict."""
    waiting = load.batches * time.base_s + time.pace_s * (load.ahead_work + load.own_work)
    return (load.running_s + waiting) / load.slots


def admit(load: Load, time: BatchTime, slack_s: float, longest_s: float) -> None:
    """Take the request in, or say when to come again.

    Args:
        load: what waits and runs.
        time: the estimate of a batch.
        slack_s: from now to the deadline.
        longest_s: how long a batch may take. A verdict comes with its whole batch, so where there is a queue that much
            may come on top.

    Raises:
        Problem: ``overloaded``; or ``deadline-exceeded`` when no time is left at all.
    """
    if slack_s <= 0:
        raise too_late()
    if not load.ahead_work and not load.running_s:
        # An idle server always tries: an estimate that is too high is corrected by nothing else.
        return
    needed = MARGIN * finish_s(load, time)
    needed += min(longest_s, needed)
    if needed > slack_s:
        raise Overloaded(needed, slack_s, time.seconds(load.own_work))
