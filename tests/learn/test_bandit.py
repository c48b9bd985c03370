"""The bandit is ridge regression an action, explores as it says, and logs the chance it chose by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import data
from aimds.errors import ArtefactError, ConfigError, SchemaError
from aimds.learn.bandit import Bandit, Config
from aimds.learn.bounds import Log, doubly_robust


def rows(rng: np.random.Generator, n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rng.normal(size=(n, d)), rng.integers(0, k, n), rng.random(n)


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(1, 6), st.integers(2, 4), st.integers(0, 1000))
def test_updates_one_by_one_are_ridge_regression_on_all(n: int, d: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, actions, rewards = rows(rng, n, d, k)
    bandit = Bandit(Config(d, k, ridge=0.7, floor=0.01))
    for i in range(n):
        bandit.update(x[i : i + 1], actions[i : i + 1], rewards[i : i + 1])
    asked = rng.normal(size=(5, d))
    means, widths = bandit.predict(asked)
    for a in range(k):
        mine = actions == a
        inverse = np.linalg.inv(0.7 * np.eye(d) + x[mine].T @ x[mine])
        assert means[:, a] == pytest.approx(asked @ inverse @ (x[mine].T @ rewards[mine]), abs=1e-8)
        assert widths[:, a] == pytest.approx(np.sqrt(np.einsum("np,pq,nq->n", asked, inverse, asked)), abs=1e-8)


@pytest.mark.parametrize("method", ["linucb", "thompson"])
def test_it_learns_which_action_fits_and_its_log_proves_it(method: str) -> None:
    rng = np.random.default_rng(4)
    bandit = Bandit(Config(3, 3, method, floor=0.05))
    best = np.eye(3)
    x = best[rng.integers(0, 3, 3000)]
    actions, chances, rewards = [], [], []
    for first in range(0, 3000, 100):
        part = x[first : first + 100]
        chosen, chance = bandit.choose(part, rng)
        reward = (rng.random(100) < np.where(part.argmax(1) == chosen, 0.9, 0.2)).astype(float)
        bandit.update(part, chosen, reward)
        actions.append(chosen)
        chances.append(chance)
        rewards.append(reward)
    assert bandit.predict(best)[0].argmax(1).tolist() == [0, 1, 2]
    early = slice(0, 300)
    log = Log(np.concatenate(actions)[early], np.concatenate(chances)[early], np.concatenate(rewards)[early])
    value = doubly_robust(log, best[x[early].argmax(1)], np.full((300, 3), 0.5))
    assert value.gain > 0


@pytest.mark.parametrize("method", ["linucb", "thompson"])
def test_chances_sum_to_one_and_none_is_under_the_floor(method: str) -> None:
    rng = np.random.default_rng(1)
    bandit = Bandit(Config(4, 5, method, floor=0.03))
    bandit.update(*rows(rng, 100, 4, 5))
    allowed = rng.random((50, 5)) < 0.5
    allowed[:, 2] = True
    chances = bandit.probabilities(rng.normal(size=(50, 4)), rng, allowed)
    assert chances.sum(1) == pytest.approx(np.ones(50))
    assert (chances[allowed] >= 0.03 - 1e-12).all()
    assert (chances[~allowed] == 0).all()


def test_the_logged_chance_is_how_often_an_action_is_chosen() -> None:
    rng = np.random.default_rng(2)
    bandit = Bandit(Config(2, 3, floor=0.1))
    x = np.ones((20_000, 2))
    chosen, chance = bandit.choose(x, rng)
    for action in range(3):
        assert (chosen == action).mean() == pytest.approx(chance[chosen == action][0], abs=0.01)
    forbidden = np.tile([True, False, True], (20_000, 1))
    assert 1 not in bandit.choose(x, rng, forbidden)[0]


def test_its_state_goes_through_a_file_and_a_damaged_one_is_refused() -> None:
    bandit = Bandit(Config(4, 3, "thompson", 0.5, 0.01, 2.0))
    bandit.update(*rows(np.random.default_rng(0), 20, 4, 3))
    again = Bandit.unpack("x", bandit.pack())
    assert again.config == bandit.config
    assert np.array_equal(again.inverse, bandit.inverse)
    arrays = data.unpack("x", bandit.pack())
    with pytest.raises(ArtefactError, match="x: "):
        Bandit.unpack("x", data.pack({**arrays, "inverse": arrays["inverse"] * np.nan}))
    with pytest.raises(ArtefactError, match="x: "):
        Bandit.unpack("x", data.pack({"summed": arrays["summed"]}))


def test_what_cannot_be_is_refused_and_nothing_is_learnt() -> None:
    bandit = Bandit(Config(2, 2))
    before = bandit.inverse.copy()
    good = np.ones((2, 2))
    for x, actions, rewards, name in (
        (np.ones((2, 3)), [0, 1], [0.0, 1.0], "contexts"),
        (good * np.nan, [0, 1], [0.0, 1.0], "contexts"),
        (good, [0, 2], [0.0, 1.0], "actions"),
        (good, [0, 1], [0.0, 1.5], "rewards"),
        (good, [0], [0.0, 1.0], "actions"),
    ):
        with pytest.raises(SchemaError, match=name):
            bandit.update(x, np.array(actions), np.array(rewards))
    assert np.array_equal(bandit.inverse, before)
    with pytest.raises(SchemaError, match="allows no action"):
        bandit.probabilities(good, np.random.default_rng(0), np.zeros((2, 2), bool))
    for wrong in ({"floor": 0.0}, {"floor": 0.6}, {"method": "greedy"}, {"ridge": 0.0}):
        with pytest.raises(ConfigError):
            Config(2, 2, **wrong)  # type: ignore[arg-type]
