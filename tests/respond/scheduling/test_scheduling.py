from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest

from aimds.errors import ConfigError
from aimds.respond.scheduling import CLASSES, SchedulingConfig, Task, Worker, classes

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
    for name, confidence, deadline in (("low", 0.1, 3), ("late", 0.9, 9), ("soon", 0.9, 5), ("critical", 0.99, 500)):
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


def test_worker_without_room_refuses_and_a_task_whose_time_comes_waits_for_some() -> None:
    clock, done = Clock(), []
    worker = Worker(SchedulingConfig(capacity=2))
    worker.at(0, Task(clock.job(done, "timer"), "low", 900 * MS))
    handles = [worker.submit(clock.job(done, str(i)), confidence=0.5, now=0) for i in range(4)]
    assert [handle >= 0 for handle in handles] == [True, True, False, False]
    assert handles[2] == -2
    assert worker.counts()["full"]["low"] == 2
    assert worker.run(clock, 1) == 3
    assert done == ["0", "1", "timer"]


def test_task_set_to_a_time_begins_then_and_is_due_from_then_on() -> None:
    clock, done = Clock(), []
    worker = Worker()
    worker.at(50 * MS, Task(clock.job(done, "second"), "high", 10 * MS))
    worker.at(20 * MS, Task(clock.job(done, "first"), "low", 10 * MS))
    assert worker.next_at(0) == 20 * MS
    assert worker.run(clock, 1) == 0
    clock.now = 25 * MS
    assert worker.run(clock, 90 * MS) == 1
    assert worker.timers == 1
    clock.now = 61 * MS
    assert worker.next_at(clock.now) == clock.now
    assert worker.run(clock, 90 * MS) == 1
    assert done == ["first", "second"]
    assert worker.next_at(clock.now) is None
    counts = worker.counts()["late_at_dispatch"]
    assert (counts["low"], counts["high"]) == (0, 1)


def test_task_set_to_a_time_is_taken_though_it_is_late() -> None:
    clock, done = Clock(), []
    worker = Worker()
    worker.at(0, Task(clock.job(done, "x"), "critical", MS))
    clock.now = 500 * MS
    assert worker.run(clock, 900 * MS) == 1
    assert worker.counts()["refused"]["critical"] == 0


def test_job_that_gives_a_future_has_ended_when_that_is_done() -> None:
    clock, given = Clock(), Future()
    worker = Worker(SchedulingConfig(capacity=1))
    worker.submit(lambda: given, confidence=0.9, now=0, deadline=10 * MS)
    assert worker.run(clock, 1) == 1
    assert worker.running == 1
    assert worker.submit(print, confidence=0.9, now=0, deadline=10 * MS) == -2
    clock.now = 30 * MS
    given.set_result(None)
    assert worker.running == 0
    assert worker.counts()["late_at_completion"]["high"] == 1
    assert worker.submit(print, confidence=0.9, now=clock.now, deadline=clock.now + 10 * MS) >= 0


def test_forced_work_is_taken_where_other_work_is_refused() -> None:
    worker = Worker()
    assert worker.submit(print, confidence=0.5, now=0, deadline=100 * MS, cost=90 * MS) >= 0
    assert worker.submit(print, confidence=0.5, now=0, deadline=100 * MS, cost=90 * MS) == -1
    assert worker.submit(print, confidence=0.5, now=0, deadline=100 * MS, cost=90 * MS, force=True) >= 0


def test_tasks_that_do_not_fit_the_jobs_are_refused_and_nothing_is_taken() -> None:
    worker = Worker()
    for tasks in (np.zeros((2, 3), np.int64), np.array([[4, 1, 1]]), np.array([[-1, 1, 1]])):
        with pytest.raises(ConfigError):
            worker.submit_many((print,), tasks, 0)
    assert worker.pending == 0


@pytest.mark.parametrize("bad", [{"capacity": 0}, {"capacity": 1 << 25}, {"aging_ms": -1.0}])
def test_setting_out_of_range_is_named(bad: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SchedulingConfig(**bad)


def test_task_of_an_unknown_class_is_refused_with_the_classes_there_are() -> None:
    with pytest.raises(ConfigError, match="critical, high, medium, low"):
        Task(print, "urgent", MS)
