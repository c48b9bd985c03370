"""The micro-batcher and admission in simulated time."""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import BASE_S, ROW_S, poisson, run

from aimds.errors import ConfigError
from aimds.gateway.admission import BatchTime
from aimds.gateway.batching import GATHER, IDLE_TENANTS, RECENT_S, REST_S, URGENCY_S, Batch, BatchConfig, Batcher, Job
from aimds.gateway.problem import Problem

FULL = 78
"""Rows that fit into the 40 ms a batch may take, at the true cost."""
CAPACITY = FULL / (BASE_S + ROW_S * FULL)


def job(deadline: float, tenant: str = "a", urgency: int = 3, rows: int = 1) -> Job:
    return Job(tenant, rows, 100 * rows, deadline, urgency=urgency)


def ordered(batcher: Batcher, now: float = 0.0) -> list[Job]:
    """All jobs in the order in which they are dispatched."""
    out = []
    while (batch := batcher.poll(now)) is not None:
        out += batch.jobs
        if batch.jobs:
            batcher.finish(batch, now + 1e-3)
    return out


def test_a_free_slot_takes_a_single_row_at_once() -> None:
    batcher = Batcher()
    one = job(1.0)
    batcher.submit(one, 0.0)
    batch = batcher.poll(0.0)
    assert batch is not None
    assert batch.jobs == [one]
    assert batcher.poll(0.0) is None


def test_the_batch_grows_while_the_worker_is_busy() -> None:
    batcher = Batcher()
    batcher.submit(job(1.0), 0.0)
    first = batcher.poll(0.0)
    assert first is not None
    for _ in range(40):
        batcher.submit(job(1.0), 0.001)
    assert batcher.poll(0.002) is None
    batcher.finish(first, 0.003)
    second = batcher.poll(0.003)
    assert second is not None
    assert second.rows == 40


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_no_more_batches_run_than_there_are_slots(slots: int) -> None:
    batcher = Batcher(BatchConfig(slots=slots, max_rows=1))
    for _ in range(5):
        batcher.submit(job(1.0), 0.0)
    assert len([batch for _ in range(5) if (batch := batcher.poll(0.0))]) == slots
    assert batcher.running == slots


def test_within_a_tenant_the_earliest_deadline_goes_first() -> None:
    batcher = Batcher(BatchConfig(max_rows=3), admission=False)
    deadlines = Random(1).sample(range(1, 100), 50)
    for deadline in deadlines:
        batcher.submit(job(float(deadline)), 0.0)
    assert [one.deadline for one in ordered(batcher)] == sorted(map(float, deadlines))


def test_equal_deadlines_go_in_the_order_of_arrival() -> None:
    batcher = Batcher(BatchConfig(max_rows=1), admission=False)
    jobs = [job(1.0) for _ in range(10)]
    for one in jobs:
        batcher.submit(one, 0.0)
    assert ordered(batcher) == jobs


def test_urgency_goes_before_deadline_but_only_by_a_bounded_shift() -> None:
    batcher = Batcher(BatchConfig(max_rows=1), admission=False)
    urgent, patient, early = job(1.0, urgency=0), job(1.0, urgency=7), job(1.0 - 5 * URGENCY_S, urgency=3)
    waited = job(1.0 - 8 * URGENCY_S, urgency=7)
    for one in (patient, early, urgent, waited):
        batcher.submit(one, 0.0)
    assert ordered(batcher) == [early, waited, urgent, patient]


def test_tenants_that_wait_share_by_weight() -> None:
    batcher = Batcher(BatchConfig(max_rows=10), {"big": 3.0}, admission=False)
    for _ in range(400):
        batcher.submit(job(9.0, "big"), 0.0)
        batcher.submit(job(9.0, "small"), 0.0)
    shares = Counter(one.tenant for one in ordered(batcher)[:400])
    assert shares["big"] == pytest.approx(300, abs=3)


def test_shares_count_work_and_not_jobs() -> None:
    batcher = Batcher(BatchConfig(max_rows=40), admission=False)
    for _ in range(100):
        batcher.submit(job(9.0, "large", rows=10), 0.0)
    for _ in range(1000):
        batcher.submit(job(9.0, "small"), 0.0)
    rows: Counter[str] = Counter()
    for one in ordered(batcher):
        rows[one.tenant] += one.rows
        if sum(rows.values()) >= 800:
            break
    assert rows["small"] == pytest.approx(400, abs=15)


