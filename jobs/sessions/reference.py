"""Benign sessions of every length: simulated ones, and real turns of one source strung together.

Real conversations at hand are short. A long one is made of several of the same source, one after another: its turns and
their scores are real, that they are one conversation is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from aimds import kernels
from aimds.analyze.series import MOST, WINDOW
from aimds.analyze.session_model import LENGTHS
from aimds.jobs.sessions.simulation import FLOOR, simulate
from aimds.kernels import ragged

F64 = npt.NDArray[np.float64]
Series = Sequence[F64]

STRUNG: Final = 3
"""A source serves for sessions up to so many times as long as its longest."""

NATS: Final = 2.7222849736659
"""Logits that a tenfold smaller p-value adds to the score of a verdict: the unit of the frozen simulator."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Features float64 (B, 12) and lengths int64 (B,) of sessions."""

    features: F64
    lengths: npt.NDArray[np.int64]


def surprises(logits: F64) -> F64:
    """Simulated logits as surprises: 0 at the floor of the simulator."""
    return np.asarray(np.clip((logits - FLOOR) / NATS, 0.0, MOST), np.float64)


def sample_of(rows: Series) -> Sample:
    """The features of ``rows``, the last WINDOW values of each."""
    kept = [np.asarray(row[-WINDOW:], np.float64) for row in rows]
    values, offsets = ragged.joined(kept) if kept else (np.zeros(0), np.zeros(1, np.int64))
    return Sample(kernels.session_series(values, offsets), np.diff(offsets))


def simulated(kind: str, sessions: int, turns: int, rng: np.random.Generator) -> Series:
    """Simulated sessions as surprises."""
    return list(surprises(simulate(kind, sessions, turns, rng)))


def composed(series: Series, sessions: int, turns: int, rng: np.random.Generator) -> Series:
    """``sessions`` of ``turns`` turns each: as many of the ``series`` of one source as it takes, in random order."""
    out = []
    for _ in range(sessions):
        parts: list[F64] = []
        while sum(map(len, parts)) < turns:
            parts.append(series[int(rng.integers(len(series)))])
        out.append(np.concatenate(parts)[:turns])
    return out


def benign(by_source: Mapping[str, Series], bucket: int, size: int, rng: np.random.Generator) -> Sample:
    """About ``size`` benign sessions with lengths of ``bucket``, half simulated, half composed, all sources alike."""
    rows: list[F64] = []
    lengths = turns_of(bucket)
    for turns in lengths:
        half = max(1, size // len(lengths) // 2)
        rows += simulated("benign", half, turns, rng)
        serving = [series for series in by_source.values() if STRUNG * max(map(len, series)) >= turns]
        for series in serving:
            rows += composed(series, max(1, half // len(serving)), turns, rng)
    return sample_of(rows)


def turns_of(bucket: int) -> list[int]:
    """The numbers of turns in ``bucket``."""
    edges = [1, *LENGTHS, WINDOW + 1]
    return list(range(edges[bucket], edges[bucket + 1]))
