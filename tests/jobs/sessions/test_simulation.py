from __future__ import annotations

import numpy as np
import pytest

from aimds.errors import ConfigError
from aimds.jobs.sessions.simulation import FLOOR, FORMAT, KINDS, simulate


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("benign", (-6.1787273, -5.7283600, -6.7930643)),
        ("ramp", (-6.1787273, -5.7283600, -4.2930643)),
        ("step", (-6.1787273, -4.1283600, -5.1930643)),
        ("probe", (-6.1787273, -3.9283600, -6.7930643)),
    ],
)
def test_the_simulator_is_frozen(kind, first):
    assert FORMAT == 1
    made = simulate(kind, 2, 20, np.random.default_rng(7))
    assert np.allclose(made[0, [0, 9, 19]], first, atol=1e-6)


def test_no_score_is_lower_than_that_of_a_turn_nobody_finds_unusual():
    made = simulate("benign", 500, 20, np.random.default_rng(0))
    assert made.shape == (500, 20)
    assert made.min() == FLOOR


def test_a_ramp_is_higher_at_its_end_and_a_benign_session_is_not():
    ends = {}
    for kind in KINDS:
        made = simulate(kind, 2000, 20, np.random.default_rng(1))
        ends[kind] = float(made[:, -3:].mean() - made[:, :3].mean())
    assert abs(ends["benign"]) < 0.1
    assert ends["ramp"] > 2.0
    assert ends["step"] > 1.4


@pytest.mark.parametrize(("kind", "sessions", "turns"), [("wave", 1, 5), ("ramp", 0, 5), ("ramp", 1, 0)])
def test_what_cannot_be_simulated_is_named(kind, sessions, turns):
    with pytest.raises(ConfigError, match=r"kind|sessions|turns"):
        simulate(kind, sessions, turns, np.random.default_rng(0))
