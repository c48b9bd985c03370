from __future__ import annotations

import numpy as np
import pytest

from aimds.analyze import dynamics

PHASES = dynamics.phases(7)


def logistic(size: int, x: float = 0.3) -> np.ndarray:
    out = np.empty(size)
    for i in range(size):
        out[i] = x = 4 * x * (1 - x)
    return out


@pytest.mark.parametrize("size", [32, 33, 200])
def test_surrogates_have_the_same_values_and_nearly_the_same_spectrum_in_another_order(size):
    noise = np.random.default_rng(0).normal(size=size)
    series = noise + np.roll(noise, 1)
    made = dynamics.surrogates(series, PHASES)
    assert made.shape == (dynamics.SURROGATES, size)
    for one in made:
        assert np.array_equal(np.sort(one), np.sort(series))
        assert not np.array_equal(one, series)
    lag_one = [np.corrcoef(one[1:], one[:-1])[0, 1] for one in made]
    assert np.mean(lag_one) == pytest.approx(np.corrcoef(series[1:], series[:-1])[0, 1], abs=0.15)


def test_surrogates_of_a_series_are_always_the_same():
    series = logistic(50)
    assert np.array_equal(dynamics.surrogates(series, PHASES), dynamics.surrogates(series, dynamics.phases(7)))


def test_chaos_beats_its_surrogates_and_noise_does_not():
    rng = np.random.default_rng(1)
    chaos = dynamics.against(logistic(64), PHASES)
    assert chaos.beats
    assert chaos.z["prediction_error"] < -3
    noise = [dynamics.against(rng.normal(size=64), PHASES).beats for _ in range(60)]
    assert sum(noise) <= 5


def test_the_steps_of_a_walk_do_not_beat_their_surrogates_even_where_the_walk_does():
    rng = np.random.default_rng(2)
    walks = [np.cumsum(rng.normal(size=200)) for _ in range(20)]
    steps = [dynamics.against(np.diff(walk), PHASES).beats for walk in walks]
    assert sum(steps) <= 3


def test_a_feature_that_a_series_does_not_have_has_no_z():
    assert dynamics.against(logistic(40), PHASES).z["chaos01"] is None
    assert isinstance(dynamics.against(logistic(40), PHASES, angles=4).z["chaos01"], float)
