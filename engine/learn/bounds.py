"""Bounds that hold with a stated confidence: shares, signs, and the value of a policy from another's log."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError, SchemaError

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CONFIDENCE = 0.95


def upper(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of a share of which ``hits`` of ``n`` were seen; 1 of none (Clopper and Pearson 1934,
    doi:10.1093/biomet/26.4.404). 0 of n gives about 3 / n at 95 %."""
    from scipy.special import betaincinv

    return float(betaincinv(hits + 1, n - hits, confidence)) if hits < n else 1.0


def in_short(hits: int, n: int) -> str:
    """``, about 3 / n`` where `upper` is that at 95 %, to 2 in 100: nothing was hit in 100 or more; else nothing."""
    return f", about 3 / {n:,}" if not hits and n >= 100 else ""


def lower(hits: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of a share of which ``hits`` of ``n`` were seen; 0 of none."""
    from scipy.special import betaincinv

    return float(betaincinv(hits, n - hits + 1, 1.0 - confidence)) if hits else 0.0


def needed(share: float, confidence: float = CONFIDENCE) -> int:
    """Rows without a hit from which a share of at most ``share`` can be claimed."""
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-share))


@dataclass(frozen=True, slots=True)
class Log:
    """N choices that a policy made and what came of them: ``action`` int64 (N,) into K actions, ``propensity``
    float64 (N,), the probability with which it was chosen, ``reward`` float64 (N,) in [0, 1].

    Raises:
        SchemaError: lengths differ, or a propensity is not in (0, 1] or a reward not in [0, 1].
    """

    action: Ints
    propensity: F64
    reward: F64

    def __post_init__(self) -> None:
        n = len(self.action)
        for name, values in (("propensity", self.propensity), ("reward", self.reward)):
            if len(values) != n:
                raise SchemaError(name, f"has {len(values)} rows, expected {n}")
        _within("propensity", self.propensity, (self.propensity > 0) & (self.propensity <= 1), "in (0, 1]")
        _within("reward", self.reward, (self.reward >= 0) & (self.reward <= 1), "in [0, 1]")


@dataclass(frozen=True, slots=True)
class Value:
    """What a policy is worth more than the one that logged: ``gain``, its one-sided lower bound, and ``effective``,
    how many rows of equal weight say as much."""

    gain: float
    lower: float
    effective: float


def doubly_robust(log: Log, target: F64, model: F64, *, confidence: float = CONFIDENCE) -> Value:
    """How much more reward policy ``target`` would have earned than the one that wrote ``log``.

    The model's error is corrected by the rows where the logged action is also the target's, so the estimate is right
    if the propensities or the model are (Dudík, Langford and Li 2011, arXiv:1103.4601). The bound
    rests on the normal approximation, so `Value.effective` must not be small; it is blind to forged rewards.

    Args:
        target: float64 (N, K), the target's probabilities of the K actions for each row.
        model: float64 (N, K), predicted reward of each action, fitted on other rows.

    Raises:
        SchemaError: shapes differ, an action is not among K, or a row of ``target`` is no distribution.
        ConfigError: fewer than 2 rows.
    """
    n, k = target.shape
    if n < 2:
        raise ConfigError("log", n, "at least 2 rows")
    if len(log.action) != n or model.shape != (n, k):
        raise SchemaError(
            "target", f"has shape {target.shape}, the log {len(log.action)} rows, the model {model.shape}"
        )
    _within("action", log.action, (log.action >= 0) & (log.action < k), f"0 to {k - 1}")
    _within("target", target.sum(1), (np.abs(target.sum(1) - 1) < 1e-6) & (target >= 0).all(1), "probabilities")
    rows = np.arange(n)
    weight = target[rows, log.action] / log.propensity
    direct = (target * model).sum(1)
    gain = direct + weight * (log.reward - model[rows, log.action]) - log.reward
    mean, deviation = float(gain.mean()), float(gain.std(ddof=1))
    bound = mean - _normal(confidence) * deviation / math.sqrt(n)
    squares = float((weight**2).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    return Value(mean, bound, effective)


def empirical_bernstein(values: F64, span: float, *, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the mean of N independent ``values`` that span at most ``span``, without a normal
    approximation (Maurer and Pontil 2009, arXiv:0907.3740, theorem 4)."""
    n = len(values)
    term = math.log(2.0 / (1.0 - confidence))
    spread = math.sqrt(2.0 * float(values.var(ddof=1)) * term / n)
    return float(values.mean()) - spread - 7.0 * span * term / (3.0 * (n - 1))


def _normal(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(confidence))


def _within(name: str, values: npt.NDArray[np.generic], good: npt.NDArray[np.bool_], expected: str) -> None:
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise SchemaError(name, f"is {values[row]}, expected {expected}", row=row)
