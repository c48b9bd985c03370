"""Which follow-up work is done next: a timing wheel, with the job of each task, driven by calls of `Worker.run`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.kernels.cpu import wheel

Job = Callable[[], Any]

CLASSES: Final = ("critical", "high", "medium", "low")
ABOVE: Final = (0.95, 0.85, 0.70)
"""A confidence above the first is critical, above the second high, above the third medium, else low."""
CRITICAL_WITHIN_NS: Final = 10_000_000
BATCH: Final = 64
COUNTERS: Final = (
    *("pushed", "refused", "full", "dispatched", "cancelled", "late_at_dispatch", "completed"),
    "late_at_completion",
)


def classes(confidences: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Code into CLASSES per confidence, int64; one that is not a number is low."""
    given = np.asarray(confidences, np.float64)
    above: npt.NDArray[np.int64] = (given[..., None] > np.array(ABOVE)).sum(-1, dtype=np.int64)
    return np.asarray(len(ABOVE) - above, np.int64)


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """``capacity`` tasks at first, twice as many whenever they do not suffice, up to ``max_capacity``; then tasks are
    refused. A task ``aging_ms`` past its deadline counts as one class higher, but never as critical (0: never)."""

    capacity: int = 1024
    max_capacity: int = 65_536
    aging_ms: float = 100.0
    admission: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= self.max_capacity <= 1 << 24:
            raise ConfigError("capacity", self.capacity, f"1 to max_capacity ({self.max_capacity}), that at most 2**24")
        if not 0.0 <= self.aging_ms <= 3_600_000.0:
            raise ConfigError("aging_ms", self.aging_ms, "0 to 3,600,000")


class Worker:
    """Tasks and the one who does them. All times are nanoseconds of one clock, which the caller reads."""

    def __init__(self, config: SchedulingConfig | None = None) -> None:
        self.config = config or SchedulingConfig()
        self._state = wheel.new(
            self.config.capacity,
            aging_ns=int(self.config.aging_ms * 1e6),
            admission=self.config.admission,
            tracked=True,
        )
        self._jobs: dict[int, Job] = {}
        self._out = np.empty(BATCH, np.int64)

    def submit(self, job: Job, *, confidence: float, now: int, deadline: int | None = None, cost: int = 0) -> int:
        """Take a job; gives its handle, or a negative number where it is refused: -1 it would be late, or make late
        what was taken in its class; -2 there is no room.

        Args:
            deadline: by default ``now`` and 10 ms, and that is the latest for a critical one.
            cost: what the job will take, in ns; admission trusts it.
        """
        code = int(classes(confidence))
        due = now + CRITICAL_WITHIN_NS if deadline is None else deadline
        if code == 0:
            due = min(due, now + CRITICAL_WITHIN_NS)
        return int(self.submit_many((job,), np.array([[code, due, cost]], np.int64), now)[0])

    def submit_many(self, jobs: Sequence[Job], tasks: npt.NDArray[np.int64], now: int) -> npt.NDArray[np.int64]:
        """Take a micro-batch: ``tasks`` int64 (B, 3) of class, deadline and cost in ns. Gives the handles, int64 (B,),
        negative where one is refused.

        Raises:
            ConfigError: as many jobs as tasks are needed, of classes that exist.
        """
        if tasks.shape != (len(jobs), 3):
            raise ConfigError("tasks", tasks.shape, f"({len(jobs)}, 3): class, deadline, cost of each job")
        if len(jobs) and not 0 <= int(tasks[:, 0].min()) <= int(tasks[:, 0].max()) < len(CLASSES):
            raise ConfigError("tasks", tasks[:, 0].tolist(), f"classes from 0 to {len(CLASSES) - 1}")
        wanted = int(self._state[wheel.PENDING] + self._state[wheel.RUNNING]) + len(jobs)
        capacity = int(self._state[wheel.CAPACITY])
        if wanted > capacity < self.config.max_capacity:
            self._state = wheel.grown(self._state, min(max(2 * capacity, wanted), self.config.max_capacity))
        handles = np.empty(len(jobs), np.int64)
        wheel.push(self._state, np.ascontiguousarray(tasks, np.int64), 0, now, handles)
        self._jobs.update((handle, job) for handle, job in zip(handles.tolist(), jobs, strict=True) if handle >= 0)
        return handles

    def cancel(self, handle: int) -> bool:
        """Take a job back that has not begun; whether there was one."""
        if not wheel.cancel(self._state, np.array([handle], np.int64)):
            return False
        del self._jobs[handle]
        return True

    def run(self, clock: Callable[[], int], until: int) -> int:
        """Do jobs, the next one each time, until none is left or ``clock`` reads ``until``; gives their number.

        A job that raises has ended all the same; its error goes to the caller, and the next call goes on behind it.
        """
        done = 0
        while self.pending and (now := clock()) < until:
            wheel.pop(self._state, now, 1, self._out)
            handle = int(self._out[0])
            try:
                self._jobs.pop(handle)()
            finally:
                wheel.complete(self._state, clock(), self._out[:1])
            done += 1
        return done

    @property
    def pending(self) -> int:
        """Jobs that wait."""
        return int(self._state[wheel.PENDING])

    def counts(self) -> dict[str, dict[str, int]]:
        """Every counter of COUNTERS by class, since the beginning."""
        table = self._state[wheel.COUNTS : wheel.COUNTS + len(COUNTERS) * len(CLASSES)].reshape(len(COUNTERS), -1)
        return {name: dict(zip(CLASSES, row, strict=True)) for name, row in zip(COUNTERS, table.tolist(), strict=True)}
