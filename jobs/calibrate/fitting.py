"""Benign tails from a tenant's scores: by group where there are rows enough, else held back by wider tails.

The stages of a channel spend unequal shares of a threshold alpha, together all of it: false alarms are at most alpha
where the tail of every stage is right at alpha · share. A stage needs 10 / (alpha · share) rows for that: ten are then
expected beyond the point where it spends its part. What the rows at hand cannot bear out is judged by the larger of two
p-values, theirs and the wider tail's: text counts as rare only where both find it rare.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.detect import fusion, tail
from aimds.detect.calibration import AT, CELLS, CHANNELS, cells, for_group, score_columns, take
from aimds.detect.classifier import Classifier
from aimds.detect.fusion import StageScores
from aimds.detect.script import Codes
from aimds.detect.tail import Tail
from aimds.errors import ConfigError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ROWS_BEYOND = 10
"""Rows to expect beyond the point where a stage spends its part of the budget."""
FEWEST = 50
"""Fewer rows say nothing about a tail; it stays the wider one."""
COUNTED = ("rules",)
"""Stages whose scores take few values."""
UNTRUSTED = ".untrusted"
FARTHEST_P = 1e-9


@dataclass(frozen=True, slots=True)
class Levels:
    """The two thresholds to be right at, as p-values."""

    flag: float = 0.01
    block: float = 0.001

    def __post_init__(self) -> None:
        if not 0 < self.block <= self.flag <= 0.2:
            raise ConfigError("flag, block", (self.flag, self.block), "0 < block <= flag <= 0.2")

    def borne_out(self, rows: int, share: float) -> float:
        """The smallest of the two thresholds that ``rows`` rows bear out for a stage that may spend ``share``; 1 where
        neither."""
        enough = [alpha for alpha in (self.flag, self.block) if rows >= needed(alpha, share)]
        return min(enough, default=1.0)


def needed(alpha: float, share: float) -> int:
    """Rows without which no stage that may spend ``share`` of the threshold ``alpha`` can be claimed to keep to it."""
    # Rounded first: 10 / (0.01 · 0.25) is a little above 4,000 in binary.
    return math.ceil(round(ROWS_BEYOND / (alpha * share), 6))


@dataclass(slots=True)
class Fitted:
    """``tails`` as in `aimds.detect.calibration`; by group, "" for all traffic, and channel, ``rows``: those behind the
    stage that has the fewest for its share, and ``borne``: the smallest threshold that all stages spending in the
    channel bear out, 1 where none."""

    tails: dict[str, Tail]
    rows: dict[str, dict[str, int]]
    borne: dict[str, dict[str, float]]


def shares(stages: StageScores) -> dict[str, dict[str, float]]:
    """What each stage may spend of a threshold, by channel; the shares of a channel sum to 1."""
    return dict(zip(CHANNELS, fusion.shares(stages), strict=True))


def fit(model: Classifier, stages: StageScores, script: Codes, levels: Levels) -> Fitted:
    """Tails of all traffic and of every group with rows enough for the flag threshold.

    ``stages`` of N benign rows, ``script`` int8 (N,). The tails of ``model`` are the widest.
    """
    root = _of_rows(model, stages, levels)
    fitted = Fitted(dict(root.tails), dict(root.rows), dict(root.borne))
    smallest = {channel: min(spending.values()) for channel, spending in shares(stages).items()}
    cell = cells(stages.untrusted, script)
    for place, channel in enumerate(CHANNELS):
        inside = stages.untrusted == bool(place)
        parent = dataclasses.replace(model, tails={**model.tails, **root.tails})
        enough = needed(levels.flag, smallest[channel])
        if inside.sum() >= enough and not inside.all():
            _add(fitted, channel, _of_rows(parent, take(stages, np.flatnonzero(inside)), levels))
            parent = for_group(dataclasses.replace(model, tails={**model.tails, **fitted.tails}), channel)
        for index, name in enumerate(CELLS):
            mine = cell == index
            if name.startswith(f"{channel}.") and enough <= mine.sum() and mine.sum() < inside.sum():
                _add(fitted, name, _of_rows(parent, take(stages, np.flatnonzero(mine)), levels))
    return fitted


def _add(fitted: Fitted, group: str, one: Fitted) -> None:
    fitted.tails.update({f"{name}{AT}{group}": own for name, own in one.tails.items()})
    fitted.rows[group], fitted.borne[group] = one.rows[""], one.borne[""]


def _of_rows(wider: Classifier, stages: StageScores, levels: Levels) -> Fitted:
    spending = shares(stages)
    trusted, untrusted = (spending[channel] for channel in CHANNELS)
    columns, tails = score_columns(stages), dict(wider.tails)
    sizes: dict[str, int] = {}
    alphas: dict[str, float] = {}
    # What is made of other tails comes after them.
    for name in sorted(wider.tails, key=lambda name: name.startswith("joint")):
        stem = name.removesuffix(UNTRUSTED)
        if stem == "joint" and stem not in columns and stages.deep is not None:
            columns[stem] = _joint(dataclasses.replace(wider, tails=tails), stages, stages.deep)
        scores = columns.get(stem)
        if scores is None:
            continue
        rows, judges = np.ones(len(scores), np.bool_), [trusted, untrusted]
        if name.endswith(UNTRUSTED) or (stem in untrusted and stem not in trusted):
            rows, judges = stages.untrusted, [untrusted]
        elif f"{name}{UNTRUSTED}" in wider.tails:
            rows, judges = ~stages.untrusted, [trusted]
        sizes[name] = int(rows.sum())
        # What spends no share of the budget stands against a threshold by itself.
        share = min((side[stem] for side in judges if stem in side), default=1.0)
        alpha = alphas[name] = levels.borne_out(sizes[name], share)
        if sizes[name] < FEWEST:
            continue
        own = _own(stem, scores[rows])
        # The p-value that goes into the sum is that of the whole text already, and so is the sum's.
        own = own if stem == "joint" else own.for_one(stages.units[rows])
        floor = alpha * share if alpha < 1 else 1.0
        tails[name] = own if alpha <= levels.block else cautious(own, wider.tails[name], floor)
    rows_behind, borne_out = {}, {}
    for channel, side in spending.items():
        own_share = _spending(sizes, channel, side)
        scarcest = min(own_share, key=lambda name: sizes.get(name, 0) * own_share[name])
        rows_behind[channel] = sizes.get(scarcest, 0)
        borne_out[channel] = max(alphas.get(name, 1.0) for name in own_share)
    return Fitted({name: tails[name] for name in sizes}, {"": rows_behind}, {"": borne_out})


def _spending(sizes: dict[str, int], channel: str, side: dict[str, float]) -> dict[str, float]:
    """The share of each tail that judges in ``channel``, by its name."""
    out = {}
    for stem, share in (*side.items(), *((("joint", 1.0),) if "joint" in sizes else ())):
        apart = f"{stem}{UNTRUSTED}"
        out[apart if channel == "untrusted" and apart in sizes else stem] = share
    return out


def _joint(model: Classifier, stages: StageScores, deep: F32) -> F32:
    return fusion.joint(fusion.fuse(model, dataclasses.replace(stages, deep=None)).p_value, deep)


def _own(stem: str, scores: F32) -> Tail:
    seen = np.isfinite(scores)
    if not seen.all():
        # A text that a stage did not look at counts as lower than any that it did.
        lowest = float(scores[seen].min()) if seen.any() else 0.0
        scores = np.where(seen, scores, np.float32(lowest - 1.0))
    return tail.counted(scores) if stem in COUNTED else tail.fit(scores)


def cautious(own: Tail, wider: Tail, floor: float) -> Tail:
    """The tail whose p-value is that of ``own`` down to ``floor``, and below it the larger of the two."""
    far = np.geomspace(min(own.rate, wider.rate), FARTHEST_P, 64)
    bends = [one.quantile(p) for one in (own, wider) for p in (*far, floor)]
    grid = np.concatenate([own.values, wider.values, bends])
    grid = np.unique(grid[np.isfinite(grid)])
    grid = grid[np.concatenate([[True], np.diff(grid) > 1e-9])]
    # A little below the floor, lest rounding put a text that is rare by its own tail above the threshold.
    held = np.minimum(wider.p_value(grid), floor * (1.0 - 1e-6))
    mine = own.p_value(grid)
    survival = np.minimum.accumulate(np.maximum(mine, held))
    # Beyond u, the excess over a farther point of a Pareto tail is Pareto of the same shape and a larger scale.
    leading = own if mine[-1] >= held[-1] else wider
    scale = leading.scale + leading.shape * max(float(grid[-1] - leading.values[-1]), 0.0)
    return Tail(grid, survival, float(survival[-1]), leading.shape, scale, own.size)
