"""Learning: `python -m benchmarks.learning [--smoke] [NAME…]`.

Updates and choices of the bandit (16 numbers, 6 actions) beside mabwiser, and the drift alarm beside river, where they
are installed; else beside numpy and plain Python. `python -m benchmarks.variants FOLDER` measures what teaching gains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from aimds.learn.bandit import Bandit, Config
from aimds.learn.drift import Limits, PageHinkley
from benchmarks.harness import Case, available, main

D, K, ROWS = 16, 6, 10_000


def rows(n: int) -> tuple[Any, Any, Any]:
    """Contexts, actions and rewards, by chance."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, D)), rng.integers(0, K, n), rng.random(n)


def inverses(x: Any, actions: Any, rewards: Any) -> Any:
    """Weights by solving each action's equations whole, with numpy."""
    out = np.zeros((K, D))
    for a in range(K):
        mine = actions == a
        out[a] = np.linalg.solve(np.eye(D) + x[mine].T @ x[mine], x[mine].T @ rewards[mine])
    return out


def theta(bandit: Bandit) -> Any:
    return np.einsum("apq,aq->ap", bandit.inverse, bandit.summed)


def update(smoke: bool) -> Iterator[Case]:
    """Learning from each choice as it comes: the state is whole after every one."""
    n = 2000 if smoke else ROWS
    x, actions, rewards = rows(n)
    small = 100 if smoke else 300

    def ours() -> Any:
        bandit = Bandit(Config(D, K, floor=0.01))
        bandit.update(x[:small], actions[:small], rewards[:small])
        first = theta(bandit)
        bandit.update(x[small:], actions[small:], rewards[small:])
        return first

    mab = available("mabwiser.mab")

    def peer() -> Any:
        if mab is None:
            found = None
            for i in range(small):
                found = inverses(x[: i + 1], actions[: i + 1], rewards[: i + 1])
            return found
        made = mab.MAB(list(range(K)), mab.LearningPolicy.LinUCB(alpha=1.0))
        made.fit(actions[:1], rewards[:1], x[:1])
        for i in range(1, small):
            made.partial_fit(actions[i : i + 1], rewards[i : i + 1], x[i : i + 1])
        return np.stack([made._imp.arm_to_model[a].beta for a in range(K)])

    name = "mabwiser LinUCB, one by one" if mab is not None else "numpy, solved anew each time"
    yield Case(
        "bandit_update", "update", n, ours, peer, name, lambda one, two: np.allclose(one, two, atol=1e-6), 10.0, small
    )


def choose(smoke: bool) -> Iterator[Case]:
    """Choices with their probabilities, beside the same formulas in numpy."""
    n = 2000 if smoke else ROWS
    x, actions, rewards = rows(n)
    bandit = Bandit(Config(D, K, floor=0.01))
    bandit.update(x, actions, rewards)

    def peer() -> Any:
        means = x @ theta(bandit).T
        widths = np.stack([np.sqrt(((x @ bandit.inverse[a]) * x).sum(1)) for a in range(K)], 1)
        best = (means + widths).argmax(1)
        return np.where(np.eye(K)[best] > 0, 1 - 0.01 * (K - 1), 0.01)

    yield Case(
        "bandit_choose",
        "choice",
        n,
        lambda: bandit.probabilities(x, np.random.default_rng(1)),
        peer,
        "numpy",
        lambda one, two: np.allclose(one, two),
    )


def drift(smoke: bool) -> Iterator[Case]:
    """A stream of false alarms whose rate rises, up to the first alarm."""
    n = 3000 if smoke else 30_000
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.random(n) < 0.02, rng.random(n) < 0.2]).astype(float)
    limits = Limits(0.005, 50.0, 30)
    river = available("river.drift")

    def peer() -> int:
        if river is not None:
            watch = river.PageHinkley(min_instances=30, delta=0.005, threshold=50.0, alpha=1.0, mode="up")
            for place, value in enumerate(values.tolist()):
                watch.update(value)
                if watch.drift_detected:
                    return place
            return -1
        mean, total, least = 0.0, 0.0, 0.0
        for count, value in enumerate(values.tolist(), 1):
            mean += (value - mean) / count
            total += value - mean - 0.005
            least = min(least, total)
            if count >= 30 and total - least > 50.0:
                return count - 1
        return -1

    def ours() -> int:
        return int(np.flatnonzero(PageHinkley(limits).update(values))[0])

    name = "river PageHinkley" if river is not None else "plain Python"
    yield Case("drift", "value", len(values), ours, peer, name, lambda one, two: abs(one - two) <= 1, 5.0, peer() + 1)


MAKERS = {"bandit_update": update, "bandit_choose": choose, "drift": drift}

if __name__ == "__main__":
    sys.exit(main(MAKERS))
