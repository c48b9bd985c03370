"""p-values against benign traffic: an empirical bulk and a generalised Pareto tail.

The p-value of a score is the share of benign texts that score at least as high. Above a high quantile u the share is
modelled by a generalised Pareto distribution (Pickands 1975, doi:10.1214/aos/1176343003; peaks over threshold), so that
scores beyond every calibration text still differ: p falls as the score rises, down to SMALLEST_P.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from numba import njit

F64 = npt.NDArray[np.float64]

SMALLEST_P = 1e-300


@dataclass(frozen=True, slots=True)
class Tail:
    """Benign distribution of one score.

    ``values`` float64 (G,) ascending with ``survival`` float64 (G,), the share of benign texts at or above each;
    beyond the last value u the share is ``rate * (1 + shape * (x - u) / scale) ** (-1 / shape)``, exponential where
    ``shape`` is 0, with ``rate`` the share above u. ``size`` is the number of benign texts behind it; of weighted
    texts, how many of equal weight would say as much.
    """

    values: F64
    survival: F64
    rate: float
    shape: float
    scale: float
    size: int
    _log_survival: F64 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            object.__setattr__(self, "_log_survival", np.log(self.survival))

    def p_value(self, scores: npt.ArrayLike, *, nothing: float = np.nan) -> F64:
        """p-values, float64, of ``scores`` of any shape; a higher score never has a higher one. A score of ``nothing``
        or less says that the stage found nothing, and has 1."""
        x = np.asarray(scores)
        p: F64 = np.empty(x.shape)
        _p_values(x.ravel(), nothing, self.values, self._log_survival, self.rate, self.shape, self.scale, p.ravel())
        return p

    def quantile(self, p: float) -> float:
        """The lowest score whose p-value is at most ``p``; the inverse of `p_value`."""
        if p >= self.rate:
            return float(np.interp(-np.log(p), -self._log_survival, self.values))
        ratio = self.rate / p
        excess = np.log(ratio) if self.shape == 0 else (ratio**self.shape - 1.0) / self.shape
        return float(self.values[-1] + self.scale * excess)

    def for_one(self, units: F64, weights: F64 | None = None) -> Tail:
        """The tail of the texts of ordinary length that those behind this one hold.

        Args:
            units: float64 (n,), how many such texts each of them is as long as.
            weights: float64 (n,), what each counts, by default 1.

        Where the highest of k scores is x or more with probability 1 - (1 - q)^k, nearly kq, the share of texts that
        score at least x is q times the mean of k.
        """
        mean = float(np.average(units, weights=weights))
        return replace(self, survival=self.survival / mean, rate=self.rate / mean)

    def is_sound(self) -> bool:
        """Whether every number is one a distribution can have."""
        if self.values.ndim != 1 or self.values.shape != self.survival.shape:
            return False
        finite = np.isfinite(self.values).all() and np.isfinite([self.rate, self.shape, self.scale]).all()
        falling = len(self.values) > 0 and bool(
            np.all(np.diff(self.values) > 0) and np.all(np.diff(self.survival) <= 0)
        )
        shares = bool(np.all((self.survival > 0) & (self.survival <= 1)) and 0 < self.rate <= 1)
        return bool(finite and falling and shares and self.shape >= 0 and self.scale > 0)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[np.generic]]:
        """As named arrays for an ``.npz`` file."""
        return {
            f"{prefix}.values": self.values,
            f"{prefix}.survival": self.survival,
            f"{prefix}.tail": np.array([self.rate, self.shape, self.scale, self.size], np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]], prefix: str) -> Tail:
        """The reverse of `arrays`."""
        rate, shape, scale, size = (float(value) for value in arrays[f"{prefix}.tail"].astype(np.float64))
        values = arrays[f"{prefix}.values"].astype(np.float64)
        return cls(values, arrays[f"{prefix}.survival"].astype(np.float64), rate, shape, scale, int(size))


@njit(cache=True, nogil=True)
def _p_values(scores, nothing, values, log_survival, rate, shape, scale, out):  # type: ignore[no-untyped-def]
    last = len(values) - 1
    for k in range(len(scores)):
        x = np.float64(scores[k])
        if x <= nothing:
            out[k] = 1.0
            continue
        excess = (x - values[last]) / scale
        if excess > 0:
            factor = np.exp(-excess) if shape == 0 else (1.0 + shape * excess) ** (-1.0 / shape)
            out[k] = max(rate * factor, SMALLEST_P)
        elif x > values[0]:
            j = min(int(np.searchsorted(values, x, side="right")) - 1, last - 1)
            slope = (log_survival[j + 1] - log_survival[j]) / (values[j + 1] - values[j])
            log_p = log_survival[last] if x == values[last] else slope * (x - values[j]) + log_survival[j]
            out[k] = np.exp(log_p)
        else:
            out[k] = np.nan if np.isnan(x) else np.exp(log_survival[0])


def fit(scores: npt.ArrayLike, weights: npt.ArrayLike | None = None, *, above: float = 0.98, points: int = 512) -> Tail:
    """The tail of benign ``scores`` (n,), each counted with its weight (n,), by default 1.

    ``above`` is the quantile where the Pareto tail begins; it is fitted by probability-weighted moments (Hosking and
    Wallis 1987, doi:10.2307/1269343) with the shape held in [0, 0.5]: a bounded tail would give p = 0.

    Raises:
        ValueError: fewer than 50 scores.
    """
    x = np.asarray(scores, np.float64)
    if len(x) < 50:
        raise ValueError(f"{len(x)} benign scores, at least 50 are needed")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    order = np.argsort(x, kind="stable")
    x, w = x[order], w[order] / w.sum()
    at_or_above = np.minimum(np.cumsum(w[::-1])[::-1], 1.0)
    threshold = float(x[np.searchsorted(-at_or_above, -(1.0 - above), side="left").clip(0, len(x) - 1)])
    values, first = np.unique(x[x <= threshold], return_index=True)
    survival = at_or_above[first]
    if len(values) > points:
        keep = np.unique(np.linspace(0, len(values) - 1, points).astype(np.int64))
        values, survival = values[keep], survival[keep]
    if len(values) == 1:
        # All of the bulk is one value (a rule that hardly ever fires): anything below it is certain.
        values, survival = np.array([values[0] - 1.0, values[0]]), np.array([1.0, survival[0]])
    excess = x[x > threshold] - threshold
    shape, scale = _pareto(excess, w[x > threshold]) if len(excess) >= 10 else (0.0, max(float(np.std(x)), 1e-3))
    # Survival must fall strictly for p to be strictly monotone.
    survival = np.minimum.accumulate(survival) * (1.0 - 1e-12 * np.arange(len(survival)))
    # With no benign text above u, one more than there was stands for the share not seen.
    rate = min(max(float(w[x > threshold].sum()), 0.5 / len(x)), float(survival[-1]))
    return Tail(values, survival, rate, shape, scale, effective_size(w))


def counted(scores: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Tail:
    """The tail of benign ``scores`` (n,) in [0, 1] of few values, each counted with its weight (n,), by default 1.

    Signatures hardly ever fire on benign text, so there is no tail to model: the p-value of a strength is the benign
    share at or above it, with half a text added for those not seen.

    Raises:
        ValueError: no scores.
    """
    x = np.round(np.asarray(scores, np.float64), 6)
    if not len(x):
        raise ValueError("no benign scores, at least one is needed")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    size, order = effective_size(w), np.argsort(x, kind="stable")
    x, above = x[order], np.append(np.cumsum(w[order][::-1])[::-1], 0.0)
    values = np.unique(np.concatenate([[0.0], x[x > 0], [1.0]]))
    share = above[np.searchsorted(x, values, side="left")] / above[0]
    survival = np.minimum((share * size + 0.5) / (size + 0.5), 1.0)
    return Tail(values, survival, rate=float(survival[-1]), shape=0.0, scale=1.0, size=size)


def effective_size(weights: F64) -> int:
    """How many texts of equal weight say as much as these (Kish, Survey Sampling, 1965)."""
    return round(float(weights.sum() ** 2 / np.sum(weights**2)))


def _pareto(excess: F64, weights: F64) -> tuple[float, float]:
    order = np.argsort(excess)
    excess, weights = excess[order], weights[order] / weights.sum()
    below = np.cumsum(weights) - 0.5 * weights
    mean, moment = float(np.sum(weights * excess)), float(np.sum(weights * (1.0 - below) * excess))
    shape = 2.0 - mean / max(mean - 2.0 * moment, 1e-12)
    shape = float(np.clip(shape, 0.0, 0.5))
    # With the shape held, the scale is the one that keeps the mean: E[excess] = scale / (1 - shape).
    return shape, max(mean * (1.0 - shape), 1e-9)
