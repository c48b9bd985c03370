"""Fits the session model: benign tails of its parts and of the whole, and the scale of its score.

Attacks enter in one place only, the two numbers that make a probability of a p-value. They are taken from pairs of the
same source, each judged by tails that never saw it, and from the simulation: attack and benign sessions of different
sources would show which source is which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aimds import __version__
from aimds.analyze.series import COLUMN
from aimds.analyze.session_model import FORMAT, LENGTHS, SERIES, SHARES, Parts, SessionModel
from aimds.detect import tail
from aimds.detect.tail import Tail
from aimds.errors import ConfigError, DataError
from aimds.jobs.sessions import simulation
from aimds.jobs.sessions.material import Material, family
from aimds.jobs.sessions.reference import Sample, benign, sample_of, simulated

F64 = npt.NDArray[np.float64]
Say = Callable[[str], None]

POINTS: Final = 48
PAIR_TURNS: Final = (8, 20)
"""Lengths of the simulated pairs that the score is scaled on."""
FEWEST: Final = 50
"""Benign sessions below which a source is left out of the tails."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """``sessions``: benign sessions of each bucket · ``pairs``: simulated ones of each kind and length for the scale ·
    ``prevalence``: share of attacks at which the score is a probability · ``seed`` of all that is drawn."""

    sessions: int = 8000
    pairs: int = 1000
    prevalence: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("sessions", 200), ("pairs", 50)):
            if getattr(self, name) < least:
                raise ConfigError(name, getattr(self, name), f"at least {least}")
        if not 0 < self.prevalence < 1:
            raise ConfigError("prevalence", self.prevalence, "a share between 0 and 1")


def train(material: Material, config: TrainConfig, *, say: Say = lambda text: None) -> SessionModel:
    """The model of ``material``.

    Raises:
        DataError: no source has enough benign sessions.
    """
    sources = serving(material)
    say(f"benign tails from {len(sources)} sources and the simulation")
    plain = fit(material, sources, config)
    p: list[F64] = []
    pairs = {}
    for name in material.families:
        sides = [int(material.of_family(name, side).sum()) for side in (1, 0)]
        if min(sides) < FEWEST:
            continue
        say(f"{name}: a pair, judged by tails that never saw it")
        held = fit(material, others(sources, name), config)
        pairs[name] = sides
        p.append(held.p_values(material.parts(np.flatnonzero(material.of_family(name, 1)))))
    rng = np.random.default_rng(config.seed + 2)
    for turns in PAIR_TURNS:
        made = [simulated(kind, config.pairs, turns, rng) for kind in ("ramp", "step", "probe")]
        p.append(plain.p_values(parts_of(sample_of([row for rows in made for row in rows]))))
    weight = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in p])
    slope, intercept = scale_of(np.concatenate(p), weight, config.prevalence)
    return dataclasses.replace(plain, card=_card(material, sources, pairs, config, slope, intercept))


def serving(material: Material) -> list[str]:
    """The sources with enough benign sessions for the tails.

    Raises:
        DataError: there is none.
    """
    found = [source for source in material.sources if material.of(source, 0).sum() >= FEWEST]
    if not found:
        raise DataError(material.name, f"no source has {FEWEST} benign sessions")
    return found


def others(sources: Sequence[str], left_out: str) -> list[str]:
    """``sources`` without those of the family ``left_out``; all where nothing else is left."""
    return [source for source in sources if family(source) != left_out] or list(sources)


def fit(material: Material, sources: Sequence[str], config: TrainConfig) -> SessionModel:
    """The tails from the benign sessions of ``sources``; the scale is not fitted yet."""
    rng = np.random.default_rng(config.seed)
    by_source = {source: material.series(np.flatnonzero(material.of(source, 0))) for source in sources}
    tails: dict[str, Tail] = {}
    for bucket in range(1, len(LENGTHS) + 1):
        drawn = benign(by_source, bucket, config.sessions, rng)
        for name in SERIES:
            tails[f"{name}.{bucket}"] = tail.fit(drawn.features[:, COLUMN[name]], points=POINTS)
    chosen = [np.flatnonzero(material.of(source, 0)) for source in sources]
    rows = np.concatenate(chosen)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in chosen])
    seen = material.parts(rows)
    if seen.rephrase is not None:
        tails["rephrase"] = tail.counted(np.round(seen.rephrase, 2), weights)
    if seen.split is not None:
        tails["split"] = tail.fit(seen.split, weights, above=0.95, points=POINTS)
    card = {"format": FORMAT, "shares": SHARES, "calibration": {"slope": 1.0, "intercept": 0.0}}
    model = SessionModel(tails, card, "")
    fused = dict(tails)
    for bucket in range(len(LENGTHS) + 1):
        raw = model.fused(parts_of(benign(by_source, bucket, config.sessions, rng)))
        fused[f"fused.{bucket}"] = tail.fit(-np.log10(raw), points=POINTS)
    return SessionModel(fused, card, "")


def parts_of(sample: Sample) -> Parts:
    """Sessions whose texts show nothing."""
    nothing = np.zeros(len(sample.lengths))
    return Parts(sample.features, sample.lengths, nothing, nothing)


def scale_of(p: F64, weight: F64, prevalence: float) -> tuple[float, float]:
    """Slope over -log10 p and intercept of the log odds of an attack, from the p-values ``p`` of attacks.

    Of benign sessions p is uniform, so -log10 p has an exponential density of rate ln 10; that of attacks is taken to
    be exponential too, with their mean. The ratio of the two is a logistic function of -log10 p.

    Raises:
        DataError: attacks look no worse than benign sessions.
    """
    mean = float(np.average(-np.log10(p), weights=weight))
    if not mean * np.log(10.0) > 1.0:
        raise DataError("pairs", "their attacks have p-values no smaller than those of benign sessions")
    odds = np.log(prevalence / (1.0 - prevalence))
    return float(np.log(10.0) - 1.0 / mean), float(np.log(np.log(10.0) * mean) - odds)


def _card(
    material: Material,
    sources: Sequence[str],
    pairs: Mapping[str, list[int]],
    config: TrainConfig,
    slope: float,
    intercept: float,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "shares": SHARES,
        "calibration": {"slope": slope, "intercept": intercept, "prevalence": config.prevalence},
        "engine": __version__,
        "settings": dataclasses.asdict(config),
        "simulator": simulation.FORMAT,
        "texts": material.digest,
        "turn_model": material.turn_model,
        "benign": {source: int(material.of(source, 0).sum()) for source in sources},
        "pairs": dict(pairs),
        "licenses": {
            source: material.licenses[source]
            for source in material.sources
            if source in sources or family(source) in pairs
        },
    }
