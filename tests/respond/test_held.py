"""Sessions in quarantine and limited ones: until when, how many, and how they are let go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aimds.respond.held import Key, Quarantine, RateLimits

A: Key = ("t", "a", None)
B: Key = ("t", "b", None)


def test_a_session_is_held_until_its_time_is_over_or_it_is_released() -> None:
    held = Quarantine()
    held.put(A, 100.0, 60.0, "r1")
    assert held.get(A, 159.9) is not None
    assert held.get(B, 110.0) is None
    assert held.get(A, 160.0) is None
    assert len(held) == 0
    held.put(A, 200.0, 0.0)
    assert held.get(A, 1e12) is not None
    assert held.release(A, 1e12)
    assert not held.release(A, 1e12)


def test_holding_again_makes_it_longer_never_shorter_and_keeps_the_first_cause() -> None:
    held = Quarantine()
    held.put(A, 0.0, 60.0, "first")
    held.put(A, 50.0, 60.0, "second")
    hold = held.get(A, 100.0)
    assert hold is not None
    assert (hold.since, hold.until, hold.request_id) == (0.0, 110.0, "first")
    held.put(A, 51.0, 1.0)
    assert held.get(A, 109.0) is not None


def test_of_too_many_sessions_the_one_held_longest_goes_and_is_counted() -> None:
    held = Quarantine(most=2)
    for number in range(5):
        held.put(("t", str(number), None), float(number), 0.0)
    assert [key[1] for key, _ in held.listed(9.0)] == ["3", "4"]
    assert held.dropped == 3


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 50), st.sampled_from(["put", "release", "expire"])), max_size=30
    )
)
def test_what_is_held_is_what_a_plain_table_says(steps: list[tuple[int, int, str]]) -> None:
    held, table, now = Quarantine(), dict[Key, float](), 0.0
    for name, wait, what in steps:
        key, now = ("t", str(name), None), now + wait
        table = {one: until for one, until in table.items() if until > now}
        if what == "put":
            held.put(key, now, 60.0)
            table[key] = max(now + 60.0, table.get(key, 0.0))
        elif what == "release":
            assert held.release(key, now) == (key in table)
            table.pop(key, None)
        else:
            held.expire(now)
        assert {one: hold.until for one, hold in held.listed(now)} == table


def test_a_limited_session_sends_its_turns_a_minute_and_others_all_they_want() -> None:
    limits = RateLimits()
    assert all(limits.take(A, 0.0, 2.0) for _ in range(10))
    limits.put(A, 0.0, 600.0)
    assert [limits.take(A, 1.0, 2.0) for _ in range(3)] == [True, True, False]
    assert not limits.take(A, 30.0, 2.0)
    assert [limits.take(A, 62.0, 2.0) for _ in range(3)] == [True, True, False]
    assert all(limits.take(B, 62.0, 2.0) for _ in range(10))
    assert all(limits.take(A, 600.0, 2.0) for _ in range(10))


def test_clock_that_goes_back_gives_no_turns() -> None:
    limits = RateLimits()
    limits.put(A, 100.0, 600.0)
    assert [limits.take(A, 100.0, 1.0), limits.take(A, 10.0, 1.0), limits.take(A, 11.0, 1.0)] == [True, False, False]


def test_buckets_of_limits_that_are_over_do_not_pile_up() -> None:
    limits = RateLimits(most=10)
    for number in range(2000):
        key = ("t", str(number), None)
        limits.put(key, float(number), 1.0)
        limits.take(key, float(number), 1.0)
    assert len(limits) <= 10
    assert len(limits._buckets) <= 100


def test_hold_that_ended_is_told_once_whoever_noticed_and_a_released_one_never() -> None:
    held = Quarantine()
    for key, hold_s in ((A, 10.0), (B, 20.0), (("t", "c", None), 5.0)):
        held.put(key, 0.0, hold_s, "r")
    assert held.release(("t", "c", None), 1.0)
    assert held.ended(9.0) == []
    assert held.get(A, 10.0) is None
    assert [key for key, _ in held.ended(25.0)] == [A, B]
    assert held.ended(25.0) == []


def test_bucket_of_a_limit_that_ended_goes_with_it() -> None:
    limits = RateLimits()
    limits.put(A, 0.0, 10.0)
    assert limits.take(A, 1.0, 60.0)
    assert [key for key, _ in limits.ended(10.0)] == [A]
    assert not limits._buckets
