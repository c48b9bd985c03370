from __future__ import annotations

from aimds.route.breaker import Breaker, BreakerConfig


def opened() -> Breaker:
    made = Breaker(BreakerConfig(failures=2, open_s=10.0))
    made.failed(0.0)
    made.failed(1.0)
    return made


def test_failures_in_a_row_open_it_and_others_do_not() -> None:
    made = Breaker(BreakerConfig(failures=2, open_s=10.0))
    for _ in range(5):
        made.failed(0.0)
        made.succeeded()
    assert made.state(0.0) == "closed"
    assert opened().state(1.0) == "open"
    assert not opened().admits(10.9)


def test_one_call_tries_after_a_while_and_no_second_beside_it() -> None:
    made = opened()
    assert made.state(11.0) == "half_open"
    assert [made.admits(11.0), made.admits(11.0)] == [True, False]
    made.succeeded()
    assert made.state(11.0) == "closed"
    assert [made.admits(11.0), made.admits(11.0)] == [True, True]


def test_trial_that_fails_opens_it_at_once_for_as_long_again() -> None:
    made = opened()
    assert made.admits(11.0)
    made.failed(12.0)
    assert not made.admits(21.9)
    assert made.admits(22.0)


def test_trial_that_never_reports_is_not_waited_for_forever() -> None:
    made = opened()
    assert made.admits(11.0)
    assert not made.admits(20.0)
    assert made.admits(21.0)