def test_a_tenant_that_floods_does_not_delay_one_that_sends_little() -> None:
    flood = poisson(4 * CAPACITY, 1.5, 1, 30.0, "flood")
    little = poisson(50, 1.5, 2, 30.0, "little")
    batcher = Batcher(admission=False)
    out = run(batcher, flood + little)
    waits = [end - one.arrived for one, end in out.done if one.tenant == "little"]
    assert len(waits) == len(little)
    assert max(waits) < 0.15
    assert max(out.latencies()) > 2


def test_a_tenant_that_sends_one_job_at_a_time_gets_no_more_than_its_share() -> None:
    # Each time its queue is empty, it comes back; its place in the order must not be forgotten.
    batcher = Batcher(BatchConfig(max_rows=64), admission=False)
    for _ in range(2000):
        batcher.submit(job(90.0, "steady"), 0.0)
    rows: Counter[str] = Counter()
    now, batch = 0.0, None
    for _ in range(40):
        if not any(name == "greedy" for name in batcher._tenants):
            batcher.submit(job(90.0, "greedy", rows=64), now)
        batch = batcher.poll(now)
        assert batch is not None
        for one in batch.jobs:
            rows[one.tenant] += one.rows
        now += 0.01
        batcher.finish(batch, now)
    assert rows["greedy"] <= 1.15 * rows["steady"]


def test_the_least_urgent_row_is_served_although_urgent_ones_keep_coming() -> None:
    patient = Job("a", 1, 100, 0.6, urgency=7)
    urgent = [(at, Job("a", 1, 100, at + 0.6, urgency=0)) for at, _ in poisson(2 * CAPACITY, 3.0, 3, 0.0)]
    out = run(Batcher(admission=False), [(0.0001, patient), *urgent])
    (end,) = [end for one, end in out.done if one is patient]
    assert end < 1.2


@pytest.mark.parametrize("times", [2, 5, 10])
def test_overload_leaves_goodput_and_keeps_what_was_promised(times: int) -> None:
    out = run(Batcher(), poisson(times * CAPACITY, 3.0, times, 0.1))
    warm = [(one, end) for one, end in out.done if one.arrived > 0.5]
    missed = [one for one, end in warm if end > one.deadline]
    assert out.in_time() / 3.0 >= 0.75 * CAPACITY
    assert len(missed) + len([one for one in out.late if one.arrived > 0.5]) <= 0.01 * len(warm)
    assert all(problem.retry_after_s is not None for _, problem in out.refused)
    assert len(out.refused) > (1 - 1.2 / times) * times * CAPACITY * 3.0 * 0.9


def test_throwing_away_at_dispatch_instead_of_refusing_collapses() -> None:
    arrivals = poisson(5 * CAPACITY, 3.0, 5, 0.1)
    out = run(Batcher(admission=False), arrivals)
    assert out.in_time() / 3.0 < 0.5 * CAPACITY


@pytest.mark.parametrize("times", [2, 5])
def test_overload_of_many_tenants_keeps_what_was_promised_to_each(times: int) -> None:
    arrivals = list(
        itertools.chain.from_iterable(
            poisson(times * CAPACITY / 8, 2.0, seed, 0.1 + 0.05 * seed, f"t{seed}") for seed in range(8)
        )
    )
    out = run(Batcher(), arrivals)
    warm = [(one, end) for one, end in out.done if one.arrived > 0.5]
    missed = [one for one, end in warm if end > one.deadline]
    assert out.in_time() / 2.0 >= 0.75 * CAPACITY
    assert len(missed) <= 0.01 * len(warm)
    assert {one.tenant for one, _ in warm} == {f"t{seed}" for seed in range(8)}


def test_half_load_is_never_refused() -> None:
    out = run(Batcher(), poisson(0.5 * CAPACITY, 3.0, 9, 0.1))
    assert len(out.refused) <= 0.001 * len(out.done)
    assert out.latencies()[int(0.99 * len(out.done))] < 0.1


