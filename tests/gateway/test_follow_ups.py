"""Work beside the requests: in the order that matters, on the loop or aside, again and again, and to the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pyarrow as pa
import pytest
from waiting import until

from aimds.gateway import notifications
from aimds.gateway.follow_ups import ASIDE, FollowUp, FollowUps, level_of
from aimds.gateway.notifications import Notifications
from aimds.metrics import Metrics
from aimds.respond.scheduling import SchedulingConfig
from aimds.schema import VERDICTS


def run(test: Callable[[FollowUps, list[str]], Coroutine[Any, Any, None]], **options: Any) -> FollowUps:
    said: list[str] = []
    made = FollowUps(Metrics(), say=said.append, **options)

    async def go() -> None:
        await test(made, said)
        if not made.closing:
            await made.close(asyncio.get_running_loop().time() + 10)

    asyncio.run(go())
    return made


def value(made: FollowUps, name: str, **labels: str) -> float:
    made.gauges()
    return made._metrics.registry.get_sample_value(name, labels) or 0.0


def test_what_was_handed_before_the_start_is_done_in_the_order_of_its_class() -> None:
    done: list[str] = []

    async def test(made: FollowUps, said: list[str]) -> None:
        for level in ("low", "critical", "medium", "high"):
            made.hand(FollowUp("x", lambda level=level: done.append(level), level))
        made.attach()
        await until(lambda: len(done) == 4)

    made = run(test)
    assert done == ["critical", "high", "medium", "low"]
    assert value(made, "aimds_follow_ups_total", level="critical", event="completed") == 1
    assert value(made, "aimds_follow_ups_late_total", level="critical", at="completion") == 0
    assert value(made, "aimds_follow_up_seconds_count", work="x") == 4


def test_work_aside_runs_on_a_thread_and_waits_in_order_for_one_that_is_free() -> None:
    done: list[str] = []
    go, main = threading.Event(), threading.get_ident()

    def block() -> None:
        assert threading.get_ident() != main
        assert go.wait(10)

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        for _ in range(ASIDE):
            made.hand(FollowUp("block", block, "low", aside=True))
        await until(lambda: made.worker.running == ASIDE)
        for level in ("low", "high", "critical"):
            made.hand(FollowUp("x", lambda level=level: done.append(level), level, aside=True))
        await until(lambda: made.worker.pending == 3)
        assert done == []
        go.set()
        await until(lambda: len(done) == 3)

    run(test)
    assert done[0] != "low"


def test_work_that_fails_is_said_and_counted_and_does_not_end_the_others() -> None:
    done: list[str] = []

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        for aside in (False, True):
            made.hand(FollowUp("bad", lambda: 1 // 0, aside=aside))
            made.hand(FollowUp("good", lambda: done.append("good"), aside=aside))
        await until(lambda: len(done) == 2)
        await until(lambda: len(said) == 2)
        assert said == ["bad: ZeroDivisionError: integer division or modulo by zero"] * 2

    assert value(run(test), "aimds_follow_up_errors_total", work="bad") == 2


def test_what_comes_again_comes_again_though_it_fails_and_not_after_the_end() -> None:
    times: list[int] = []

    def work() -> None:
        times.append(1)
        raise OSError("no")

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        made.every(0.005, FollowUp("again", work))
        await until(lambda: len(times) >= 3)
        await made.close(asyncio.get_running_loop().time() + 10)

    made = run(test)
    assert made.worker.timers == 0


def test_what_is_late_already_is_done_last_and_counted_as_refused() -> None:
    done: list[str] = []

    async def test(made: FollowUps, said: list[str]) -> None:
        made.hand(FollowUp("late", lambda: done.append("late"), "critical", within_s=0.0))
        made.hand(FollowUp("other", lambda: done.append("other"), "medium", within_s=5.0))
        made.attach()
        await until(lambda: len(done) == 2)

    made = run(test)
    assert done == ["other", "late"]
    assert value(made, "aimds_follow_ups_total", level="critical", event="refused") == 1


def test_a_missed_deadline_is_counted() -> None:
    async def test(made: FollowUps, said: list[str]) -> None:
        clock.now += 10**9
        made.attach()
        await until(lambda: made.worker.pending == 0)

    class Clock:
        now = 10**12

        def __call__(self) -> int:
            return self.now

    clock = Clock()

    def slow() -> None:
        clock.now += 50_000_000

    async def before(made: FollowUps, said: list[str]) -> None:
        made.hand(FollowUp("x", slow, "critical", within_s=0.01))
        await test(made, said)

    made = run(before, clock=clock)
    assert value(made, "aimds_follow_ups_late_total", level="critical", at="completion") == 1
    assert value(made, "aimds_follow_ups_late_total", level="critical", at="dispatch") == 0


def test_at_the_end_what_waits_and_what_is_owed_is_done_and_the_rest_forgotten() -> None:
    done: list[str] = []

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        made.hand(FollowUp("owed", lambda: done.append("owed"), owed=True, aside=True), 3600.0)
        made.hand(FollowUp("not owed", lambda: done.append("not owed")), 3600.0)
        await until(lambda: made.worker.timers == 2)
        made.hand(FollowUp("waits", lambda: done.append("waits")))
        await made.close(asyncio.get_running_loop().time() + 10)

    run(test)
    assert sorted(done) == ["owed", "waits"]


def test_without_room_work_is_dropped_and_that_is_said() -> None:
    dropped: list[int] = []

    async def test(made: FollowUps, said: list[str]) -> None:
        for i in range(3):
            made.hand(FollowUp("x", print, dropped=lambda i=i: dropped.append(i)))
        made._take()
        assert said == ["x: lost, 2 pieces of work wait already"]

    made = run(test, config=SchedulingConfig(capacity=2))
    assert dropped == [2]
    assert value(made, "aimds_follow_up_errors_total", work="x") == 1


@pytest.mark.parametrize(("confidence", "level"), [(0.96, "critical"), (0.9, "high"), (0.8, "medium"), (0.5, "low")])
def test_class_follows_the_confidence(confidence: float, level: str) -> None:
    assert level_of(confidence) == level


def verdicts(*scores: float) -> pa.RecordBatch:
    rows = [{"request_id": str(i), "score": score} for i, score in enumerate(scores)]
    return pa.RecordBatch.from_pylist([{**dict.fromkeys(VERDICTS.names), **row} for row in rows], schema=VERDICTS)


class Told:
    """Fails a number of times, then takes note."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.rows, self.times = failures, [], []

    def notify(self, found: pa.RecordBatch, now: float) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the disk is full")
        self.rows.append(found.column("score").to_pylist())
        self.times.append(now)


