"""Thresholds on p-values with a proven false-alarm rate (Learn then Test), and steps of bounded size towards them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.learn.bounds import CONFIDENCE

F64 = npt.NDArray[np.float64]

STEP = 2.0
"""One round moves a threshold by at most this factor."""


def allowed(n: int, rate: float, confidence: float = CONFIDENCE) -> int:
    """How many of ``n`` benign texts may raise an alarm so that a rate of at most ``rate`` is proven; -1 for none.

    The binomial test of Angelopoulos and others 2021 (arXiv:2110.01052): the chance of so few alarms at a higher rate
    is at most 1 - ``confidence``.
    """
    from scipy.special import bdtr

    if not 0 < rate < 1:
        raise ConfigError("rate", rate, "a share above 0 and below 1")
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bdtr(middle, n, rate) <= 1 - confidence else (low, middle)
    return low


def proven(p_values: F64, rate: float, confidence: float = CONFIDENCE) -> float | None:
    """The largest threshold at which at most ``rate`` of benign texts like these raise an alarm, p <= threshold.

    None where ``p_values``, float64 (N,), are too few to prove it. NaN, a text that could not be judged, is an alarm.
    """
    k = allowed(len(p_values), rate, confidence)
    if k < 0:
        return None
    ordered = np.sort(np.nan_to_num(p_values, nan=0.0))
    if k >= len(ordered):
        return 1.0
    # The (k + 1)-th smallest must stay above.
    return max(float(np.nextafter(ordered[k], -math.inf)), 0.0)


def stepped(now: float, wanted: float, step: float = STEP) -> float:
    """``wanted``, but no farther from ``now`` than by the factor ``step``.

    Raises:
        ConfigError: ``now`` is no p-value above 0, or ``step`` below 1.
    """
    if not 0 < now <= 1:
        raise ConfigError("threshold", now, "a p-value above 0, at most 1")
    if step < 1:
        raise ConfigError("step", step, "a factor of at least 1")
    return min(max(wanted, now / step), now * step, 1.0)
