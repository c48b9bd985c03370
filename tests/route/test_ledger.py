from __future__ import annotations

import pytest

from aimds.errors import ConfigError
from aimds.route.ledger import Ledger
from aimds.route.tiers import Budgets

DAY = 86_400.0


def ledger() -> Ledger:
    return Ledger(Budgets(DAY, 1.0, {"acme": 10.0}))


def test_small_costs_without_a_limit_are_not_lost() -> None:
    made = Ledger(Budgets())
    for _ in range(1000):
        with made.hold(["a"], 0.0) as held:
            held.booked[0] = 1e-7
    assert made.spent("a", 0.0) == pytest.approx(1e-4)


def test_what_is_booked_is_gone_from_the_rest_and_comes_back_with_the_next_period() -> None:
    made = ledger()
    with made.hold(["acme", "other"], 0.0) as held:
        assert held.left.tolist() == [10.0, 1.0]
        held.booked[:] = [4.0, 1.0]
    with made.hold(["other", "acme"], DAY - 1) as held:
        assert held.left.tolist() == [0.0, 6.0]
    with made.hold(["acme"], DAY) as held:
        assert held.left.tolist() == [10.0]


def test_clock_that_goes_back_gives_nothing_back() -> None:
    made = ledger()
    with made.hold(["acme"], 2 * DAY) as held:
        held.booked[:] = 9.0
    assert made.spent("acme", 0.0) == 9.0


def test_nothing_is_booked_where_deciding_failed() -> None:
    made = ledger()

    def fails() -> None:
        with made.hold(["acme"], 0.0) as held:
            held.booked[:] = 5.0
            raise KeyError("tier")

    with pytest.raises(KeyError):
        fails()
    assert made.spent("acme", 0.0) == 0.0


def test_settling_replaces_the_estimate_and_not_across_periods() -> None:
    made = ledger()
    with made.hold(["acme"], 0.0) as held:
        held.booked[:] = 5.0
    made.settle("acme", 5.0, 2.0, 1.0, period=held.period)
    assert made.spent("acme", 1.0) == 2.0
    made.settle("acme", 2.0, 9.0, DAY + 1, period=held.period)
    assert made.spent("acme", DAY + 1) == 0.0
    with pytest.raises(ConfigError, match="finite"):
        made.settle("acme", 1.0, float("nan"), DAY + 1, period=held.period)


def test_call_of_an_earlier_period_changes_nothing_in_the_one_it_ends_in() -> None:
    made = ledger()
    with made.hold(["acme"], DAY - 1) as late:
        late.booked[:] = 8.0
    with made.hold(["acme"], DAY) as held:
        held.booked[:] = 9.0
    made.settle("acme", 8.0, 0.5, DAY + 1, period=late.period)
    assert made.spent("acme", DAY + 1) == 9.0
    for other in (0.5, 9.5):
        assert made.swap("acme", 8.0, other, DAY + 1, period=late.period)
        assert made.spent("acme", DAY + 1) == 9.0
    made.settle("acme", 9.0, 7.0, DAY + 1, period=held.period)
    assert made.spent("acme", DAY + 1) == 7.0


@pytest.mark.parametrize(("begun", "late"), [(DAY, DAY - 0.1), (100.1, 100.0)])
def test_what_is_booked_after_a_later_choice_has_begun_the_period_is_given_back_too(begun: float, late: float) -> None:
    made = ledger()
    for now, cost, actual in ((begun, 1.0, 1.0), (late, 4.0, 0.0), (late, 2.0, 0.5)):
        with made.hold(["acme"], now) as held:
            held.booked[:] = cost
        assert made.swap("acme", cost, 3.0, begun + 1, period=held.period)
        made.settle("acme", 3.0, actual, begun + 1, period=held.period)
    assert made.spent("acme", begun + 1) == 1.5


def test_call_booked_before_the_length_of_periods_changed_gives_nothing_back() -> None:
    made = ledger()
    with made.hold(["acme"], DAY + 10.0) as late:
        late.booked[:] = 8.0
    made.use(Budgets(3600.0, 1.0, {"acme": 10.0}))
    with made.hold(["acme"], DAY + 20.0) as held:
        held.booked[:] = 9.0
    made.settle("acme", 8.0, 0.5, DAY + 30.0, period=late.period)
    assert made.spent("acme", DAY + 30.0) == 9.0


def test_fallback_that_the_budget_lacks_is_refused_and_a_cheaper_one_never() -> None:
    made = ledger()
    with made.hold(["acme"], 0.0) as held:
        held.booked[:] = 9.0
    assert not made.swap("acme", 1.0, 2.5, 0.0, period=held.period)
    assert made.spent("acme", 0.0) == 9.0
    assert made.swap("acme", 1.0, 2.0, 0.0, period=held.period)
    assert made.swap("acme", 2.0, 0.5, 0.0, period=held.period)
    assert made.spent("acme", 0.0) == 8.5
