"""The gate lets through what is shown to be better, never what merely looks better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aimds.errors import ConfigError
from aimds.learn import gate
from aimds.learn.bounds import Value
from aimds.learn.gate import Check, Levels, Limits

LEVELS, LIMITS = Levels(0.01, 0.001), Limits()


def p(caught: int, total: int, low: float = 0.005) -> np.ndarray:
    return np.where(np.arange(total) < caught, low, 0.5)


def found(before: Any, after: Any, benign_before: Any, benign_after: Any) -> list[Check]:
    held = gate.held_out(before, after, LEVELS, LEVELS)
    return list(gate.checks(held, gate.canary(benign_before, benign_after, LEVELS, LEVELS), LIMITS))


def test_a_clear_gain_without_false_alarms_passes_and_says_three_by_n() -> None:
    checks = found(p(2, 10), p(8, 10), p(0, 2000), p(0, 2000))
    assert [check.passed for check in checks] == [True, True, True]
    assert "2 were caught before, 8 after: 6 gained, 0 lost" in checks[0].says
    assert "3 / 2,000" in checks[2].says


def test_the_bound_of_few_texts_is_not_said_to_be_three_by_n() -> None:
    says = found(p(2, 10), p(8, 10), p(0, 5), p(0, 5))[1].says
    assert "at most 45.07% at 95% confidence; the limit" in says


@pytest.mark.parametrize("gained", [0, 1, 4])
def test_a_gain_that_may_be_chance_does_not_pass(gained: int) -> None:
    check = found(p(0, 10), p(gained, 10), p(0, 2000), p(0, 2000))[0]
    assert not check.passed
    assert ("too few to say" in check.says) == (gained > 0)


def test_what_is_lost_weighs_against_what_is_gained() -> None:
    assert not found(p(5, 12), p(5, 12)[::-1], p(0, 2000), p(0, 2000))[0].passed


def test_too_few_benign_texts_never_pass_and_say_how_many_are_needed() -> None:
    checks = found(p(0, 10), p(10, 10), p(0, 400), p(0, 400))
    assert [check.passed for check in checks] == [True, True, False]
    assert "1,497 texts" in checks[2].says
    assert not any(check.passed for check in found(p(0, 10), p(10, 10), p(0, 0), p(0, 0))[1:])


def test_benign_texts_flagged_anew_count_and_those_flagged_before_do_not() -> None:
    assert not found(p(0, 10), p(10, 10), p(0, 2000), p(40, 2000))[1].passed
    assert found(p(0, 10), p(10, 10), p(40, 2000), p(40, 2000))[1].passed


def test_a_text_that_could_not_be_judged_is_not_caught() -> None:
    held = gate.held_out(p(0, 3), np.array([np.nan, 0.001, 0.005]), LEVELS, LEVELS)
    assert (held["after"], held["blocked_after"]) == (2, 1)


def test_a_policy_passes_by_its_lower_bound_and_enough_rows_only() -> None:
    assert gate.policy_check(Value(0.1, 0.05, 500.0)).passed
    assert not gate.policy_check(Value(0.1, -0.01, 500.0)).passed
    assert not gate.policy_check(Value(0.1, 0.05, 20.0)).passed


def test_a_limit_that_lets_all_through_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"limit\.block"):
        Limits(block=1.0)
