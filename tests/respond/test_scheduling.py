from __future__ import annotations

import numpy as np
import pytest

from aimds.errors import ConfigError
from aimds.respond.scheduling import CLASSES, SchedulingConfig, Worker, classes

MS = 1_000_000


class Clock:
    """Nanoseconds that pass only where a job takes some."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now

    def job(self, done: list[str], name: str, takes: int = 0):
        def run() -> None:
            self.now += takes
            done.append(name)

        return run


@pytest.mark.parametrize(
    ("confidence", "name"),
    [
        (1.0, "critical"),
        (0.96, "critical"),
        (0.95, "high"),
        (0.86, "high"),
        (0.85, "medium"),
        (0.7, "low"),
        (np.nan, "low"),
    ],
)
def test_class_follows_the_confidence_and_a_bound_belongs_to_the_class_below(confidence: float, name: str) -> None:
    assert CLASSES[int(classes(confidence))] == name


def test_urgent_work_goes_first_and_the_earlier_deadline_within_a_class() -> None:
    clock, done = Clock(), []
    worker = Worker()
    for name, confidence, deadline in (("low", 0.1, 1), ("late", 0.9, 9), ("soon", 0.9, 5), ("critical", 0.99, 500)):
        assert worker.submit(clock.job(done, name), confidence=confidence, now=0, deadline=deadline * MS) >= 0
    assert worker.run(clock, 1) == 4
    assert done == ["critical", "soon", "late", "low"]
    assert worker.pending == 0


def test_critical_work_is_due_within_ten_milliseconds_or_refused() -> None:
    clock, done = Clock(), []
    worker = Worker()
    handles = [
        worker.submit(clock.job(done, "x", 4 * MS), confidence=0.99, now=0, deadline=10**12, cost=4 * MS)
        for _ in range(4)
    ]
    assert [handle >= 0 for handle in handles] == [True, True, False, False]
    worker.run(clock, 10**12)
    counts = worker.counts()
    assert counts["completed"]["critical"] == counts["refused"]["critical"] == 2
    assert counts["late_at_completion"]["critical"] == 0


def test_work_that_took_longer_than_it_said_is_counted_as_late() -> None:
    clock, done = Clock(), []
    worker = Worker()
    for _ in range(2):
        worker.submit(clock.job(done, "x", 11 * MS), confidence=0.99, now=0, cost=1)
    worker.run(clock, 10**12)
    counts = worker.counts()
    assert (counts["late_at_dispatch"]["critical"], counts["late_at_completion"]["critical"]) == (1, 2)


def test_cancelled_job_is_not_run_and_cannot_be_cancelled_twice() -> None:
    clock, done = Clock(), []
    worker = Worker()
    handle = worker.submit(clock.job(done, "x"), confidence=0.5, now=0)
    assert worker.cancel(handle)
    assert not worker.cancel(handle)
    assert worker.run(clock, 1) == 0
    assert done == []


def test_time_given_is_kept_and_the_rest_is_done_by_the_next_call() -> None:
    clock, done = Clock(), []
    worker = Worker()
    for name in "abc":
        worker.submit(clock.job(done, name, 2 * MS), confidence=0.8, now=0, deadline=900 * MS)
    assert worker.run(clock, 3 * MS) == 2
    assert worker.pending == 1
    assert worker.run(clock, 30 * MS) == 1
    assert done == ["a", "b", "c"]


def test_job_that_raises_has_ended_and_the_next_call_goes_on_behind_it() -> None:
    clock, done = Clock(), []
    worker = Worker()
    worker.submit(lambda: 1 // 0, confidence=0.99, now=0)
    worker.submit(clock.job(done, "next"), confidence=0.5, now=0)
    with pytest.raises(ZeroDivisionError):
        worker.run(clock, 1)
    worker.run(clock, 1)
    assert done == ["next"]
    assert worker.counts()["completed"] == {"critical": 1, "high": 0, "medium": 0, "low": 1}


def test_worker_grows_up_to_its_bound_and_then_refuses() -> None:
    clock, done = Clock(), []
    worker = Worker(SchedulingConfig(capacity=1, max_capacity=5))
    handles = [worker.submit(clock.job(done, str(i)), confidence=0.5, now=0) for i in range(7)]
    assert [handle >= 0 for handle in handles] == [True] * 5 + [False] * 2
    assert handles[5] == -2
    assert worker.counts()["full"]["low"] == 2
    worker.run(clock, 1)
    assert done == list("01234")


def test_tasks_that_do_not_fit_the_jobs_are_refused_and_nothing_is_taken() -> None:
    worker = Worker()
    for tasks in (np.zeros((2, 3), np.int64), np.array([[4, 1, 1]]), np.array([[-1, 1, 1]])):
        with pytest.raises(ConfigError):
            worker.submit_many((print,), tasks, 0)
    assert worker.pending == 0


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"capacity": 9, "max_capacity": 8}, {"aging_ms": -1.0}])
def test_setting_out_of_range_is_named(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SchedulingConfig(**bad)
