from __future__ import annotations

import numpy as np
import pytest
from exact_heap import GRANULE_NS, TICK_NS, UNIT_NS, ExactHeap

from aimds.respond.scheduling import slack, wheel
from aimds.respond.scheduling.order import Order

HORIZONS = {
    "one tick": TICK_NS,
    "ten milliseconds": 10_000_000,
    "the window": 4096 * TICK_NS,
    "far": 9 * 4096 * TICK_NS,
}


def rows(*tasks: tuple[int, int, int]) -> np.ndarray:
    return np.array(tasks, np.int64).reshape(-1, 3)


def push(order: Order, tasks: np.ndarray, now: int = 0, *, force: bool = False) -> list[int]:
    handles = np.zeros(len(tasks), np.int64)
    order.push(tasks, now, handles, force=force)
    return handles.tolist()


def pop(order: Order, most: int, now: int = 0) -> list[int]:
    handles = np.zeros(max(most, 1), np.int64)
    return handles[: order.pop(now, most, handles)].tolist()


def total(order: Order, name: str) -> int:
    return sum(order.counts()[name].values())


def array(*handles: int) -> np.ndarray:
    return np.array(handles, np.int64)


def test_book_lies_where_both_sides_of_it_think() -> None:
    for name in ("CLOCK", "RUNNING_WORK", "WORK", "OVERDUE", "STALE", "CELLS", "SUMS"):
        assert getattr(wheel, name) == wheel.BOOK + getattr(slack, name)
    for name in ("CLASSES", "UNIT_BITS", "GRANULE_BITS", "HORIZON", "MAX_COST"):
        assert getattr(wheel, name) == getattr(slack, name)
    assert wheel.BITS == wheel.BOOK + slack.BOOK_SIZE


@pytest.mark.parametrize("aging_ms", [0, 3])
@pytest.mark.parametrize("horizon", HORIZONS)
def test_order_is_that_of_the_exact_heap_to_the_tick(horizon: str, aging_ms: int) -> None:
    rng = np.random.default_rng(len(horizon) + aging_ms)
    order = Order(400, aging_ns=aging_ms * 1_000_000)
    exact = ExactHeap(aging=int(order.state[wheel.AGING]))
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
        handles = push(order, tasks, now)
        for handle, (level, deadline, cost) in zip(handles, tasks.tolist(), strict=True):
            assert handle >= 0 or len(exact.pending) + len(exact.running) == 400
            if handle >= 0:
                exact.push(handle, level, deadline, cost, now)
        known = list(exact.pending)
        chosen = [known[i] for i in rng.integers(0, len(known), int(rng.integers(0, 6)))]
        stale = [handle + (1 << 32) for handle in chosen[:1]]
        assert order.cancel(np.array(chosen + stale, np.int64)) == len(set(chosen))
        for handle in set(chosen):
            del exact.pending[handle]
        # Now and then everything is taken, so that the wheel runs empty and turns on.
        most = 400 if rng.random() < 0.02 else int(rng.integers(0, 40))
        popped = pop(order, most, now)
        assert popped == exact.pop(most, now)
        order.complete(now, np.array(popped, np.int64))
        exact.running.clear()
        operations += len(tasks) + len(chosen) + len(popped)
    assert order.pending == len(exact.pending)
    assert pop(order, 400, now) == exact.pop(400, now)