def test_the_surer_verdict_is_told_of_first_and_with_the_time_it_was_given() -> None:
    told = Told()

    async def test(made: FollowUps, said: list[str]) -> None:
        handed = Notifications(told, made)
        handed.notify(verdicts(0.2, 0.3), 100.0)
        handed.notify(verdicts(0.5, 0.97), 101.0)
        made.attach()
        await until(lambda: len(told.rows) == 2)

    run(test, config=SchedulingConfig(at_once=1))
    assert told.times == [101.0, 100.0]


def test_what_cannot_be_told_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "PAUSES_S", (0.001, 0.001, 0.001))
    told = Told(failures=2)

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        handed = Notifications(told, made, said.append)
        handed.notify(verdicts(0.9), 7.0)
        await until(lambda: told.rows)
        assert said == ["notify: 1 row cannot be told of yet: the disk is full"]
        assert handed.lost == 0

    run(test)
    assert told.times == [7.0]


@pytest.mark.parametrize("ending", [False, True])
def test_what_can_never_be_told_is_counted_as_lost(monkeypatch: pytest.MonkeyPatch, ending: bool) -> None:
    monkeypatch.setattr(notifications, "PAUSES_S", (3600.0,) if ending else (0.001, 0.001))
    told = Told(failures=99)

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        handed = Notifications(told, made, said.append)
        handed.notify(verdicts(0.9, 0.1), 7.0)
        await until(lambda: said)
        if ending:
            await made.close(asyncio.get_running_loop().time() + 10)
        await until(lambda: handed.lost == 2)
        await until(lambda: said[-1] == "notify: 2 rows lost, and maybe more: the disk is full")
        assert len(said) == 2

    run(test)
    assert told.failures == (97 if ending else 96)


def test_of_more_than_may_wait_the_rows_are_lost_and_that_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "MOST_OWED", 2)
    told = Told(failures=5)

    async def test(made: FollowUps, said: list[str]) -> None:
        made.attach()
        handed = Notifications(told, made, said.append)
        for number in range(5):
            handed.notify(verdicts(0.9), float(number))
        await until(lambda: handed.lost == 3)
        await until(lambda: len(said) == 2)
        assert said[1] == "notify: 1 row lost, and maybe more: the disk is full"
        await made.close(asyncio.get_running_loop().time() + 10)
        assert len(told.rows) == 2

    run(test)