@pytest.mark.parametrize("base_s", [0.03, 0.06, 0.1])
def test_a_high_cost_of_each_batch_does_not_make_batches_small(base_s: float) -> None:
    def cost(batch: Batch) -> float:
        return base_s + 2e-4 * batch.rows

    # A batch may take as long again as it costs empty, so that half of the pace of the rows alone is within reach.
    capacity, seconds = 0.5 / 2e-4, 60 * base_s
    out = run(Batcher(), poisson(2 * capacity, seconds, 7, 10 * base_s), cost)
    late = [one for one, end in out.done if end <= one.deadline and one.arrived > seconds / 2]
    settled = out.batches[len(out.batches) // 2 :]
    assert sum(settled) / len(settled) > 0.6 * base_s / 2e-4
    assert len(late) / (seconds / 2) >= 0.6 * capacity


def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    arrivals = poisson(3 * CAPACITY, 1.0, 4, 0.05)
    out = run(Batcher(), arrivals)
    ends = Counter(id(one) for one in [*(one for one, _ in out.done), *out.late, *(one for one, _ in out.refused)])
    assert len(ends) == len(arrivals)
    assert set(ends.values()) == {1}


def test_a_slow_batch_closes_the_door_only_for_a_while() -> None:
    slow = iter([8.0])
    arrivals = poisson(0.3 * CAPACITY, 12.0, 6, 0.1)
    out = run(Batcher(), arrivals, lambda batch: next(slow, BASE_S + ROW_S * batch.rows))
    after = [one for one, _ in out.refused if one.arrived > 9.0]
    assert len(after) <= 0.01 * len([at for at, _ in arrivals if at > 9.0])


def test_an_idle_server_tries_whatever_it_expects() -> None:
    batcher = Batcher()
    for _ in range(50):
        batcher.time.observe(1000, 10.0)
    batcher.submit(job(0.01), 0.0)
    assert batcher.poll(0.0) is not None


def test_an_idle_server_tries_and_learns_although_several_tenants_waited_before() -> None:
    batcher = Batcher()
    run(batcher, [(0.0, job(90.0, f"t{number % 4}")) for number in range(4000)])
    for _ in range(50):
        batcher.time.observe(1000, 1.0)
    later = [(9.0 + at, Job("t0", 1, 200, 9.25 + at)) for at, _ in poisson(0.5 * CAPACITY, 3.0, 7, 0.0)]
    out = run(batcher, later)
    assert out.in_time() >= 0.9 * len(later)


def test_a_deadline_that_has_passed_is_refused_and_said() -> None:
    with pytest.raises(Problem) as caught:
        Batcher().submit(job(1.0), 1.0)
    assert caught.value.status == 504


def test_the_byte_budget_holds_and_one_large_job_still_passes_alone() -> None:
    batcher = Batcher(BatchConfig(max_queue_bytes=1000 << 10), admission=False)
    batcher.submit(Job("a", 1, 5 << 20, 9.0), 0.0)
    with pytest.raises(Problem) as caught:
        batcher.submit(Job("a", 1, 1, 9.0), 0.0)
    assert caught.value.kind == "overloaded"
    assert caught.value.retry_after_s is not None


def test_what_was_cancelled_is_not_dispatched_and_is_no_load() -> None:
    batcher = Batcher(admission=False)
    keep, drop = job(1.0), job(0.5)
    batcher.submit(keep, 0.0)
    batcher.submit(drop, 0.0)
    batcher.cancel(drop)
    batcher.cancel(drop)
    assert (batcher.queued_rows, batcher.queued_bytes) == (1, 100)
    assert ordered(batcher) == [keep]
    batcher.cancel(keep)
    assert batcher.queued_rows == 0


def test_cancelled_jobs_do_not_pile_up() -> None:
    batcher = Batcher(admission=False)
    batcher.submit(job(1.0), 0.0)
    for _ in range(5000):
        gone = job(50.0)
        batcher.submit(gone, 0.0)
        batcher.cancel(gone)
    (tenant,) = batcher._tenants.values()
    assert len(tenant.waiting) < 100


def test_what_passes_its_deadline_while_no_slot_is_free_is_given_out_once() -> None:
    batcher = Batcher(admission=False)
    running, early, gone, urgent, late = job(9.0), job(1.0), job(1.0), job(1.1, "b", 0), job(3.0, "b", 7)
    batcher.submit(running, 0.0)
    batch = batcher.poll(0.0)
    assert batch is not None
    for one in (early, gone, urgent, late):
        batcher.submit(one, 0.0)
    batcher.cancel(gone)
    assert batcher.late(0.9) == []
    assert batcher.late(1.0) == [early]
    assert batcher.late(1.5) == [urgent]
    assert (batcher.queued_rows, batcher.queued_bytes, batcher.queued_work) == (1, 100, late.work)
    batcher.cancel(early)
    batcher.finish(batch, 2.0)
    assert ordered(batcher, 2.0) == [late]
    assert batcher.waiting_tenants == batcher.queued_rows == 0


def test_tenants_of_whom_all_is_late_hold_up_no_other() -> None:
    batcher = Batcher()
    batcher.submit(job(9.0), 0.0)
    running = batcher.poll(0.0)
    assert running is not None
    for i in range(300):
        batcher.submit(job(1.0, f"t{i}"), 0.0)
    stays, gone = job(9.0, "stays"), job(9.0, "gone")
    batcher.submit(stays, 0.0)
    batcher.submit(gone, 0.0)
    batcher.cancel(gone)
    assert len(batcher.late(2.0)) == 300
    assert batcher.waiting_tenants == 1
    new = job(2.1, "new")
    batcher.submit(new, 2.0)
    batcher.finish(running, 2.01)
    assert ordered(batcher, 2.01) == [stays, new]
    assert batcher.waiting_tenants == batcher.queued_rows == 0


def test_a_late_job_behind_an_urgent_one_that_is_not_late_is_given_out_soon() -> None:
    batcher = Batcher(admission=False)
    batcher.submit(job(9.0), 0.0)
    batcher.poll(0.0)
    lazy, urgent = job(1.0, urgency=7), job(1.2, urgency=0)
    batcher.submit(lazy, 0.0)
    batcher.submit(urgent, 0.0)
    assert batcher.late(1.0 + 7 * URGENCY_S) == [urgent, lazy]


def test_tenants_that_left_are_forgotten() -> None:
    batcher = Batcher(admission=False)
    for i in range(5 * IDLE_TENANTS):
        batcher.submit(job(1.0, f"t{i}"), 0.0)
        ordered(batcher)
    assert len(batcher._idle) <= IDLE_TENANTS + 1
    assert batcher.waiting_tenants == 0


class Watched(Job):
    """A job that whatever reads it, also from C, runs code of Python for."""

    def __getattribute__(self, name: str) -> object:
        return super().__getattribute__(name)


def steps(work: Callable[[], object]) -> int:
    """How many instructions of Python ``work`` takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    # A collection may call Python too.
    gc.disable()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize(("tenant", "deadline"), [("new", 1e-9), ("t1", 1e-9), ("new", 1e6), ("t1", 1e6)])
def test_admission_costs_the_same_however_long_the_queue_is(tenant: str, deadline: float) -> None:
    def operations(queue: int) -> int:
        batcher = Batcher(BatchConfig(max_queue_bytes=1 << 40))
        for i in range(queue):
            batcher.submit(Watched(f"t{i % 50}", 1, 100, 1e6), 0.0)
        one = job(deadline, tenant)

        def submit() -> None:
            with contextlib.suppress(Problem):
                batcher.submit(one, 0.0)

        count = steps(submit)
        assert one.queued is (deadline > 1)
        return count

    few = operations(100)
    assert 50 < few == operations(2000)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30), st.floats(0, 2), st.booleans()), max_size=60))
def test_counts_are_those_of_the_jobs_that_wait(steps: list[tuple[str, int, float, bool]]) -> None:
    batcher = Batcher(BatchConfig(max_rows=20), admission=False)
    alive: list[Job] = []
    now = 0.0
    for tenant, rows, slack, cancel in steps:
        now += 0.01
        one = job(now + slack, tenant, rows=rows)
        if one.deadline <= now:
            continue
        batcher.submit(one, now)
        alive.append(one)
        if cancel and alive:
            batcher.cancel(alive.pop(0))
        if rows % 5 == 0:
            given = batcher.late(now)
            assert all(other.deadline <= now for other in given)
            alive = [other for other in alive if other not in given]
        if rows % 3 == 0 and (batch := batcher.poll(now)) is not None:
            alive = [other for other in alive if other not in batch.jobs and other not in batch.late]
            if batch.jobs:
                batcher.finish(batch, now + 0.001)
        assert batcher.queued_rows == sum(other.rows for other in alive)
        assert batcher.queued_bytes == sum(other.size_bytes for other in alive)
        assert batcher.waiting_tenants >= len({other.tenant for other in alive})
    assert sorted(map(id, ordered(batcher, -1.0))) == sorted(map(id, alive))


@pytest.mark.parametrize(
    ("change", "key"),
    [({"max_rows": 0}, "max_rows"), ({"slots": 0}, "slots"), ({"max_batch_ms": float("nan")}, "max_batch_ms")],
)
def test_a_bad_bound_names_its_key(change: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        BatchConfig(**change)  # type: ignore[arg-type]


def test_a_bad_weight_names_its_tenant() -> None:
    with pytest.raises(ConfigError, match=r"weights\.a"):
        Batcher(weights={"a": 0.0})


def test_the_estimate_learns_the_true_cost() -> None:
    batcher = Batcher()
    run(batcher, poisson(0.7 * CAPACITY, 2.0, 8, 0.2))
    work = 60 * (128 + 200)
    assert batcher.time.seconds(work) == pytest.approx(BASE_S + ROW_S * 60, rel=0.1)


def test_reading_may_rest_only_while_what_comes_would_wait_behind_others() -> None:
    batcher = Batcher(BatchConfig(max_rows=1), time=BatchTime(0.02, 0.0))
    assert batcher.rest(0.0) == 0.0
    batcher.submit(job(9.0), 0.0)
    # A slot is free.
    assert batcher.rest(0.0) == 0.0
    batch = batcher.poll(0.0)
    assert batch is not None
    # What comes now is the next.
    assert batcher.rest(0.001) == 0.0
    batcher.submit(job(9.0), 0.001)
    assert batcher.rest(0.001) == REST_S
    # Near the end of a batch it is short, so that the next is full; of one that takes longer, who knows.
    assert batcher.rest(0.0) > 0
    assert batcher.rest(10.0) == REST_S
    batcher.finish(batch, 0.02)
    assert batcher.rest(0.02) == 0.0


def test_a_batch_that_takes_next_to_no_time_is_hardly_waited_for() -> None:
    batcher = Batcher(BatchConfig(max_rows=1), time=BatchTime(1e-4, 0.0))
    for _ in range(2):
        batcher.submit(job(9.0), 0.0)
    assert batcher.poll(0.0) is not None
    assert 0 < batcher.rest(0.0) <= 5e-5


def test_a_slot_waits_for_more_only_where_others_are_refused_and_for_half_a_batch_at_most() -> None:
    batcher = Batcher(BatchConfig(max_rows=4, max_batch_ms=40.0), time=BatchTime(0.001, 0.0))
    batcher.submit(job(9.0), 0.0)
    batch = batcher.poll(0.0)
    assert batch is not None
    batcher.submit(job(9.0), 0.001)
    batcher.finish(batch, 0.002)
    assert batcher.gather(0.002) == 0.0
    batcher.refused(0.003)
    assert batcher.gather(0.004) == pytest.approx(GATHER * 0.04 - 0.002)
    assert batcher.gather(0.002 + GATHER * 0.04) == 0.0
    for _ in range(3):
        assert batcher.gather(0.004) > 0
        batcher.submit(job(9.0), 0.004)
    # As many as a batch may have.
    assert batcher.gather(0.004) == 0.0
    batch = batcher.poll(0.004)
    assert batch is not None
    assert batch.rows == 4
    # Nobody waits, and while a batch runs it is that which is waited for.
    assert batcher.gather(0.004) == 0.0
    batcher.submit(job(9.0), 0.005)
    assert batcher.gather(0.005) == 0.0
    batcher.finish(batch, 0.006)
    assert batcher.gather(0.006) > 0
    # Nothing was refused for long.
    assert batcher.gather(0.003 + RECENT_S + 0.001) == 0.0
