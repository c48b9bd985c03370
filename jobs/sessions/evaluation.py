"""What the session score finds that the highest turn and peak + accumulation do not, at the same rate of false alarms.

Every comparison is of sessions that differ in the attack and in nothing else: pairs of one family of sources, judged by
tails that never saw it; simulated sessions of one length; texts of one source cut into turns of the same carriers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from aimds import kernels
from aimds.analyze.series import prefixes
from aimds.analyze.session_model import Parts, SessionModel
from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.sessions.material import Material, follow
from aimds.jobs.sessions.reference import sample_of, simulated
from aimds.jobs.sessions.training import TrainConfig, fit, others, parts_of, serving
from aimds.kernels import ragged
from aimds.screener import Screener

F64 = npt.NDArray[np.float64]

RATES: Final = (0.01, 0.05)
LENGTHS: Final = (8, 20, 32)
PERSISTENCE, DIVERSITY, ESCALATION = 0.45, 0.15, 0.2
"""Factors of the baseline peak + accumulation (arXiv 2602.11247), as its implementation has them."""
MATCH: Final = 2.0
"""Surprise at which a turn counts as a match of the baseline: a p-value of 0.01."""
PIECES: Final = 3


@dataclass(frozen=True, slots=True)
class Set:
    """One comparison: what each method says of attacks and of benign sessions, higher for worse."""

    name: str
    attack: dict[str, F64]
    benign: dict[str, F64]

    def rows(self) -> list[dict[str, Any]]:
        """Found at each rate of false alarms among the benign sessions of this set, with 95 % intervals."""
        out = []
        for method, values in self.attack.items():
            row: dict[str, Any] = {"set": self.name, "method": method, "attacks": len(values)}
            row["benign"] = len(self.benign[method])
            for rate in RATES:
                hits = int((values > at_rate(self.benign[method], rate)).sum())
                low, high = clopper_pearson(hits, len(values))
                row[f"at {rate:g}"] = [round(share, 4) for share in (hits / len(values), low, high)]
            out.append(row)
        return out


def at_rate(benign: F64, rate: float) -> float:
    """The lowest threshold that at most ``rate`` of ``benign`` lie above."""
    ordered = np.sort(benign)[::-1]
    return float(ordered[int(rate * len(ordered))])


def accumulated(series: Sequence[F64], threats: Sequence[Sequence[str]], scores: Sequence[F64]) -> F64:
    """Peak + accumulation: the highest score, more for the share of turns that match, for each further threat type
    among them and for scores that climb over the last three turns."""
    out = np.zeros(len(series))
    for place, (row, names, score) in enumerate(zip(series, threats, scores, strict=True)):
        if not len(row):
            continue
        match = row >= MATCH
        kinds = {name for name, met in zip(names, match.tolist(), strict=False) if met and name != "none"}
        climbs = len(score) >= 3 and score[-3] < score[-2] < score[-1]
        bonus = PERSISTENCE * match.mean() + DIVERSITY * max(0, len(kinds) - 1) + ESCALATION * climbs
        out[place] = score.max() + bonus
    return out


def evaluate(
    material: Material, screener: Screener, config: TrainConfig, *, texts: Sequence[pl.DataFrame] = ()
) -> dict[str, Any]:
    """The comparisons on the pairs in ``material``, on the simulation, and on ``texts`` (text, label, source) cut into
    turns, as plain data."""
    sources = serving(material)
    whole = fit(material, sources, config)
    slope, intercept = (screener.detector.classifier.card["calibration"][key] for key in ("slope", "intercept"))

    def score(row: F64) -> F64:
        return np.asarray(1.0 / (1.0 + np.exp(-(slope * row + intercept))), np.float64)

    def judged(of: Material, rows: npt.NDArray[np.int64], model: SessionModel) -> dict[str, F64]:
        series = of.series(rows)
        parts = of.parts(rows)
        return {
            "session score": -np.log10(model.p_values(parts)),
            "highest turn": parts.features[:, 0],
            "peak + accumulation": accumulated(series, [of.threats[row] for row in rows], list(map(score, series))),
        }

    sets = []
    for name in material.families:
        sides = [np.flatnonzero(material.of_family(name, label)) for label in (1, 0)]
        if min(map(len, sides)):
            model = fit(material, others(sources, name), config)
            sets.append(Set(name, *(judged(material, side, model) for side in sides)))
    for name, made in ((str(frame["source"][0]), in_turns(frame, material, screener, config)) for frame in texts):
        sides = [np.flatnonzero(made.label == label) for label in (1, 0)]
        sets.append(Set(f"{name}, in {PIECES} turns", *(judged(made, side, whole) for side in sides)))
    rng = np.random.default_rng(config.seed + 7)
    alarms = {}
    for turns in LENGTHS:
        calm = simulated("benign", 10_000, turns, rng)
        for kind in ("ramp", "step", "probe"):
            pushed = simulated(kind, 4000, turns, rng)
            told = [_simulated(rows, whole, list(map(score, rows))) for rows in (pushed, calm)]
            sets.append(Set(f"simulated {kind}, {turns} turns", *told))
            alarms[f"{kind}, {turns} turns"] = share_below(whole, pushed, 0.01)
        alarms[f"benign, {turns} turns"] = share_below(whole, calm, 0.01)
        alarms[f"benign, {turns} turns, at any turn"] = ever_below(whole, calm, 0.01)
    for source in sources:
        rows = np.flatnonzero(material.of(source, 0))
        alarms[f"benign {source}"] = float((whole.p_values(material.parts(rows)) <= 0.01).mean())
        alarms[f"benign {source}, at any turn"] = ever_below(whole, material.series(rows), 0.01)
    return {
        "sets": [row for one in sets for row in one.rows()],
        "at p <= 0.01": {name: round(share, 4) for name, share in alarms.items()},
    }


def _simulated(rows: Sequence[F64], model: SessionModel, scores: Sequence[F64]) -> dict[str, F64]:
    sample = sample_of(rows)
    return {
        "session score": -np.log10(model.p_values(parts_of(sample))),
        "highest turn": sample.features[:, 0],
        "peak + accumulation": accumulated(rows, [()] * len(rows), scores),
    }


def share_below(model: SessionModel, rows: Sequence[F64], p: float) -> float:
    """Share of sessions whose p-value is at most ``p`` at their last turn."""
    return float((model.p_values(parts_of(sample_of(rows))) <= p).mean())


def ever_below(model: SessionModel, rows: Sequence[F64], p: float) -> float:
    """Share of sessions whose p-value is at most ``p`` after any of their turns."""
    values, offsets = ragged.joined([np.asarray(row, np.float64) for row in rows])
    seen, ends = prefixes(values, offsets)
    nothing = np.zeros(len(values))
    found = model.p_values(Parts(kernels.session_series(seen, ends), np.diff(ends), nothing, nothing)) <= p
    return float(np.logical_or.reduceat(found, offsets[:-1]).mean())


def in_turns(frame: pl.DataFrame, material: Material, screener: Screener, config: TrainConfig) -> Material:
    """Each text of ``frame`` (text, label, source), cut by words into PIECES turns of a user, as a session."""
    rows: list[dict[str, Any]] = []
    for number, (text, label, source) in enumerate(frame.select("text", "label", "source").iter_rows()):
        words = text.split()
        if len(words) < 2 * PIECES:
            continue
        cuts = [len(words) * k // PIECES for k in range(PIECES + 1)]
        for turn in range(PIECES):
            piece = " ".join(words[cuts[turn] : cuts[turn + 1]])
            row = {"session_id": f"{number}", "turn": 2 * turn, "role": "user", "text": piece}
            rows.append(row | {"label": label, "source": source, "license": ""})
            rows.append(
                row
                | {
                    "turn": 2 * turn + 1,
                    "role": "assistant",
                    "text": "Go on.",
                    "label": label,
                    "source": source,
                    "license": "",
                }
            )
    return follow("texts in turns", pl.DataFrame(rows), screener)
