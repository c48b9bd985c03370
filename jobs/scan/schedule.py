"""Which unit is screened next: a worker goes on where it stopped, an idle one takes half of the longest stretch left.

Units of a row group are read forwards, so going on costs nothing and jumping costs decoding what lies before.
Stretches are kept as ranges: a file that declares 10^15 rows costs no more memory than one with ten.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Stretch:
    """Units [next, stop) of row group ``group`` of file ``file``."""

    file: int
    group: int
    next: int
    stop: int


Unit = tuple[int, int, int]
"""(file, group, slice)."""


class Schedule:
    """Stretches of units not yet handed out; each worker may own one."""

    def __init__(self) -> None:
        self._free: deque[Stretch] = deque()
        self._owned: dict[int, Stretch] = {}

    def add(self, file: int, group: int, units: int, done: set[int]) -> None:
        """The units 0 … ``units`` - 1 of a group, without those in ``done``."""
        start = 0
        for slice_ in [*sorted(slice_ for slice_ in done if slice_ < units), units]:
            if slice_ > start:
                self._free.append(Stretch(file, group, start, slice_))
            start = slice_ + 1

    def take(self, worker: int) -> Unit | None:
        """The next unit for ``worker``; None when there is none left."""
        own = self._owned.get(worker)
        if own is None or own.next >= own.stop:
            own = self._claim()
            if own is None:
                self._owned.pop(worker, None)
                return None
            self._owned[worker] = own
        own.next += 1
        return own.file, own.group, own.next - 1

    def _claim(self) -> Stretch | None:
        while self._free:
            free = self._free.popleft()
            if free.next < free.stop:
                return free
        longest = max(self._owned.values(), key=lambda stretch: stretch.stop - stretch.next, default=None)
        if longest is None or longest.stop - longest.next < 1:
            return None
        middle = (longest.next + longest.stop) // 2
        taken = Stretch(longest.file, longest.group, middle, longest.stop)
        longest.stop = middle
        return taken

    def release(self, worker: int) -> None:
        """``worker`` is gone: what it owned is free again."""
        own = self._owned.pop(worker, None)
        if own is not None and own.next < own.stop:
            self._free.appendleft(own)

    def drop(self, file: int, group: int, first: int) -> list[tuple[int, int]]:
        """Give up the units of a group from ``first`` on; the ranges [start, stop) that were still to be handed out."""
        dropped = []
        for stretch in [*self._free, *self._owned.values()]:
            if (stretch.file, stretch.group) == (file, group) and stretch.stop > max(first, stretch.next):
                start = max(first, stretch.next)
                dropped.append((start, stretch.stop))
                stretch.stop = start
        return dropped

    def left(self, file: int | None = None) -> int:
        """Units not yet handed out (of ``file``)."""
        held = [*self._free, *self._owned.values()]
        return sum(stretch.stop - stretch.next for stretch in held if file is None or stretch.file == file)
