"""The order of `aimds.respond.scheduling` by its definition: every pending task looked at anew for every decision."""

from __future__ import annotations

from dataclasses import dataclass, field

TICK_NS = 65_536
UNIT_NS = 1_024
GRANULE_NS = 1 << 20
HORIZON = 240


@dataclass
class Task:
    level: int
    deadline: int
    cost: int
    tick: int
    order: int
    granule: int


@dataclass
class ExactHeap:
    """As slow as it is plain; the handles are the keys of ``pending`` and ``running``."""

    aging: int = 0
    admission: bool = False
    pending: dict[int, Task] = field(default_factory=dict)
    running: dict[int, Task] = field(default_factory=dict)
    pushed: int = 0
    clock: int = 0

    def task(self, level: int, deadline: int, cost: int, now: int) -> Task:
        """A task as it is kept: its cost in whole units and at least one, its granule no further than the horizon."""
        self.clock = max(self.clock, now // GRANULE_NS)
        tick = max(deadline // TICK_NS, now // TICK_NS)
        granule = min(max(deadline // GRANULE_NS, self.clock), self.clock + HORIZON - 1)
        return Task(level, deadline, max(-(-cost // UNIT_NS), 1), tick, self.pushed, granule)

    def push(self, handle: int, level: int, deadline: int, cost: int, now: int) -> None:
        self.pending[handle] = self.task(level, deadline, cost, now)
        self.pushed += 1

    def in_time(self, level: int, deadline: int, cost: int, now: int) -> bool:
        """Whether the task, and the tasks of its class due with it or later, would all end by the begin of their
        granule, if the higher classes, all that runs, and what is due before or with them in the class came first."""
        if deadline < now:
            return False
        new = self.task(level, deadline, cost, now)
        own = [task for task in self.pending.values() if task.level == level] + [new]
        ahead = sum(task.cost for task in self.running.values()) + -(-now // UNIT_NS)
        ahead += sum(task.cost for task in self.pending.values() if task.level < level)
        for task in own:
            if task.granule >= new.granule:
                work = sum(other.cost for other in own if other.granule <= task.granule)
                if ahead + work > task.granule * (GRANULE_NS // UNIT_NS):
                    return False
        return True

    def pop(self, most: int, now: int) -> list[int]:
        out = []
        while self.pending and len(out) < most:
            handle = min(self.pending, key=lambda one: self._key(self.pending[one], now // TICK_NS))
            self.running[handle] = self.pending.pop(handle)
            out.append(handle)
        return out

    def _key(self, task: Task, tick: int) -> tuple[int, int, int, int]:
        rank = task.level
        if self.aging and rank > 1 and tick > task.tick:
            rank = max(rank - (tick - task.tick) // self.aging, 1)
        return rank, task.tick, task.level, task.order
