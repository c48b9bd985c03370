"""What a training reached on sources it left out, and the card that says so."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import aimds
from aimds.detect import fusion, gray
from aimds.detect.classifier import Classifier
from aimds.detect.fusion import StageScores
from aimds.detect.patterns import Bank
from aimds.detect.rules import Rules
from aimds.jobs.corpus import Corpus
from aimds.jobs.train.config import TrainConfig
from aimds.jobs.train.tails import benign_weights

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RATES = (0.01, 0.001)
MIN_ATTACKS = 50
"""Attacks a source needs to count in a mean over sources."""
STEPS = (
    ("classifier", ("attack",)),
    ("+ planted instructions", ("attack", "indirect")),
    ("+ patterns", ("attack", "indirect", "patterns")),
    ("+ signatures (fast)", ("attack", "indirect", "patterns", "rules")),
)
"""Stages of ``fast`` added one after another: what a reader calls the set, and its stages."""
DEEP_STEPS = {
    "fast": "without encoder (fast)",
    "cascade": "encoder in the gray zone (cascade)",
    "full": "encoder on every text (full)",
}
"""What a reader calls each profile where they are compared."""


def as_profile(model: Classifier, stages: StageScores, profile: str, zone: float = gray.GRAY) -> StageScores:
    """The scores as ``profile`` would have them: without the encoder's where it does not look."""
    if stages.deep is None or profile == "full":
        return stages
    before = dataclasses.replace(stages, deep=None)
    if profile == "fast":
        return before
    seen = np.zeros(len(stages.attack), np.bool_)
    seen[gray.rows(profile, fusion.fuse(model, before).p_value, zone)] = True
    return dataclasses.replace(stages, deep=np.where(seen, stages.deep, -np.inf).astype(np.float32))


def out_of_fold(
    corpus: Corpus, public: Mask, judged: Mask, model: Classifier, stages: StageScores, config: TrainConfig
) -> dict[str, Any]:
    """Detection and false alarms by source and profile at fixed p-values, and by stage at true rates of false alarms.

    Args:
        public: bool (N,), rows the stages of ``fast`` judged out of fold.
        judged: bool (N,), those that the encoder judged as well; all profiles are compared on them.
    """
    weights = {
        name: benign_weights(corpus, rows & (corpus.label == 0) & ~stages.untrusted, config)
        for name, rows in (("public", public), ("judged", judged))
    }
    profiles = gray.PROFILES if stages.deep is not None else gray.PROFILES[:1]
    p_values = {name: fusion.fuse(model, as_profile(model, stages, name)).p_value for name in profiles}
    rows: list[dict[str, Any]] = []
    for source in np.unique(corpus.source[public].astype(str)):
        mine = public & (corpus.source == source) & (corpus.threat != "harmful_request")
        for label in (0, 1):
            chosen = mine & (corpus.label == label)
            if not chosen.any():
                continue
            both = chosen & judged
            row: dict[str, Any] = {"source": str(source), "label": label, "n": int(chosen.sum())}
            row |= {"judged": int(both.sum()), "all": {"fast": _shares(p_values["fast"][chosen])}}
            row |= {name: _shares(p[both]) for name, p in p_values.items() if both.any()}
            rows.append(row)
    macro: dict[str, Any] = {"min_attacks": MIN_ATTACKS, "detection": {}, "false_alarms": {}}
    macro["sources"] = len(_large(rows, "judged"))
    macro["all"] = {"sources": len(_large(rows, "n"))}
    if macro["all"]["sources"]:
        macro["all"]["fast"] = _mean([row["all"]["fast"] for row in _large(rows, "n")])
    for name, p in p_values.items():
        if macro["sources"]:
            macro["detection"][name] = _mean([row[name] for row in _large(rows, "judged")])
        among = weights["judged"]
        macro["false_alarms"][name] = {f"{t:g}": round(float(np.sum(among * (p <= t))), 5) for t in RATES}
    before = dataclasses.replace(stages, deep=None)
    steps = {title: _of_stages(model, before, names) for title, names in STEPS}
    report = {"macro": macro, "sources": rows, "ablation": _at_rates(corpus, public, steps, weights["public"])}
    if stages.deep is not None:
        steps = {DEEP_STEPS[name]: p for name, p in p_values.items()}
        steps["encoder alone"] = 1.0 / (1.0 + np.exp(stages.deep.astype(np.float64)))
        report["profiles"] = _at_rates(corpus, judged, steps, weights["judged"])
    return report


