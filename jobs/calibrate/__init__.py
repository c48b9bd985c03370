"""Calibrate on a tenant's own benign traffic: tails fitted on a part of it, judged on the rest, with honest bounds.

The tails that are written are those that were judged, so the bound on the false alarms is theirs. Every alarm on the
rows held back counts as a false one: attacks among them make the bound larger, never smaller.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import aimds
from aimds import data
from aimds.detect import calibration, fusion
from aimds.detect.calibration import CALIBRATION, CELLS, CHANNELS, Calibration
from aimds.detect.classifier import Classifier
from aimds.detect.fusion import StageScores
from aimds.detect.script import Codes, scripts
from aimds.detect.stages import Detector
from aimds.detect.texts import Texts
from aimds.errors import ConfigError, DataError
from aimds.jobs.calibrate import fitting
from aimds.jobs.calibrate.card import render
from aimds.jobs.calibrate.fitting import FEWEST, Fitted, Levels
from aimds.jobs.calibrate.observed import observe
from aimds.jobs.calibrate.traffic import Sample
from aimds.jobs.intervals import clopper_pearson

F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

SUSPECT_P = 0.001
SUSPECT_SHARE = 0.01
"""More than this share of the rows at or below SUSPECT_P says that the traffic may hold attacks."""
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """How to calibrate.

    ``flag``, ``block``: thresholds to be right at, as p-values · ``held_back``: share of the texts that judges ·
    ``trim``: share of the texts, those the shipped model finds the rarest, that no tail is fitted to.
    """

    flag: float = 0.01
    block: float = 0.001
    held_back: float = 1 / 3
    trim: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.05 <= self.held_back <= 0.9:
            raise ConfigError("held_back", self.held_back, "a share from 0.05 to 0.9")
        if not 0 <= self.trim <= 0.2:
            raise ConfigError("trim", self.trim, "a share from 0 to 0.2")
        Levels(self.flag, self.block)


@dataclass(slots=True)
class Outcome:
    """``report``: plain data for the card; ``p_before`` float64 (N,): p-values of the shipped tails, ``alarms`` int64:
    rows to look at, the rarest first."""

    calibration: Calibration
    report: dict[str, Any]
    p_before: F64
    suspects: Rows


def calibrate(
    detector: Detector, sample: Sample, config: CalibrateConfig, progress: Callable[[int], None] = lambda rows: None
) -> Outcome:
    """Screen ``sample`` with ``detector`` and calibrate; ``progress`` is told the rows done.

    Raises:
        DataError: too few texts to say anything.
    """
    script = scripts(sample.texts.values, sample.texts.offsets)
    stages, kept = observe(detector, sample.texts, sample.channel, progress)
    model, lost = detector.classifier, len(sample) - len(kept)
    sample, script = (sample, script) if not lost else (sample.take(kept), script[kept])
    split = divide(model, stages, config)
    levels = Levels(config.flag, config.block)
    fitted = fitting.fit(model, calibration.take(stages, split.fit), script[split.fit], levels)
    if stages.deep is not None:
        # Which texts the encoder sees follows from the tails of the stages before it, so it looks again under the new.
        again = dataclasses.replace(detector, classifier=_with(model, fitted))
        stages, kept = observe(again, sample.texts, sample.channel, progress)
        if len(kept) < len(sample):
            raise DataError("traffic", "a text could be judged once and not again")
        fitted = fitting.fit(model, calibration.take(stages, split.fit), script[split.fit], levels)
    report = judge(model, fitted, stages, script, split, levels)
    report |= _about(sample, detector, config, split, lost)
    report["shares"] = fitting.shares(stages)
    suspects = np.flatnonzero(split.p_before <= SUSPECT_P)
    report["suspects"] = {"rows": len(suspects), "share": len(suspects) / len(sample), "at": SUSPECT_P}
    made = packed(fitted.tails, report)
    return Outcome(made, report, split.p_before, suspects[np.argsort(split.p_before[suspects], kind="stable")])


@dataclass(slots=True)
class Split:
    """Rows to fit on and rows held back, int64; ``trimmed`` bool (N,): left out of the fit; ``p_before`` float64 (N,):
    p-values of the shipped tails."""

    fit: Rows
    held_back: Rows
    trimmed: Flags
    p_before: F64


def divide(model: Classifier, stages: StageScores, config: CalibrateConfig) -> Split:
    """Deal N rows out at random.

    Raises:
        DataError: too few rows.
    """
    p_before = fusion.fuse(model, stages).p_value
    n = len(p_before)
    trimmed = np.zeros(n, np.bool_)
    trimmed[np.argsort(p_before, kind="stable")[: round(config.trim * n)]] = True
    order = np.random.default_rng(config.seed).permutation(n)
    held = np.sort(order[: round(config.held_back * n)])
    rest = np.sort(order[round(config.held_back * n) :])
    fit = rest[~trimmed[rest]]
    if len(fit) < FEWEST or not len(held):
        raise DataError("traffic", f"holds {n:,} different texts, {len(fit):,} of them to fit on; {FEWEST} are needed")
    return Split(fit, held, trimmed, p_before)


def judge(
    model: Classifier, fitted: Fitted, stages: StageScores, script: Codes, split: Split, levels: Levels
) -> dict[str, Any]:
    """Alarms among the rows held back, before and after, of all of them and by channel and script."""
    held = split.held_back
    rows, after = calibration.take(stages, held), _with(model, fitted)
    p_after = calibration.fuse(after, rows, script[held]).p_value
    p_before = split.p_before[held]  # not of ``stages``: the encoder may have looked again, under the new tails
    cell = calibration.cells(rows.untrusted, script[held])
    fit_cell = calibration.cells(stages.untrusted[split.fit], script[split.fit])
    groups = calibration.groups_of(after.tails)
    owner = calibration.owners(groups, rows.untrusted, script[held])
    smallest = {channel: min(spending.values()) for channel, spending in fitting.shares(stages).items()}
    table: list[dict[str, Any]] = []
    borne_by_all = 0.0
    for index, name in enumerate(CELLS):
        mine = np.flatnonzero(cell == index)
        if not len(mine) and not (fit_cell == index).any():
            continue
        group = groups[owner[mine[0]]] if len(mine) and owner[mine[0]] >= 0 else ""
        channel = name.partition(".")[0]
        behind, borne = fitted.rows[group][channel], fitted.borne[group][channel]
        borne_by_all = max(borne_by_all, borne)
        line: dict[str, Any] = {
            "name": name,
            "fitted": int((fit_cell == index).sum()),
            "judged_by": group or "all",
            "behind": behind,
        }
        claims = _Claims(borne, smallest[channel])
        table.append(line | _alarms(p_before[mine], p_after[mine], split.trimmed[held][mine], levels, claims))
    least = min(line["behind"] for line in table)
    total: dict[str, Any] = {"name": "all", "fitted": len(split.fit), "judged_by": "", "behind": least}
    claims = _Claims(borne_by_all, min(smallest.values()))
    total |= _alarms(p_before, p_after, split.trimmed[held], levels, claims)
    return {"groups": table, "total": total}


class _Claims(NamedTuple):
    """The smallest threshold borne out, and the smallest share that a stage may spend."""

    borne: float
    share: float


def _alarms(before: F64, after: F64, trimmed: Flags, levels: Levels, claims: _Claims) -> dict[str, Any]:
    out: dict[str, Any] = {"judged": len(after)}
    for name, alpha in (("flag", levels.flag), ("block", levels.block)):
        at: dict[str, Any] = {
            "alpha": alpha,
            "claimed": claims.borne <= alpha,
            "needed": fitting.needed(alpha, claims.share),
        }
        for when, p in (("before", before), ("after", after)):
            at[when] = rate(int((p <= alpha).sum()), len(p))
        if trimmed.any():
            kept = after[~trimmed]
            at["after_without_trimmed"] = rate(int((kept <= alpha).sum()), len(kept))
        out[name] = at
    return out


def rate(hits: int, n: int) -> dict[str, Any]:
    """``hits`` of ``n`` with the two-sided interval at 95% and the one-sided upper bound at 95%; 3/n where none."""
    low, high = clopper_pearson(hits, n) if n else (0.0, 1.0)
    bound = clopper_pearson(hits, n, 2 * CONFIDENCE - 1)[1] if n else 1.0
    return {"hits": hits, "n": n, "rate": hits / n if n else None, "low": low, "high": high, "bound": bound}


def packed(tails: dict[str, Any], card: dict[str, Any]) -> Calibration:
    """A calibration as it will be read back, under the version that its content gives it."""
    content = data.pack(Calibration(tails, card, "").pack())
    return Calibration.unpack(CALIBRATION, content)


def write(made: Calibration, folder: Path) -> None:
    """Write calibration.npz, card.md and their manifest into ``folder``; each appears whole or not."""
    data.write(folder, {CALIBRATION: data.pack(made.pack()), "card.md": render(made.card).encode()})


def _with(model: Classifier, fitted: Fitted) -> Classifier:
    return dataclasses.replace(model, tails={**model.tails, **fitted.tails})


def _about(sample: Sample, detector: Detector, config: CalibrateConfig, split: Split, lost: int) -> dict[str, Any]:
    untouched = sorted(name for name in detector.classifier.tails if name.partition(".")[0] == "joint")
    return {
        "engine": aimds.__version__,
        "model": detector.classifier.version,
        "profile": detector.profile,
        "gray": detector.gray,
        "signatures": detector.signature_version,
        "config": asdict(config),
        "confidence": CONFIDENCE,
        "rows": {"there": sample.rows, "read": sample.read, "different": len(sample) + lost, "not_judged": lost},
        "files": len(sample.files),
        "trimmed": int(split.trimmed.sum()),
        "channels": {name: int(((sample.channel >= 3) == bool(place)).sum()) for place, name in enumerate(CHANNELS)},
        "as_shipped": untouched if detector.profile == "fast" else [],
    }


def review(sample: Sample, outcome: Outcome) -> dict[str, Any]:
    """The rows to look at as columns: file, row, times it came, p-value of the shipped tails, text."""
    chosen = outcome.suspects
    return {
        "file": [sample.files[index] for index in sample.file[chosen]],
        "row": sample.row[chosen].tolist(),
        "times": sample.count[chosen].tolist(),
        "p_value": outcome.p_before[chosen].tolist(),
        "text": [_text(sample.texts, row) for row in chosen.tolist()],
    }


def _text(texts: Texts, row: int) -> str:
    return texts.raw(row).decode("utf-8", "replace")
