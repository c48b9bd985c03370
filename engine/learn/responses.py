"""Which action to answer an attack with: what draws and reviewers say, judged offline, and the next probabilities.

A row is judged by where three things are known of it: the action that was drawn and how likely it was (audit log), and
what a person found it to be (feedback). What an action was worth then is `REWARDS`. What happened after other draws
(`aimds.learn.follow_ups`) may move the next probabilities, and never judges them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.learn.bandit import Bandit, Config
from aimds.learn.draws import Draw, Key
from aimds.respond.learned import FLOORS, Learned, allowed
from aimds.schema import ACTIONS, LABELS
from aimds.taxonomy import CODES, THREATS

if TYPE_CHECKING:
    from aimds.learn.follow_ups import FollowUps

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REWARDS = {
    "attack": {"allow": 0.0, "flag": 0.1, "sandwich": 0.4, "escalate": 0.9, "block": 1.0},
    "benign": {"allow": 1.0, "flag": 0.95, "sandwich": 0.8, "escalate": 0.4, "block": 0.0},
}
"""What an action was worth, by what the text turned out to be: an attack should not have passed, other text should, and
a person who has to look costs something."""
Z95 = 1.959963984540054
FEW = 30.0
"""Under so many effective rows the interval, which rests on the normal approximation, says little."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """N draws with what came of them: codes ``threat``, ``own`` (the policy's own action) and ``action`` int64 (N,),
    ``propensity`` float64 (N,), ``attack`` bool (N,)."""

    threat: Ints
    own: Ints
    action: Ints
    propensity: F64
    attack: npt.NDArray[np.bool_]

    @property
    def rewards(self) -> F64:
        """What each action was worth."""
        names = [LABELS[0 if one else 1] for one in self.attack]
        return np.array(
            [REWARDS[name][ACTIONS[code]] for name, code in zip(names, self.action, strict=True)], np.float64
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a policy is worth on ``rows`` logged draws: ``value``, with a 95 % interval from ``low`` to ``high``;
    ``effective``: how many rows of equal weight say as much."""

    value: float
    low: float
    high: float
    rows: int
    effective: float


def decided(draws: Sequence[Draw], feedback: pa.Table) -> dict[Key, bool]:
    """Of the requests of ``draws`` that ``feedback`` (FEEDBACK) says something about, by tenant and request id, whether
    they were attacks; of several decisions the last counts. One about another session with the same id is none."""
    columns = (feedback.column(name).to_pylist() for name in ("tenant", "request_id", "session_id", "label"))
    order = np.argsort(feedback.column("decided_at").to_numpy(), kind="stable")
    rows = list(zip(*columns, strict=True))
    sessions = {draw.key: draw.session for draw in draws}
    out: dict[Key, bool] = {}
    for tenant, request, session, label in (rows[i] for i in order):
        key = (tenant or "", request)
        if key in sessions and (session is None or sessions[key] is None or session == sessions[key]):
            out[key] = label == LABELS[0]
    return out


def outcomes(draws: Sequence[Draw], said: Mapping[Key, bool]) -> Outcomes:
    """The ``draws`` that people ``said`` something about; see `decided`."""
    rows = [draw for draw in draws if draw.key in said]
    codes = [np.array([getattr(draw, name) for draw in rows], np.int64) for name in ("threat", "own", "action")]
    chance = np.array([draw.propensity for draw in rows], np.float64)
    return Outcomes(codes[0], codes[1], codes[2], chance, np.array([said[draw.key] for draw in rows], np.bool_))


def weights(found: Outcomes, chances: F64) -> F64:
    """How much likelier each logged action is under ``chances`` float64 (T, A, A) than it was, float64 (N,)."""
    return np.asarray(chances[found.threat, found.own, found.action] / found.propensity, np.float64)


def inverse_propensity(found: Outcomes, chances: F64) -> Estimate:
    """The mean reward that ``chances`` would have had, unbiased (Horvitz and Thompson 1952,
    doi:10.1080/01621459.1952.10483446)."""
    return _estimate(found, chances, own_weight=False)


def self_normalised(found: Outcomes, chances: F64) -> Estimate:
    """As `inverse_propensity`, divided by the mean weight: a little biased, and steadier (Swaminathan and Joachims,
    NIPS 2015)."""
    return _estimate(found, chances, own_weight=True)


def _estimate(found: Outcomes, chances: F64, *, own_weight: bool) -> Estimate:
    n = len(found.action)
    weight, reward = weights(found, chances), found.rewards
    squares = float((weight**2).sum())
    if n < 2 or not squares:
        return Estimate(math.nan, math.nan, math.nan, n, 0.0)
    value = float((weight * reward).sum() / (weight.sum() if own_weight else n))
    spread = weight * (reward - value) / weight.mean() if own_weight else weight * reward - value
    half = Z95 * math.sqrt(float((spread**2).sum()) / (n - 1) / n)
    return Estimate(value, value - half, value + half, n, float(weight.sum()) ** 2 / squares)


def learnt(found: Outcomes, now: Learned, *, seed: int, alpha: float = 1.0, beside: FollowUps | None = None) -> F64:
    """The next probabilities, float64 (T, A, A): Thompson sampling over what ``found`` says, never under the share of
    exploration of ``now``; cells of which nothing is known stay as they are.

    ``alpha``: how much uncertainty counts for · ``beside``: what happened after other draws, by its weight.
    """
    cells = sorted(set(zip(found.threat.tolist(), found.own.tolist(), strict=True)))
    out = now.chances.copy()
    if not cells:
        return out
    place = {cell: at for at, cell in enumerate(cells)}
    bandit = Bandit(Config(len(cells), len(ACTIONS), "thompson", alpha, now.explore))
    one = np.eye(len(cells))
    rows = np.array([place[cell] for cell in zip(found.threat.tolist(), found.own.tolist(), strict=True)])
    bandit.update(one[rows], found.action, found.rewards)
    if beside is not None and len(beside.action):
        # A cell without decisions has no follow-ups of any weight.
        known = [cell in place for cell in zip(beside.threat.tolist(), beside.own.tolist(), strict=True)]
        rows = np.array([place.get(cell, 0) for cell in zip(beside.threat.tolist(), beside.own.tolist(), strict=True)])
        root = np.sqrt(beside.weight * known)
        bandit.update(one[rows] * root[:, None], beside.action, beside.reward * root)
    open_ = np.zeros((len(cells), len(ACTIONS)), np.bool_)
    for at, (_, own) in enumerate(cells):
        open_[at, allowed(own, ACTIONS.index(now.strongest))] = True
        open_[at, own] = True
    # The mean of many draws: the file that is written should not hang on one.
    rng = np.random.default_rng(seed)
    chances = np.mean([bandit.probabilities(one, rng, open_) for _ in range(64)], axis=0)
    for at, (threat, own) in enumerate(cells):
        if now.threats[threat]:
            out[threat, own] = chances[at]
    return out


def written(chances: F64, now: Learned) -> str:
    """``chances`` as the table ``[actions]`` of a policy file."""
    names = [name for name, on in zip(THREATS, now.threats, strict=True) if on]
    lines = ["[actions]", "learn = true", f"threats = {json.dumps(names)}", f"strongest = {json.dumps(now.strongest)}"]
    lines += [f"explore = {now.explore!r}", f"seed = {now.seed}"]
    for name in names:
        for own in FLOORS:
            row = chances[CODES[name], ACTIONS.index(own)]
            if np.count_nonzero(row) < 2:
                continue
            cells = ", ".join(f"{ACTIONS[code]} = {float(row[code])!r}" for code in np.flatnonzero(row))
            lines += [f"chances.{name}.{own} = {{ {cells} }}"]
    return "\n".join(lines) + "\n"