def _shares(p: F64) -> dict[str, float]:
    return {f"{t:g}": round(float((p <= t).mean()), 4) for t in RATES}


def _large(rows: list[dict[str, Any]], size: str) -> list[dict[str, Any]]:
    return [row for row in rows if row["label"] == 1 and row[size] >= MIN_ATTACKS]


def _mean(shares: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.mean([share[name] for share in shares])), 4) for name in shares[0]}


def _at_rates(corpus: Corpus, judged: Mask, steps: Mapping[str, F64], weights: F64) -> list[dict[str, Any]]:
    # Mean detection over sources at true rates of false alarms in ordinary traffic, by each of several p-values.
    out = []
    for title, p in steps.items():
        detection = {}
        for rate in RATES:
            limit = _quantile(p, weights, rate)
            found = judged & (p <= limit) if limit > 0 else np.zeros(len(p), np.bool_)
            detection[f"{rate:g}"] = round(_macro(corpus, judged, found), 4)
        out.append({"stages": title, "detection": detection})
    return out


def _of_stages(model: Classifier, stages: StageScores, names: tuple[str, ...]) -> F64:
    alone = fusion.stage_p_values(model, stages)
    trusted, untrusted = fusion.shares(stages)
    p = np.ones(len(stages.attack))
    for name in names:
        share = np.where(stages.untrusted, untrusted.get(name, 0.0), trusted.get(name, 0.0))
        p = np.minimum(p, np.divide(alone[name], share, out=np.ones_like(p), where=share > 0))
    return np.minimum(p, alone["local"]) if "rules" in names and "local" in alone else p


def _quantile(p: F64, weights: F64, rate: float) -> float:
    # The highest p-value such that benign rows up to it make up at most `rate` of the traffic.
    rows = np.flatnonzero(weights > 0)
    order = rows[np.argsort(p[rows], kind="stable")]
    share = np.cumsum(weights[order]) / weights[order].sum()
    within = int(np.searchsorted(share, rate, side="right"))
    return float(np.nextafter(p[order[within]], 0.0)) if within < len(order) else 1.0


def _macro(corpus: Corpus, judged: Mask, found: Mask) -> float:
    attacks = judged & (corpus.label == 1) & (corpus.threat != "harmful_request")
    names, counts = np.unique(corpus.source[attacks].astype(str), return_counts=True)
    rates = [float(found[attacks & (corpus.source == name)].mean()) for name in names[counts >= MIN_ATTACKS]]
    return float(np.mean(rates)) if rates else 0.0


def card(
    corpus: Corpus, config: TrainConfig, calibration: dict[str, float], report: dict[str, Any], bank: Bank, rules: Rules
) -> dict[str, Any]:
    """What a model says of itself, as plain data."""
    names, counts = np.unique(corpus.source.astype(str), return_counts=True)
    digest = hashlib.sha256(corpus.texts.values.tobytes() + corpus.texts.offsets.tobytes()).hexdigest()
    return {
        "engine": aimds.__version__,
        "config": dataclasses.asdict(config),
        "calibration": calibration,
        "rows": len(corpus),
        "attacks": int((corpus.label == 1).sum()),
        "data_sha256": digest,
        "sources": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "licences": {str(name): corpus.licences.get(name, "") for name in names},
        "out_of_fold": report,
        "bank": bank.version,
        "rules": rules.version,
    }
