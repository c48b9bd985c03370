"""The order of `aimds.respond.scheduling` by its definition: every pending task looked at anew for every decision."""

from __future__ import annotations

from dataclasses import dataclass, field

TICK_NS = 65_536
UNIT_NS = 1_024


@dataclass
class Task:
    level: int
    deadline: int
    cost: int
    tick: int
    order: int


@dataclass
class ExactHeap:
    """As slow as it is plain; the handles are the keys of ``pending`` and ``running``."""

    aging: int = 0
    admission: bool = False
    window: int = 4096
    pending: dict[int, Task] = field(default_factory=dict)
    running: dict[int, Task] = field(default_factory=dict)
    pushed: int = 0

    def push(self, handle: int, level: int, deadline: int, cost: int, now: int) -> None:
        tick = max(deadline // TICK_NS, now // TICK_NS)
        self.pending[handle] = Task(level, deadline, -(-cost // UNIT_NS), tick, self.pushed)
        self.pushed += 1

    def in_time(self, level: int, deadline: int, cost: int, now: int) -> bool:
        """Whether the task, and the tasks of its class due with it or later, would all end by the floor of their tick,
        if the higher classes, all that runs, and what is due before or with them in the class came first."""
        if deadline < now:
            return False
        new = Task(level, deadline, -(-cost // UNIT_NS), max(deadline // TICK_NS, now // TICK_NS), self.pushed)
        own = [task for task in self.pending.values() if task.level == level] + [new]
        ahead = sum(task.cost for task in self.running.values()) + -(-now // UNIT_NS)
        ahead += sum(task.cost for task in self.pending.values() if task.level < level)
        for task in own:
            if task.tick >= new.tick:
                work = sum(other.cost for other in own if other.tick <= task.tick)
                if ahead + work > task.tick * (TICK_NS // UNIT_NS):
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
