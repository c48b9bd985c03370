"""Bounds: what is known of them, and how often they hold in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from aimds.errors import ConfigError, SchemaError
from aimds.learn.bounds import Log, doubly_robust, empirical_bernstein, lower, needed, upper


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (7, 3416)])
def test_shares_are_those_of_clopper_and_pearson(hits: int, n: int) -> None:
    assert upper(hits, n) == pytest.approx(beta.ppf(0.95, hits + 1, n - hits) if hits < n else 1.0)
    assert lower(hits, n) == pytest.approx(beta.ppf(0.05, hits, n - hits + 1) if hits else 0.0)


def test_nothing_seen_in_n_rows_means_about_three_by_n() -> None:
    assert upper(0, 10_000) == pytest.approx(3 / 10_000, rel=0.01)
    assert needed(3e-4) == pytest.approx(10_000, rel=0.01)
    assert upper(0, needed(0.002)) <= 0.002 < upper(0, needed(0.002) - 1)
    assert (upper(0, 0), lower(0, 0)) == (1.0, 0.0)


def logged(rng: np.random.Generator, n: int, gain: float) -> tuple[Log, np.ndarray, np.ndarray]:
    """A log of three actions, a target that plays the last one, and a model that is wrong on purpose."""
    chances = np.array([0.6, 0.3, 0.1])
    action = rng.choice(3, n, p=chances)
    value = np.array([0.4, 0.4, 0.4 + gain])
    reward = (rng.random(n) < value[action]).astype(float)
    target = np.tile([0.0, 0.0, 1.0], (n, 1))
    return Log(action, chances[action], reward), target, np.full((n, 3), 0.7)


def test_the_doubly_robust_value_is_right_although_the_model_is_wrong() -> None:
    log, target, model = logged(np.random.default_rng(0), 40_000, 0.2)
    found = doubly_robust(log, target, model)
    assert found.gain == pytest.approx(0.18, abs=0.03)
    assert found.lower < found.gain
    assert found.effective == pytest.approx((log.action == 2).sum())


def test_the_lower_bound_lies_above_the_truth_in_about_one_of_twenty_runs() -> None:
    rng = np.random.default_rng(1)
    over = sum(doubly_robust(*logged(rng, 2000, 0.0)).lower > 0 for _ in range(400))
    assert over <= 36
    assert sum(empirical_bernstein(rng.random(200) - 0.5, 1.0) > 0 for _ in range(300)) <= 15


def test_a_log_that_cannot_be_is_refused_by_row() -> None:
    with pytest.raises(SchemaError, match="'propensity', row 1"):
        Log(np.zeros(2, np.int64), np.array([0.5, 0.0]), np.zeros(2))
    with pytest.raises(SchemaError, match="'reward', row 0"):
        Log(np.zeros(1, np.int64), np.ones(1), np.array([2.0]))
    good = Log(np.array([0, 5]), np.ones(2), np.zeros(2))
    with pytest.raises(SchemaError, match="'action', row 1"):
        doubly_robust(good, np.full((2, 2), 0.5), np.zeros((2, 2)))
    with pytest.raises(ConfigError, match="at least 2"):
        doubly_robust(Log(np.zeros(1, np.int64), np.ones(1), np.zeros(1)), np.ones((1, 1)), np.zeros((1, 1)))
