"""A contextual bandit over response actions: LinUCB or Thompson sampling, one ridge regression an action.

The inverse matrices are kept by the formula of Sherman and Morrison 1950 (doi:10.1214/aoms/1177729893), so an update
costs O(D²). Each choice comes with the probability it was made with, never under the floor of exploration: without that
nobody can judge another policy by this one's log (`aimds.learn.bounds.doubly_robust`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types

from aimds import data
from aimds.errors import ArtefactError, ConfigError, SchemaError

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

METHODS = ("linucb", "thompson")
DRAWS = 64
"""Draws from the posterior that the probabilities of Thompson sampling are counted in."""
_F2, _F3 = types.float64[:, ::1], types.float64[:, :, ::1]
_READ1 = types.Array(types.float64, 1, "C", readonly=True)
_READ2 = types.Array(types.float64, 2, "C", readonly=True)
_ACTIONS = types.Array(types.int64, 1, "C", readonly=True)


@njit(types.void(_F3, _F2, _READ2, _ACTIONS, _READ1), cache=True, nogil=True)
def _update(inverse, summed, contexts, actions, rewards):  # type: ignore[no-untyped-def]
    d = contexts.shape[1]
    v = np.empty(d)
    for i in range(len(contexts)):
        a = actions[i]
        s = 1.0
        for p in range(d):
            t = 0.0
            for q in range(d):
                t += inverse[a, p, q] * contexts[i, q]
            v[p] = t
            s += contexts[i, p] * t
        for p in range(d):
            vp = v[p] / s
            for q in range(d):
                inverse[a, p, q] -= vp * v[q]
            summed[a, p] += rewards[i] * contexts[i, p]


@dataclass(frozen=True, slots=True)
class Config:
    """``alpha``: how much uncertainty counts for; ``floor``: least probability of an allowed action; ``ridge``: the
    diagonal that each matrix begins with."""

    dimensions: int
    actions: int
    method: str = "linucb"
    alpha: float = 1.0
    floor: float = 0.02
    ridge: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError("bandit.method", self.method, "one of " + ", ".join(METHODS))
        if self.dimensions < 1 or self.actions < 2:
            raise ConfigError("bandit", (self.dimensions, self.actions), "at least 1 dimension and 2 actions")
        if not 0 < self.floor <= 1 / self.actions:
            raise ConfigError("bandit.floor", self.floor, f"above 0, at most 1 / {self.actions}")
        if not (self.alpha >= 0 and self.ridge > 0 and math.isfinite(self.alpha + self.ridge)):
            raise ConfigError("bandit.alpha", (self.alpha, self.ridge), "alpha of at least 0 and a ridge above 0")


class Bandit:
    """K actions on contexts of D numbers. ``inverse`` float64 (K, D, D) and ``summed`` float64 (K, D) are its state."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.inverse: F64 = np.stack([np.eye(config.dimensions) / config.ridge] * config.actions)
        self.summed: F64 = np.zeros((config.actions, config.dimensions))

    def update(self, contexts: F64, actions: Ints, rewards: F64) -> None:
        """Learn from N choices: contexts float64 (N, D), actions int64 (N,) and rewards float64 (N,) in [0, 1].

        Raises:
            SchemaError: shapes do not fit, or a value cannot be; nothing is learnt from any.
        """
        x = self._contexts(contexts)
        a, r = np.ascontiguousarray(actions, np.int64), np.ascontiguousarray(rewards, np.float64)
        if a.shape != (len(x),) or r.shape != (len(x),):
            raise SchemaError("actions", f"has shape {a.shape}, rewards {r.shape}; expected ({len(x)},)")
        for name, bad in (("actions", (a < 0) | (a >= self.config.actions)), ("rewards", ~((r >= 0) & (r <= 1)))):
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise SchemaError(name, "is out of range", row=row)
        _update(self.inverse, self.summed, x, a, r)

    def predict(self, contexts: F64) -> tuple[F64, F64]:
        """Expected reward of each action and its standard error in units of the noise, both float64 (N, K)."""
        x = self._contexts(contexts)
        means = x @ np.einsum("apq,aq->ap", self.inverse, self.summed).T
        squares = [((x @ inverse) * x).sum(1) for inverse in self.inverse]
        return means, np.sqrt(np.maximum(np.stack(squares, 1), 0.0))

    def probabilities(self, contexts: F64, rng: np.random.Generator, allowed: Any = None) -> F64:
        """With what probability each action is taken, float64 (N, K); rows sum to 1.

        Args:
            allowed: bool (N, K), which actions the policy leaves open; all by default. Others get 0, each of these at
                least the floor.

        Raises:
            SchemaError: shapes do not fit, or a row allows nothing.
        """
        means, widths = self.predict(contexts)
        open_ = np.ones(means.shape, np.bool_) if allowed is None else np.asarray(allowed, np.bool_)
        if open_.shape != means.shape:
            raise SchemaError("allowed", f"has shape {open_.shape}, expected {means.shape}")
        if not open_.any(1).all():
            raise SchemaError("allowed", "allows no action", row=int(np.flatnonzero(~open_.any(1))[0]))
        if self.config.method == "linucb":
            best = np.where(open_, means + self.config.alpha * widths, -np.inf).argmax(1)
            share = np.eye(self.config.actions)[best]
        else:
            share = np.zeros(means.shape)
            for _ in range(DRAWS):
                drawn = means + self.config.alpha * widths * rng.standard_normal(means.shape)
                share[np.arange(len(means)), np.where(open_, drawn, -np.inf).argmax(1)] += 1 / DRAWS
        rest = 1.0 - self.config.floor * open_.sum(1, keepdims=True)
        return np.asarray(np.where(open_, self.config.floor + rest * share, 0.0), np.float64)

    def choose(self, contexts: F64, rng: np.random.Generator, allowed: Any = None) -> tuple[Ints, F64]:
        """An action for each of N contexts, int64 (N,), and the probability it was chosen with, float64 (N,): log both.

        Raises:
            SchemaError: as `probabilities`.
        """
        chances = self.probabilities(contexts, rng, allowed)
        drawn = (rng.random((len(chances), 1)) >= chances.cumsum(1)).sum(1)
        # Rounding may leave the last sum a little under 1.
        last = chances.shape[1] - 1 - (chances[:, ::-1] > 0).argmax(1)
        action = np.minimum(drawn, last).astype(np.int64)
        return action, chances[np.arange(len(chances)), action]

    def pack(self) -> bytes:
        """The bytes of an ``.npz`` file of its state; `unpack` is the reverse."""
        c = self.config
        numbers = np.array([c.alpha, c.floor, c.ridge, METHODS.index(c.method)], np.float64)
        return data.pack({"config": numbers, "inverse": self.inverse, "summed": self.summed})

    @classmethod
    def unpack(cls, name: object, content: bytes) -> Bandit:
        """The bandit in the bytes of its file; ``name`` is for the error text.

        Raises:
            ArtefactError: it cannot be read, or holds what cannot be.
        """
        arrays = data.unpack(name, content)
        try:
            alpha, floor, ridge, method = arrays["config"].tolist()
            inverse = np.ascontiguousarray(arrays["inverse"], np.float64)
            summed = np.ascontiguousarray(arrays["summed"], np.float64)
            actions, dimensions = summed.shape
            made = cls(Config(dimensions, actions, METHODS[int(method)], alpha, floor, ridge))
        except (KeyError, ValueError, TypeError, IndexError, ConfigError) as error:
            raise ArtefactError(name, f"is no bandit: {error}") from error
        if inverse.shape != made.inverse.shape or not (np.isfinite(inverse).all() and np.isfinite(summed).all()):
            raise ArtefactError(name, "holds matrices that cannot be")
        made.inverse, made.summed = inverse, summed
        return made

    def _contexts(self, contexts: F64) -> F64:
        x = np.ascontiguousarray(contexts, np.float64)
        if x.ndim != 2 or x.shape[1] != self.config.dimensions:
            raise SchemaError("contexts", f"has shape {x.shape}, expected (N, {self.config.dimensions})")
        bad = ~np.isfinite(x).all(1)
        if bad.any():
            raise SchemaError("contexts", "holds what is no number", row=int(np.flatnonzero(bad)[0]))
        return x
