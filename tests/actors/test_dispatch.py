"""Who does which ticket, in simulated time: every ticket has one result, whatever becomes of workers."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.actors.dispatch import Dispatch, Ended, Patience
from aimds.errors import ConfigError

EAGER = Patience(factor=2.0, least_s=1.0, samples=2, losses=3)


def begun(dispatch: Dispatch, now: float) -> dict[int, int]:
    return dict(dispatch.due(now))


def ready(workers: int, patience: Patience = EAGER) -> Dispatch:
    dispatch = Dispatch(patience)
    for worker in range(workers):
        dispatch.joined(worker)
    return dispatch


def test_an_idle_worker_takes_the_next_ticket_and_a_preferred_one_goes_first() -> None:
    dispatch = ready(2)
    dispatch.submit(10, prefer=1)
    dispatch.submit(11)
    dispatch.submit(12)
    assert begun(dispatch, 0.0) == {1: 10, 0: 11}
    assert dispatch.finished(1, 1.0) == Ended(10)
    assert begun(dispatch, 1.0) == {1: 12}


def test_a_straggler_is_run_a_second_time_and_the_first_result_wins() -> None:
    dispatch = ready(3)
    for ticket in range(3):
        dispatch.submit(ticket)
    assert begun(dispatch, 0.0) == {0: 0, 1: 1, 2: 2}
    dispatch.finished(0, 1.0)
    dispatch.finished(1, 1.0)
    assert begun(dispatch, 1.9) == {}
    assert begun(dispatch, 2.1) == {0: 2}
    assert dispatch.repeats == 1
    assert begun(dispatch, 9.0) == {}
    assert dispatch.finished(0, 9.5) == Ended(2, losers=(2,))
    assert dispatch.finished(2, 9.6) is None


def test_a_large_ticket_may_take_longer_before_it_counts_as_late() -> None:
    dispatch = ready(3)
    for ticket, size in ((0, 10), (1, 10), (2, 100)):
        dispatch.submit(ticket, size=size)
    begun(dispatch, 0.0)
    dispatch.finished(0, 1.0)
    dispatch.finished(1, 1.0)
    assert begun(dispatch, 19.0) == {}
    assert begun(dispatch, 21.0) == {0: 2}


def test_nothing_is_repeated_while_something_waits_or_where_it_must_not_be() -> None:
    dispatch = ready(2)
    dispatch.submit(0)
    dispatch.submit(1)
    begun(dispatch, 0.0)
    dispatch.finished(0, 1.0)
    dispatch.submit(2, again=False)
    begun(dispatch, 1.0)
    dispatch.finished(1, 2.0)
    assert begun(dispatch, 100.0) == {}


def test_a_failure_counts_only_when_nobody_else_is_at_the_ticket() -> None:
    dispatch = ready(2, Patience(factor=1.0, least_s=0.0, samples=1))
    dispatch.submit(0)
    begun(dispatch, 0.0)
    dispatch.finished(0, 1.0)
    dispatch.submit(1)
    begun(dispatch, 1.0)
    assert begun(dispatch, 3.0) == {0: 1}
    assert dispatch.finished(1, 4.0, good=False) is None
    assert dispatch.finished(0, 5.0, good=False) == Ended(1)


def test_the_ticket_of_a_lost_machine_goes_to_the_next_worker_at_once() -> None:
    dispatch = ready(2)
    dispatch.submit(0)
    dispatch.submit(1)
    begun(dispatch, 0.0)
    assert dispatch.lost(0, blamed=False) is None
    assert dispatch.moved == 1
    dispatch.finished(1, 1.0)
    assert begun(dispatch, 1.0) == {1: 0}


def test_a_ticket_that_may_have_ended_its_worker_is_given_back() -> None:
    dispatch = ready(1)
    dispatch.submit(0)
    begun(dispatch, 0.0)
    assert dispatch.lost(0, blamed=True) == Ended(0)
    assert dispatch.at(0) is None


def test_a_ticket_that_lost_too_many_machines_is_given_back() -> None:
    dispatch = Dispatch(EAGER)
    dispatch.submit(0)
    for worker in range(4):
        dispatch.joined(worker)
        begun(dispatch, 0.0)
        ended = dispatch.lost(worker, blamed=False)
        assert (ended is not None) == (worker == 3)


def test_patience_below_what_can_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"factor = 0\.5: expected at least 1"):
        Patience(factor=0.5)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(0, 40))
def test_every_ticket_ends_exactly_once_whatever_becomes_of_workers(seed: int, workers: int, tickets: int) -> None:
    rng = random.Random(seed)
    dispatch = ready(workers)
    for ticket in range(tickets):
        dispatch.submit(ticket, size=rng.randint(1, 5), again=rng.random() < 0.9)
    events: list[tuple[float, int, str, int]] = []
    ended: list[int] = []
    now, count = 0.0, 0

    def plan(at: float, what: str, worker: int) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (at, count, what, worker))

    def look() -> None:
        for worker, _ in dispatch.due(now):
            fate = rng.choices(("good", "bad", "lost", "blamed", "slow"), (80, 5, 8, 2, 5))[0]
            plan(now + rng.expovariate(1.0) * (20 if fate == "slow" else 1), fate, worker)

    look()
    gone: set[int] = set()
    while events:
        now, _, what, worker = heapq.heappop(events)
        if what == "back":
            gone.discard(worker)
            dispatch.joined(worker)
        elif worker in gone:
            continue
        elif what in ("lost", "blamed"):
            over = dispatch.lost(worker, blamed=what == "blamed")
            gone.add(worker)
            plan(now + 1.0, "back", worker)
            ended += [over.ticket] if over else []
        else:
            over = dispatch.finished(worker, now, good=what != "bad")
            ended += [over.ticket] if over else []
            for loser in over.losers if over else ():
                dispatch.lost(loser, blamed=False)
                gone.add(loser)
                plan(now + 1.0, "back", loser)
        if not events:
            now += 100.0
        look()
    assert sorted(ended) == list(range(tickets))
