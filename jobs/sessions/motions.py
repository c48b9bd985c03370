"""Series whose kind of motion is known: one family of systems to learn from, another that was never learnt from.

No system is in both families, so that what is found in the second is not what was learnt by heart from the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Rng = np.random.Generator
Make = Callable[[int, Rng], F64]

SETTLED: Final = 200
"""Steps before the first value of a system that is to have left its beginning."""


def iterated(step: Callable[[Any], Any], state: Any, size: int, skip: int = SETTLED) -> F64:
    """``size`` states, or their first coordinates, after ``skip`` steps."""
    out = np.empty(size)
    for i in range(-skip, size):
        if i >= 0:
            out[i] = state[0] if isinstance(state, tuple) else state
        state = step(state)
    return out


def flow(slope: Callable[..., tuple[float, ...]], dt: float, steps: int) -> Callable[[Any], Any]:
    """``steps`` steps of the fourth-order Runge-Kutta method as one."""

    def once(x: tuple[float, ...]) -> tuple[float, ...]:
        a = slope(*x)
        b = slope(*(v + dt / 2 * g for v, g in zip(x, a, strict=True)))
        c = slope(*(v + dt / 2 * g for v, g in zip(x, b, strict=True)))
        d = slope(*(v + dt * g for v, g in zip(x, c, strict=True)))
        return tuple(v + dt / 6 * (p + 2 * q + 2 * r + s) for v, p, q, r, s in zip(x, a, b, c, d, strict=True))

    def step(x: tuple[float, ...]) -> tuple[float, ...]:
        for _ in range(steps):
            x = once(x)
        return x

    return step


def autoregressive(size: int, weights: tuple[float, ...], rng: Rng) -> F64:
    """Noise in which each value holds parts of those before it."""
    out = rng.normal(size=size + SETTLED)
    for i in range(len(weights), len(out)):
        out[i] += sum(weight * out[i - 1 - k] for k, weight in enumerate(weights))
    return out[SETTLED:]


def _logistic(size: int, r: float, rng: Rng, skip: int = SETTLED) -> F64:
    return iterated(lambda x: r * x * (1 - x), rng.uniform(0.1, 0.9), size, skip)


def _sine(size: int, period: float, rng: Rng) -> F64:
    return np.asarray(np.sin(2 * np.pi * np.arange(size) / period + rng.uniform(0, 2 * np.pi)))


def _decay(size: int, rng: Rng) -> F64:
    return np.asarray(rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 0.95) ** np.arange(size))


def _ringing(size: int, rng: Rng) -> F64:
    return rng.uniform(0.5, 0.93) ** np.arange(size) * _sine(size, rng.uniform(2.0, 12.0), rng)


def _logistic_cycle(size: int, rng: Rng) -> F64:
    return _logistic(size, rng.choice([rng.uniform(3.1, 3.4), rng.uniform(3.47, 3.54), 3.835]), rng)


def _wave(size: int, rng: Rng) -> F64:
    return _sine(size, rng.uniform(2.5, size / 4), rng)


def _folded_wave(size: int, rng: Rng) -> F64:
    return np.abs(_sine(size, rng.uniform(5.0, size / 2), rng))


def _two_waves(size: int, rng: Rng) -> F64:
    slow = rng.uniform(4.5, min(20.0, size / 3))
    ratio = rng.choice([math.sqrt(2), math.sqrt(3), (1 + math.sqrt(5)) / 2, math.sqrt(5)])
    return _sine(size, slow, rng) + rng.uniform(0.5, 1.0) * _sine(size, slow / ratio, rng)


def _turned_wave(size: int, rng: Rng) -> F64:
    slow, place = rng.uniform(4.5, min(20.0, size / 3)), np.arange(size)
    ratio = rng.choice([math.sqrt(2), math.sqrt(3), math.sqrt(5)])
    swing = rng.uniform(0.5, 1.5) * _sine(size, slow, rng)
    return np.asarray(np.sin(2 * np.pi * place * ratio / slow + swing))


def _logistic_chaos(size: int, rng: Rng) -> F64:
    return _logistic(size, rng.choice([3.8, 3.9, 3.95, 4.0]), rng)


def _henon(size: int, rng: Rng) -> F64:
    start = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)
    return iterated(lambda s: (1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]), start, size)


def _lorenz(size: int, rng: Rng) -> F64:
    step = flow(lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z), 0.02, int(rng.integers(4, 8)))
    return iterated(step, (*rng.normal(0, 5, 2), 20 + rng.normal(0, 5)), size, 50)


def _white(size: int, rng: Rng) -> F64:
    return rng.normal(size=size)


def _ar1(size: int, rng: Rng) -> F64:
    return autoregressive(size, (rng.uniform(-0.6, 0.9),), rng)


def _logistic_rest(size: int, rng: Rng) -> F64:
    return _logistic(size, rng.uniform(2.2, 2.95), rng, 0)


def _relaxing(size: int, rng: Rng) -> F64:
    return np.tanh(np.arange(size) / rng.uniform(1.5, size / 6))


def _sawtooth(size: int, rng: Rng) -> F64:
    return np.asarray((np.arange(size) / rng.uniform(3, size / 4) + rng.uniform()) % 1.0)


def _square(size: int, rng: Rng) -> F64:
    period = int(rng.integers(3, size // 4 + 1))
    return ((np.arange(size) + rng.integers(period)) % period < period / 2).astype(float)


def _harmonics(size: int, rng: Rng) -> F64:
    period = rng.uniform(4, size / 4)
    return _sine(size, period, rng) + 0.5 * _sine(size, period / 3, rng)


def _beating(size: int, rng: Rng) -> F64:
    slow = rng.uniform(5.0, min(20.0, size / 3))
    return _sine(size, slow, rng) * _sine(size, slow / math.sqrt(2), rng)


def _torus(size: int, rng: Rng) -> F64:
    slow = rng.uniform(5.0, min(20.0, size / 3))
    return (2.0 + _sine(size, slow, rng)) * _sine(size, slow / math.sqrt(7), rng)


def _tent(size: int, rng: Rng) -> F64:
    top = rng.uniform(0.3, 0.7)
    return iterated(lambda x: x / top if x < top else (1 - x) / (1 - top), rng.uniform(0.1, 0.9), size)


def _cubic(size: int, rng: Rng) -> F64:
    return iterated(lambda x: 4 * x**3 - 3 * x, rng.uniform(-0.9, 0.9), size)


def _ikeda(size: int, rng: Rng) -> F64:
    def step(s: tuple[float, float]) -> tuple[float, float]:
        angle = 0.4 - 6 / (1 + s[0] ** 2 + s[1] ** 2)
        cos, sin = math.cos(angle), math.sin(angle)
        return 1 + 0.9 * (s[0] * cos - s[1] * sin), 0.9 * (s[0] * sin + s[1] * cos)

    return iterated(step, (rng.uniform(), rng.uniform()), size)


def _roessler(size: int, rng: Rng) -> F64:
    step = flow(lambda x, y, z: (-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)), 0.05, int(rng.integers(10, 18)))
    return iterated(step, (*rng.normal(0, 1, 2), 0.0), size, 100)


def _uniform(size: int, rng: Rng) -> F64:
    return rng.uniform(size=size)


def _moving(size: int, rng: Rng) -> F64:
    noise = rng.normal(size=size + 1)
    return noise[1:] + rng.uniform(-0.9, 0.9) * noise[:-1]


def _ar2(size: int, rng: Rng) -> F64:
    return autoregressive(size, (rng.uniform(0.2, 0.6), rng.uniform(-0.6, 0.2)), rng)


def _slow_ar1(size: int, rng: Rng) -> F64:
    return autoregressive(size, (0.98,), rng)


def _walk(size: int, rng: Rng) -> F64:
    return np.cumsum(rng.normal(size=size))


LEARNT: Final[Mapping[str, Mapping[str, Make]]] = {
    "fixed_point": {"decay": _decay, "ringing": _ringing},
    "periodic": {"logistic cycle": _logistic_cycle, "wave": _wave, "folded wave": _folded_wave},
    "quasi_periodic": {"two waves": _two_waves, "turned wave": _turned_wave},
    "chaotic": {"logistic": _logistic_chaos, "Hénon": _henon, "Lorenz": _lorenz},
    "stochastic": {"white": _white, "AR(1)": _ar1},
}
HELD_OUT: Final[Mapping[str, Mapping[str, Make]]] = {
    "fixed_point": {"logistic at rest": _logistic_rest, "relaxing": _relaxing},
    "periodic": {"sawtooth": _sawtooth, "square": _square, "harmonics": _harmonics},
    "quasi_periodic": {"beating": _beating, "torus": _torus},
    "chaotic": {"tent": _tent, "cubic": _cubic, "Ikeda": _ikeda, "Rössler": _roessler},
    "stochastic": {"uniform": _uniform, "MA(1)": _moving, "AR(2)": _ar2, "walk": _walk, "slow AR(1)": _slow_ar1},
}


def noisy(series: F64, noise: float, rng: Rng) -> F64:
    """``series`` and normal noise of ``noise`` times its standard deviation."""
    return np.asarray(series + noise * series.std() * rng.normal(size=len(series)))


def drawn(
    family: Mapping[str, Mapping[str, Make]], size: int, count: int, noise: float, rng: Rng
) -> tuple[list[F64], list[str], list[str]]:
    """``count`` series of ``size`` values of every kind, its systems in turn, with the kind and the system of each."""
    series, kinds, systems = [], [], []
    for kind, makers in family.items():
        names = list(makers)
        for i in range(count):
            name = names[i % len(names)]
            series.append(noisy(makers[name](size, rng), noise, rng))
            kinds.append(kind)
            systems.append(name)
    return series, kinds, systems
