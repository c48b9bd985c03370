"""Shares with exact intervals, and the operating points at which a verdict counts: as shipped, or at a stated rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.jobs.evaluate.judging import Outcomes
from aimds.jobs.intervals import clopper_pearson

Flags = npt.NDArray[np.bool_]
F64 = npt.NDArray[np.float64]

BLOCKING = ("block", "escalate")
FLAGGING = ("flag", "sandwich", *BLOCKING)
SHIPPED = ("flag", "block")
"""The columns at the thresholds of the policy; the others are named by `fpr` and `recall`."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``hits`` of ``n`` with the Clopper–Pearson interval [low, high] at 95%; ``rate`` is None where n is 0."""

    hits: int
    n: int
    rate: float | None
    low: float
    high: float

    @classmethod
    def of(cls, hit: Flags) -> Rate:
        hits, n = int(hit.sum()), len(hit)
        low, high = clopper_pearson(hits, n) if n else (0.0, 1.0)
        return cls(hits, n, hits / n if n else None, low, high)


def rate(hit: Flags) -> dict[str, Any]:
    """The share of True in ``hit`` as plain data."""
    return asdict(Rate.of(hit))


@dataclass(frozen=True, slots=True)
class Points:
    """Name of each further column → its thresholds on the danger and on the harmful score; above them is a hit."""

    thresholds: Mapping[str, tuple[float, float]]

    @property
    def columns(self) -> tuple[str, ...]:
        """The shipped columns, then those with a threshold."""
        return (*SHIPPED, *self.thresholds)

    @property
    def loosest(self) -> str:
        """The column at the highest false-positive rate, ``flag`` where none is set."""
        rates = [name for name in self.thresholds if name.startswith("fpr ")]
        return max(rates, key=lambda name: float(name.removeprefix("fpr ")), default="flag")

    def hits(self, outcomes: Outcomes, column: str, *, harmful: bool = False) -> Flags:
        """Which rows count at ``column``, bool (N,); ``harmful`` asks the harmful score instead of the danger."""
        if column in SHIPPED:
            return np.isin(outcomes.action, FLAGGING if column == "flag" else BLOCKING)
        scores = outcomes.harmful if harmful else outcomes.danger
        return np.asarray(scores > self.thresholds[column][harmful])

    def rates(self, outcomes: Outcomes, *, harmful: bool = False) -> dict[str, dict[str, Any]]:
        """The share of hits at every column."""
        return {column: rate(self.hits(outcomes, column, harmful=harmful)) for column in self.columns}


def fpr(value: float) -> str:
    """The column at the false-positive rate ``value``."""
    return f"fpr {value:g}"


def recall(value: float) -> str:
    """The column at the macro recall ``value``."""
    return f"recall {value:g}"


def threshold_at(scores: F64, share: float) -> float:
    """The lowest threshold t such that at most ``share`` of benign ``scores`` are strictly above t."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[min(int(np.floor(share * len(ordered))), len(ordered) - 1)])


def threshold_for_recall(attacks: Sequence[F64], share: float) -> float:
    """The highest threshold t such that, on the mean over the sets ``attacks``, ``share`` of the scores are above t.

    Only scores strictly above t are found, so a share of 1 and a set of equal scores take a t just below the lowest.

    Raises:
        ValueError: no set, or one without scores.
    """
    if not attacks or not all(len(scores) for scores in attacks):
        raise ValueError("a recall needs sets of attacks, none of them empty")
    steps = np.unique(np.concatenate(attacks))
    candidates = np.concatenate([[np.nextafter(steps[0], -np.inf)], steps])
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high + 1) // 2
        found = np.mean([np.mean(scores > candidates[middle]) for scores in attacks])
        # A mean of shares may miss the share it equals by rounding.
        low, high = (middle, high) if found >= share - 1e-12 else (low, middle - 1)
    return float(candidates[low])


def check_shares(rates: Iterable[float], recalls: Iterable[float] = ()) -> None:
    """Refuse false-positive ``rates`` outside (0, 1) and ``recalls`` outside (0, 1].

    Raises:
        ConfigError: names the value.
    """
    for value in rates:
        if not 0 < value < 1:
            raise ConfigError("rate", value, "a share between 0 and 1")
    for value in recalls:
        if not 0 < value <= 1:
            raise ConfigError("recall", value, "a share above 0 and at most 1")
