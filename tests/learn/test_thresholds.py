"""A proven threshold keeps its rate with the confidence it names, and a step never goes too far."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from aimds.errors import ConfigError
from aimds.learn.bounds import needed
from aimds.learn.thresholds import allowed, proven, stepped


@pytest.mark.parametrize(("n", "rate"), [(2995, 0.001), (10_000, 0.001), (300, 0.01), (5000, 0.02), (0, 0.01)])
def test_allowed_alarms_are_the_most_that_the_binomial_test_lets_pass(n: int, rate: float) -> None:
    k = allowed(n, rate)
    assert k < 0 or binom.cdf(k, n, rate) <= 0.05
    assert binom.cdf(k + 1, n, rate) > 0.05


def test_it_takes_as_many_texts_as_the_rule_of_three_says() -> None:
    assert allowed(needed(0.001), 0.001) == 0
    assert allowed(needed(0.001) - 1, 0.001) == -1
    assert proven(np.full(100, 0.5), 0.001) is None


def test_the_true_rate_lies_above_the_proven_one_in_about_one_of_twenty_draws() -> None:
    rng = np.random.default_rng(3)
    over = sum((proven(rng.random(1500), 0.01) or 0.0) > 0.01 for _ in range(600))
    assert 5 <= over <= 45


def test_texts_that_could_not_be_judged_are_alarms_at_any_threshold() -> None:
    p = np.linspace(0.001, 1, 1000)
    p[-20:] = np.nan
    assert proven(p, 0.01) == 0.0


def test_a_step_is_bounded_both_ways() -> None:
    assert stepped(0.01, 0.1) == 0.02
    assert stepped(0.01, 0.0) == 0.005
    assert stepped(0.01, 0.012) == 0.012
    assert stepped(0.8, 5.0) == 1.0
    with pytest.raises(ConfigError):
        stepped(0.0, 0.1)
    with pytest.raises(ConfigError):
        stepped(0.1, 0.1, 0.5)
