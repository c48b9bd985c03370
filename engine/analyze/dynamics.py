"""What kind of motion a series shows: its features, and those of surrogates that share its values and its spectrum.

Noise has a positive exponent too, and a wave of noise looks regular. What tells them from chaos: a series without order
of its own is predicted no better than its surrogates. A walk that never turns back is predicted better than they are
(its ends do not meet, theirs do), but its steps are not: both are to be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from aimds import kernels

F64 = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]

FEATURES: Final = (
    *("lyapunov", "recurrence_rate", "determinism", "mean_line", "longest_line", "line_entropy"),
    *("laminarity", "trapping_time", "chaos01", "permutation_entropy", "sample_entropy", "period"),
    *("period_miss", "prediction_error", "settling", "volatility"),
)
"""Columns of `aimds.kernels.attractor`."""
COLUMN: Final = {name: place for place, name in enumerate(FEATURES)}
SETTINGS: Final[Mapping[str, int]] = {"dim": 2, "lag": 1, "separation": 1, "horizon": 4, "radius": 20}
"""How series are looked at here: no choice by hand, since there are thousands of them."""
MOST: Final = 1024
"""Values of a series that are looked at, the last ones."""
SURROGATES: Final = 39
"""A series beats them when it is below all of them: one in forty does so by chance."""


def measured(values: F64, offsets: Offsets, *, angles: int = 16, parts: int = 15) -> F64:
    """`aimds.kernels.attractor` of each of B rows, float64 (B, 16); ``values`` are finite."""
    return kernels.attractor(values, offsets, angles=angles, parts=parts, **SETTINGS)


@dataclass(frozen=True, slots=True)
class Against:
    """A series against its surrogates: ``z`` of each feature, None where it has none, and whether what comes next is
    predicted better in the series than in every surrogate."""

    z: dict[str, float | None]
    beats: bool


def against(series: F64, phases: F64, *, angles: int = 0, parts: int = 1) -> Against:
    """``series``, finite and no longer than MOST, against one surrogate for each row of ``phases``; ``parts`` of the
    kernel, the first one at least, are looked at."""
    made = np.concatenate([series[None, :], surrogates(series, phases)])
    features = measured(made.reshape(-1), np.arange(0, made.size + 1, len(series)), angles=angles, parts=parts)
    own, others = features[0], features[1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = (own - others.mean(axis=0)) / others.std(axis=0)
    z = {name: float(z) if np.isfinite(z) else None for name, z in zip(FEATURES, scores, strict=True)}
    error = COLUMN["prediction_error"]
    return Against(z, bool(np.all(own[error] < others[:, error])))


def phases(seed: int) -> F64:
    """Of SURROGATES surrogates of any series, float64 (SURROGATES, 2 * MOST): the same for all series, so that what is
    said of one does not depend on its neighbours."""
    return np.random.default_rng(seed).random((SURROGATES, 2 * MOST))


def surrogates(series: F64, phases: F64) -> F64:
    """Series with the values of ``series`` and nearly its spectrum, but no other order: (S, n) of ``phases`` (S, m).

    Amplitude-adjusted Fourier surrogates (Theiler et al. 1992, doi:10.1016/0167-2789(92)90102-S). ``phases`` are from 0
    to 1, at least 2 n in each of S rows: for the n normal values, and for the frequencies.
    """
    n = len(series)
    ordered, ranks = np.sort(series), np.argsort(np.argsort(series, kind="stable"), kind="stable")
    radius = np.sqrt(-2.0 * np.log1p(-phases[:, :n]))
    normal = np.sort(radius * np.cos(2 * np.pi * phases[:, n : 2 * n]), axis=1)[:, ranks]
    spectrum = np.fft.rfft(normal, axis=1)
    turns = np.exp(2j * np.pi * phases[:, : spectrum.shape[1]])
    turns[:, 0] = 1.0
    if n % 2 == 0:
        turns[:, -1] = 1.0
    turned = np.fft.irfft(spectrum * turns, n, axis=1)
    return np.asarray(ordered[np.argsort(np.argsort(turned, axis=1, kind="stable"), axis=1, kind="stable")])