@pytest.mark.parametrize("horizon", list(HORIZONS)[1:])
def test_what_is_admitted_is_what_the_definition_admits(horizon: str) -> None:
    rng = np.random.default_rng(len(horizon))
    order = Order(300, admission=True)
    exact = ExactHeap(admission=True)
    now, taken, refused = 7 * 10**12, 0, 0
    reach = min(HORIZONS[horizon], 240 * GRANULE_NS)
    for _ in range(300):
        now += int(rng.integers(0, reach // 8)) * int(rng.integers(1, 30) // 29 * 20 + 1)
        for _ in range(int(rng.integers(1, 12))):
            level, deadline = int(rng.integers(0, 4)), now + int(rng.integers(-1, HORIZONS[horizon]))
            cost = int(rng.integers(0, reach // 8)) // int(rng.choice([1, 20, 1_000]))
            force = rng.random() < 0.02
            expected = exact.in_time(level, deadline, cost, now)
            (handle,) = push(order, np.array([(level, deadline, cost)]), now, force=force)
            if handle != wheel.FULL:
                assert (handle >= 0) == (expected or force)
            if handle >= 0:
                exact.push(handle, level, deadline, cost, now)
            taken, refused = taken + (handle >= 0), refused + (handle < 0)
        if exact.pending and rng.random() < 0.1:
            gone = next(iter(exact.pending))
            assert order.cancel(array(gone)) == 1
            del exact.pending[gone]
        popped = pop(order, int(rng.integers(0, 12)), now)
        assert popped == exact.pop(len(popped), now)
        done = array(*(handle for handle in exact.running if rng.random() < 0.6))
        assert order.complete(now, done) == len(done)
        for handle in done.tolist():
            del exact.running[handle]
    assert taken > 100
    assert refused > 100


def test_tight_task_is_kept_in_time_though_a_later_one_of_its_block_has_more_slack() -> None:
    order = Order(9, admission=True)
    tight, roomy, early = ((1, granule * GRANULE_NS, cost * 10**6) for granule, cost in ((20, 10), (30, 1), (13, 12)))
    assert [handle >= 0 for handle in push(order, rows(tight, roomy, early))] == [True, True, False]
    assert push(order, rows((1, 13 * GRANULE_NS, 10 * 10**6)))[0] >= 0


def test_micro_batch_is_admitted_as_its_tasks_one_by_one() -> None:
    rng = np.random.default_rng(3)
    whole, single = Order(1_000, admission=True), Order(1_000, admission=True)
    taken = 0
    for now in range(0, 600_000_000, 40_000_000):
        tasks = np.stack(
            [rng.integers(0, 4, 64), now + rng.integers(0, 3 * 10**8, 64), rng.integers(0, 4 * 10**6, 64)], 1
        )
        handles = push(whole, tasks, now)
        assert handles == [push(single, tasks[i : i + 1], now)[0] for i in range(64)]
        taken += sum(handle >= 0 for handle in handles)
        popped = pop(whole, 40, now)
        assert popped == pop(single, 40, now)
        assert whole.complete(now, array(*popped)) == single.complete(now, array(*popped)) == len(popped)
    assert 100 < taken < 800


def test_admitted_work_of_the_first_class_is_never_late_under_overload() -> None:
    rng = np.random.default_rng(5)
    late = {}
    for admission in (False, True):
        order = Order(5_000, admission=admission)
        costs: dict[int, int] = {}
        now = 0
        while now < 400_000_000:
            cost = int(rng.integers(50_000, 400_000))
            tasks = rows(
                *((int(rng.integers(0, 2)), now + int(rng.integers(2 * 10**6, 2 * 10**7)), cost) for _ in range(3))
            )
            costs |= dict.fromkeys(push(order, tasks, now), cost)
            for handle in pop(order, 1, now):
                now += -(-costs[handle] // UNIT_NS) * UNIT_NS
                order.complete(now, array(handle))
        counts = order.counts()
        late[admission] = counts["late_at_completion"]["critical"], counts["completed"]["critical"]
    assert late[False][0] > late[False][1] // 2
    assert late[True][0] == 0 < late[True][1]


def test_tasks_of_one_tick_leave_in_the_order_they_came_also_past_the_window() -> None:
    order = Order(64)
    far = 6_000 * TICK_NS
    first = push(order, rows(*[(2, far + i, 0) for i in (3, 1, 2)]))
    # Nearer now: the same tick lies in the window, and what came first is there already.
    then = 3_000 * TICK_NS
    second = push(order, rows((2, far, 0)), then)
    assert pop(order, 9, then) == first + second


def test_aging_lifts_what_is_overdue_but_never_over_the_first_class() -> None:
    order = Order(64, aging_ns=1_000_000)
    low, high, critical = push(order, rows((3, 0, 0), (1, 50_000_000, 0), (0, 90_000_000, 0)))
    assert pop(order, 9, 1_000_000) == [critical, high, low]
    low, high, critical = push(order, rows((3, 0, 0), (1, 50_000_000, 0), (0, 90_000_000, 0)), 1_000_000)
    assert pop(order, 9, 9_000_000) == [critical, low, high]


@pytest.mark.parametrize("admission", [False, True])
def test_full_wheel_says_so_and_has_room_again_when_a_task_has_gone(admission: bool) -> None:
    order = Order(2, admission=admission)
    tasks = rows((0, 10**8, 10**6), (3, 10**12, 10**6), (3, 2 * 10**8, 10**6))
    handles = push(order, tasks)
    assert handles[2] == wheel.FULL
    assert total(order, "full") == 1
    # The cost of what found no room is not in the book.
    assert order.state[wheel.WORK : wheel.WORK + 4].sum() == (2 * 977 if admission else 0)
    assert order.cancel(array(handles[1])) == 1
    (more,) = push(order, tasks[2:])
    assert pop(order, 9) == [handles[0], more]
    assert order.running == 2
    assert push(order, tasks[:1]) == [wheel.FULL]
    assert order.complete(0, array(more)) == 1
    assert push(order, tasks[:1])[0] >= 0


def test_handle_of_an_old_task_does_not_touch_the_new_one_in_its_slot() -> None:
    order = Order(1)
    (old,) = push(order, rows((0, 9, 0)))
    assert order.cancel(array(old)) == 1
    (new,) = push(order, rows((0, 9, 0)))
    assert new != old
    assert new & 0xFFFFFFFF == old & 0xFFFFFFFF
    assert order.cancel(array(old, -1, -2, 5, 1 << 62)) == 0
    assert pop(order, 1) == [new]
    assert order.cancel(array(new)) == 0
    assert order.complete(0, array(old, new, new)) == 1


def test_misses_are_counted_when_a_task_begins_late_and_when_it_ends_late() -> None:
    order = Order(8)
    push(order, rows((0, 100, 0), (1, 200, 0), (2, 300, 0)))
    handles = pop(order, 3, 150)
    assert total(order, "late_at_dispatch") == 1
    order.complete(250, array(*handles))
    assert list(order.counts()["late_at_completion"].values()) == [1, 1, 0, 0]


def test_clock_that_runs_back_changes_nothing() -> None:
    order = Order(8)
    (late,) = push(order, rows((1, 900 * TICK_NS, 0)), 800 * TICK_NS)
    (early,) = push(order, rows((1, 5 * TICK_NS, 0)), 3 * TICK_NS)
    assert pop(order, 8, 0) == [early, late]


def test_book_is_empty_when_all_work_has_gone_however_late() -> None:
    order = Order(64, admission=True)
    for now in (0, 150_000_000, 800_000_000, 10**12):
        tasks = rows(*((level, now + due * 10**6, 10**5) for level in range(4) for due in (4, 9, 60, 300)))
        handles = push(order, tasks, now)
        assert min(handles) >= 0
        assert order.cancel(array(*handles[::3])) == len(handles[::3])
        late = now + 100_000_000
        assert push(order, rows((0, late - 1, 0)), late) == [slack.REFUSED]
        popped = pop(order, 64, late)
        order.complete(late, array(*popped))
        book = order.state[wheel.BOOK : wheel.BOOK + slack.SUMS]
        assert not book[slack.RUNNING_WORK]
        assert not book[slack.WORK : slack.STALE].any()
        assert not book[slack.CELLS :].any()
