from __future__ import annotations

import numpy as np
import pytest
from respond.exact_heap import TICK_NS, UNIT_NS, ExactHeap

from aimds.kernels.cpu import wheel

HORIZONS = {
    "one tick": TICK_NS,
    "ten milliseconds": 10_000_000,
    "the window": 4096 * TICK_NS,
    "far": 9 * 4096 * TICK_NS,
}


def rows(*tasks: tuple[int, int, int]) -> np.ndarray:
    return np.array(tasks, np.int64).reshape(-1, 3)


def push(state: np.ndarray, tasks: np.ndarray, now: int = 0) -> list[int]:
    handles = np.zeros(len(tasks), np.int64)
    wheel.push(state, tasks, 0, now, handles)
    return handles.tolist()


def pop(state: np.ndarray, most: int, now: int = 0) -> list[int]:
    handles = np.zeros(max(most, 1), np.int64)
    return handles[: wheel.pop(state, now, most, handles)].tolist()


def counts(state: np.ndarray, kind: int) -> int:
    return int(state[wheel.COUNTS + kind * 4 : wheel.COUNTS + kind * 4 + 4].sum())


@pytest.mark.parametrize("aging_ms", [0, 3])
@pytest.mark.parametrize("horizon", HORIZONS)
def test_order_is_that_of_the_exact_heap_to_the_tick(horizon: str, aging_ms: int) -> None:
    rng = np.random.default_rng(len(horizon) + aging_ms)
    state = wheel.new(400, aging_ns=aging_ms * 1_000_000, tracked=True)
    exact = ExactHeap(aging=int(state[wheel.AGING]))
    now, operations = 10**15, 0
    while operations < 8_000:
        now += int(rng.integers(0, max(HORIZONS[horizon] // 20, 2)))
        tasks = np.stack(
            [
                rng.integers(0, 4, 24),
                now + rng.integers(-HORIZONS[horizon] // 8, HORIZONS[horizon], 24) // 7 * 7,
                rng.integers(0, 9_999, 24),
            ],
            1,
        )
        tasks[rng.random(24) < 0.3] = tasks[0]
        handles = push(state, tasks, now)
        for handle, (level, deadline, cost) in zip(handles, tasks.tolist(), strict=True):
            assert handle >= 0 or len(exact.pending) + len(exact.running) == 400
            if handle >= 0:
                exact.push(handle, level, deadline, cost, now)
        known = list(exact.pending)
        chosen = [known[i] for i in rng.integers(0, len(known), int(rng.integers(0, 6)))]
        stale = [handle + (1 << 32) for handle in chosen[:1]]
        assert wheel.cancel(state, np.array(chosen + stale, np.int64)) == len(set(chosen))
        for handle in set(chosen):
            del exact.pending[handle]
        # Now and then everything is taken, so that the wheel runs empty and turns on.
        most = 400 if rng.random() < 0.02 else int(rng.integers(0, 40))
        popped = pop(state, most, now)
        assert popped == exact.pop(most, now)
        wheel.complete(state, now, np.array(popped, np.int64))
        exact.running.clear()
        operations += len(tasks) + len(chosen) + len(popped)
    assert state[wheel.PENDING] == len(exact.pending)
    assert pop(state, 400, now) == exact.pop(400, now)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_what_is_admitted_is_what_the_definition_admits(horizon: str) -> None:
    rng = np.random.default_rng(len(horizon))
    state = wheel.new(300, admission=True, tracked=True)
    exact = ExactHeap(admission=True)
    now, taken, refused = 7 * 10**12, 0, 0
    for _ in range(400):
        now += int(rng.integers(0, HORIZONS[horizon] // 10))
        level, deadline = int(rng.integers(0, 4)), now + int(rng.integers(-1, HORIZONS[horizon]))
        cost = int(rng.integers(0, HORIZONS[horizon] // 6))
        far = any(
            task.level == level and task.tick >= state[wheel.BASE + level] + 4096 for task in exact.pending.values()
        )
        (handle,) = push(state, rows((level, deadline, cost)), now)
        expected = exact.in_time(level, deadline, cost, now)
        if horizon == "far":
            # Past the window all that waits in the class counts as due before: it refuses more, never less.
            assert expected or handle == wheel.REFUSED
        else:
            assert not far
            assert (handle >= 0) == expected
        if handle >= 0:
            exact.push(handle, level, deadline, cost, now)
        taken, refused = taken + (handle >= 0), refused + (handle < 0)
        if exact.pending and rng.random() < 0.1:
            gone = next(iter(exact.pending))
            assert wheel.cancel(state, np.array([gone])) == 1
            del exact.pending[gone]
        popped = pop(state, int(rng.integers(0, 3)), now)
        assert popped == exact.pop(len(popped), now)
        done = np.array([handle for handle in exact.running if rng.random() < 0.5], np.int64)
        assert wheel.complete(state, now, done) == len(done)
        for handle in done.tolist():
            del exact.running[handle]
    assert taken > 40
    assert refused > 40


def test_admitted_work_of_the_first_class_is_never_late_under_overload() -> None:
    rng = np.random.default_rng(5)
    late = {}
    for admission in (False, True):
        state = wheel.new(5_000, admission=admission, tracked=True)
        now = 0
        while now < 400_000_000:
            cost = int(rng.integers(50_000, 400_000))
            tasks = rows(
                *((int(rng.integers(0, 2)), now + int(rng.integers(10**6, 2 * 10**7)), cost) for _ in range(3))
            )
            push(state, tasks, now)
            for handle in pop(state, 1, now):
                now += int(state[wheel.SLOTS + (handle & 0xFFFFFFFF) * wheel.SLOT + wheel.COST]) * UNIT_NS
                wheel.complete(state, now, np.array([handle]))
        late[admission] = int(state[wheel.COUNTS + wheel.LATE_END * 4]), int(state[wheel.COUNTS + wheel.COMPLETED * 4])
    assert late[False][0] > late[False][1] // 2
    assert late[True][0] == 0 < late[True][1]


def test_tasks_of_one_tick_leave_in_the_order_they_came_also_past_the_window() -> None:
    state = wheel.new(64)
    far = 6_000 * TICK_NS
    first = push(state, rows(*[(2, far + i, 0) for i in (3, 1, 2)]))
    # Nearer now: the same tick lies in the window, and what came first is there already.
    then = 3_000 * TICK_NS
    second = push(state, rows((2, far, 0)), then)
    assert pop(state, 9, then) == first + second


def test_aging_lifts_what_is_overdue_but_never_over_the_first_class() -> None:
    state = wheel.new(64, aging_ns=1_000_000)
    low, high, critical = push(state, rows((3, 0, 0), (1, 50_000_000, 0), (0, 90_000_000, 0)))
    assert pop(state, 9, 1_000_000) == [critical, high, low]
    low, high, critical = push(state, rows((3, 0, 0), (1, 50_000_000, 0), (0, 90_000_000, 0)), 1_000_000)
    assert pop(state, 9, 9_000_000) == [critical, low, high]


def test_full_wheel_says_so_and_a_grown_one_goes_on_with_every_handle() -> None:
    state = wheel.new(4)
    tasks = rows((0, 10**6, 0), (3, 10**12, 0), (3, 2 * 10**12, 0), (1, 10**6, 0), (0, 5, 0))
    handles = push(state, tasks)
    assert handles[4] == wheel.FULL
    assert counts(state, wheel.NO_ROOM) == 1
    state = wheel.grown(state, 9)
    more = push(state, np.concatenate([tasks[4:], tasks[:4]]))
    assert min(more) >= 0
    assert wheel.cancel(state, np.array([handles[2]])) == 1
    assert pop(state, 9) == [more[0], handles[0], more[1], handles[3], more[4], handles[1], more[2], more[3]]
    assert state[wheel.FREE_TOP] == 9


def test_handle_of_an_old_task_does_not_touch_the_new_one_in_its_slot() -> None:
    state = wheel.new(1, tracked=True)
    (old,) = push(state, rows((0, 9, 0)))
    assert wheel.cancel(state, np.array([old])) == 1
    (new,) = push(state, rows((0, 9, 0)))
    assert new != old
    assert new & 0xFFFFFFFF == old & 0xFFFFFFFF
    assert wheel.cancel(state, np.array([old, -1, -2, 5, 1 << 62])) == 0
    assert pop(state, 1) == [new]
    assert wheel.cancel(state, np.array([new])) == 0
    assert wheel.complete(state, 0, np.array([old, new, new])) == 1


def test_misses_are_counted_when_a_task_begins_late_and_when_it_ends_late() -> None:
    state = wheel.new(8, tracked=True)
    push(state, rows((0, 100, 0), (1, 200, 0), (2, 300, 0)))
    handles = pop(state, 3, 150)
    assert counts(state, wheel.LATE_START) == 1
    wheel.complete(state, 250, np.array(handles))
    assert state[wheel.COUNTS + wheel.LATE_END * 4 :][:4].tolist() == [1, 1, 0, 0]


def test_class_that_does_not_exist_is_refused_in_its_row() -> None:
    state = wheel.new(8)
    assert [handle >= 0 for handle in push(state, rows((4, 1, 0), (0, 1, 0), (-1, 1, 0)))] == [False, True, False]


def test_clock_that_runs_back_changes_nothing() -> None:
    state = wheel.new(8)
    (late,) = push(state, rows((1, 900 * TICK_NS, 0)), 800 * TICK_NS)
    (early,) = push(state, rows((1, 5 * TICK_NS, 0)), 3 * TICK_NS)
    assert pop(state, 8, 0) == [early, late]
