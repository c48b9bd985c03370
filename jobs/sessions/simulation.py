"""The frozen simulator: sessions whose per-turn scores wander, and sessions in which somebody pushes.

Written and frozen before the detector, so that the detector is judged by something that was not made for it. A test
holds the first values of every kind: to change the simulator is to make another one, with another FORMAT.

A session has a level of its own and noise that remembers the turn before. Some benign sessions have one turn that looks
bad on its own (a question about security). A pushed session begins like a benign one and changes somewhere in its
second quarter: a ramp climbs to the last turn, a step stays up, a probe comes up every third turn and retreats.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError

F64 = npt.NDArray[np.float64]

FORMAT: Final = 1
KINDS: Final = ("benign", "ramp", "step", "probe")
BASE: Final = -6.0
"""Logit of the score of an ordinary turn."""
FLOOR: Final = -7.65
"""Logit of the score of a turn that no detector finds unusual: no score is lower."""
BASE_SD: Final = 0.6
MEMORY: Final = 0.4
"""What is left of the noise of a turn in the next."""
NOISE_SD: Final = 0.6
SPIKES: Final = 0.15
"""Share of benign sessions with one turn that looks bad."""
SPIKE: Final = 2.5
RISE: Final = {"ramp": 2.5, "step": 1.6, "probe": 1.8}
PROBE_EVERY: Final = 3


def simulate(kind: str, sessions: int, turns: int, rng: np.random.Generator) -> F64:
    """Logits of the scores of ``sessions`` sessions of ``turns`` turns each, float64 (sessions, turns).

    Raises:
        ConfigError: an unknown ``kind``, or a size below 1.
    """
    if kind not in KINDS:
        raise ConfigError("kind", kind, "one of " + ", ".join(KINDS))
    for name, size in (("sessions", sessions), ("turns", turns)):
        if size < 1:
            raise ConfigError(name, size, "at least 1")
    x = BASE + rng.normal(0.0, BASE_SD, (sessions, 1)) + _noise(sessions, turns, rng)
    if kind == "benign":
        hit = np.flatnonzero(rng.random(sessions) < SPIKES)
        x[hit, rng.integers(0, turns, len(hit))] += SPIKE
    else:
        start = rng.integers(turns // 4, max(turns // 4 + 1, turns // 2), (sessions, 1))
        x += RISE[kind] * _push(kind, np.arange(turns) - start, turns - 1 - start)
    return np.maximum(x, FLOOR)


def _noise(sessions: int, turns: int, rng: np.random.Generator) -> F64:
    fresh = rng.normal(0.0, NOISE_SD, (sessions, turns))
    fresh[:, 0] /= np.sqrt(1.0 - MEMORY**2)
    for turn in range(1, turns):
        fresh[:, turn] += MEMORY * fresh[:, turn - 1]
    return fresh


def _push(kind: str, since: npt.NDArray[np.int64], left: npt.NDArray[np.int64]) -> F64:
    if kind == "ramp":
        return np.clip(since, 0, None) / np.maximum(left, 1)
    begun = since >= 0
    return np.asarray(begun if kind == "step" else begun & (since % PROBE_EVERY == 0), np.float64)
