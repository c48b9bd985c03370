"""Which worker does which task: dynamic, with tasks of lost workers done again and stragglers run a second time.

Knows neither Ray nor tasks: tickets and workers are numbers, time comes in. A ticket has one result, the first good
one; a failure counts only where nobody else is at the same ticket.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from aimds.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Patience:
    """When a ticket is run a second time: it has taken ``factor`` times what tickets of its size take (median), at
    least ``least_s`` seconds, and ``samples`` are known. ``losses``: lost workers that it survives."""

    factor: float = 3.0
    least_s: float = 5.0
    samples: int = 3
    losses: int = 5

    def __post_init__(self) -> None:
        for name, least in (("factor", 1.0), ("least_s", 0.0), ("samples", 1), ("losses", 1)):
            if not getattr(self, name) >= least:
                raise ConfigError(name, getattr(self, name), f"at least {least}")


@dataclass(slots=True)
class _Open:
    size: int
    prefer: int | None
    again: bool
    holders: dict[int, float] = field(default_factory=dict)
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """``ticket`` has its result; ``losers`` are still at it for nothing."""

    ticket: int
    losers: tuple[int, ...] = ()


class Dispatch:
    """Tickets in, (worker, ticket) pairs out."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._waiting: deque[int] = deque()
        self._open: dict[int, _Open] = {}
        self._busy: dict[int, int] = {}
        self._idle: dict[int, None] = {}
        self._paces: deque[float] = deque(maxlen=64)
        self.repeats = 0
        """Tickets that were run a second time since they took long."""
        self.moved = 0
        """Tickets that were given to another worker since theirs was lost."""

    def joined(self, worker: int) -> None:
        """``worker`` is ready for a ticket."""
        if worker not in self._busy:
            self._idle[worker] = None

    def submit(self, ticket: int, *, size: int = 1, prefer: int | None = None, again: bool = True) -> None:
        """A ticket to be done. ``size`` is its expected work, ``prefer`` the worker that is best placed for it; with
        ``again`` False it is never run by two workers at once."""
        self._open[ticket] = _Open(max(size, 1), prefer, again)
        self._waiting.append(ticket)

    def due(self, now: float) -> list[tuple[int, int]]:
        """Who is to start on what; they count as begun."""
        begun = []
        while self._waiting and self._idle:
            ticket = self._waiting.popleft()
            begun.append((self._begin(ticket, now), ticket))
        if self._idle and not self._waiting:
            late = sorted(self._late(now), reverse=True)
            for _, ticket in late[: len(self._idle)]:
                self.repeats += 1
                begun.append((self._begin(ticket, now), ticket))
        return begun

    def _begin(self, ticket: int, now: float) -> int:
        one = self._open[ticket]
        worker = one.prefer if one.prefer in self._idle else next(iter(self._idle))
        assert worker is not None
        del self._idle[worker]
        self._busy[worker] = ticket
        one.holders[worker] = now
        return worker

    def _late(self, now: float) -> list[tuple[float, int]]:
        if len(self._paces) < self._patience.samples:
            return []
        pace, found = median(self._paces), []
        for ticket, one in self._open.items():
            if one.again and len(one.holders) == 1:
                taken = now - next(iter(one.holders.values()))
                bound = max(self._patience.least_s, self._patience.factor * pace * one.size)
                if taken > bound:
                    found.append((taken / bound, ticket))
        return found

    def finished(self, worker: int, now: float, *, good: bool = True) -> Ended | None:
        """``worker`` has answered. None where the answer does not count: another one came before, or it is not
        ``good`` and somebody else is still at the ticket."""
        ticket = self._busy.pop(worker, None)
        self._idle[worker] = None
        one = self._open.get(ticket) if ticket is not None else None
        if ticket is None or one is None:
            return None
        began = one.holders.pop(worker)
        if good:
            self._paces.append((now - began) / one.size)
        elif one.holders:
            return None
        del self._open[ticket]
        return Ended(ticket, tuple(one.holders))

    def lost(self, worker: int, *, blamed: bool) -> Ended | None:
        """``worker`` is gone and comes back, if at all, with `joined`. ``blamed``: its ticket may have been the cause,
        so it is not simply handed on. The ticket is given if it is over with that."""
        self._idle.pop(worker, None)
        ticket = self._busy.pop(worker, None)
        one = self._open.get(ticket) if ticket is not None else None
        if ticket is None or one is None:
            return None
        one.holders.pop(worker)
        one.losses += 1
        if one.holders:
            return None
        if blamed or one.losses > self._patience.losses:
            del self._open[ticket]
            return Ended(ticket)
        self.moved += 1
        self._waiting.appendleft(ticket)
        return None

    def at(self, worker: int) -> int | None:
        """The ticket that ``worker`` is at, if it still counts."""
        ticket = self._busy.get(worker)
        return ticket if ticket in self._open else None

    @property
    def workers(self) -> int:
        """Workers that are ready or at work."""
        return len(self._busy) + len(self._idle)
