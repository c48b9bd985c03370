"""Benign tails from a tenant's scores: by group where there are rows enough, else held back by wider tails.

A threshold alpha needs 10 · k / alpha rows, k being the stages that share the budget of false alarms: ten rows are then
expected beyond the point where a stage spends its part. What the rows at hand cannot bear out is judged by the larger
of two p-values, theirs and the wider tail's: text counts as rare only where both find it rare.
"""

from __future__ import annotations

import dataclasses
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
    """The two thresholds to be right at, as p-values, and the stages that share each, ``stages``."""

    flag: float = 0.01
    block: float = 0.001
    stages: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.block <= self.flag <= 0.2:
            raise ConfigError("flag, block", (self.flag, self.block), "0 < block <= flag <= 0.2")

    def needed(self, alpha: float) -> int:
        """Rows without which no threshold ``alpha`` can be claimed."""
        return int(np.ceil(ROWS_BEYOND * self.stages / alpha))

    def borne_out(self, rows: int) -> float:
        """The smallest of the two thresholds that ``rows`` rows bear out; 1 where neither."""
        return self.block if rows >= self.needed(self.block) else self.flag if rows >= self.needed(self.flag) else 1.0


@dataclass(slots=True)
class Fitted:
    """``tails`` as in `aimds.detect.calibration`, and by group, "" for all traffic, the rows behind the scarcest of
    those that spend in a channel: ``rows[group][channel]``."""

    tails: dict[str, Tail]
    rows: dict[str, dict[str, int]]


def stage_count(stages: StageScores) -> int:
    """k: the most stages that share the budget in one channel."""
    return max(len(shares) for shares in fusion.shares(stages))


def fit(model: Classifier, stages: StageScores, script: Codes, levels: Levels) -> Fitted:
    """Tails of all traffic and of every group with rows enough for the flag threshold.

    ``stages`` of N benign rows, ``script`` int8 (N,). The tails of ``model`` are the widest.
    """
    root = _of_rows(model, stages, levels)
    fitted = Fitted(dict(root.tails), {"": root.rows[""]})
    cell = cells(stages.untrusted, script)
    for place, channel in enumerate(CHANNELS):
        inside = stages.untrusted == bool(place)
        parent = dataclasses.replace(model, tails={**model.tails, **root.tails})
        if _enough(inside, levels) and not inside.all():
            _add(fitted, channel, _of_rows(parent, take(stages, np.flatnonzero(inside)), levels))
            parent = for_group(dataclasses.replace(model, tails={**model.tails, **fitted.tails}), channel)
        for index, name in enumerate(CELLS):
            mine = cell == index
            if name.startswith(f"{channel}.") and _enough(mine, levels) and mine.sum() < inside.sum():
                _add(fitted, name, _of_rows(parent, take(stages, np.flatnonzero(mine)), levels))
    return fitted


def _enough(rows: Flags, levels: Levels) -> bool:
    return int(rows.sum()) >= levels.needed(levels.flag)


def _add(fitted: Fitted, group: str, one: Fitted) -> None:
    fitted.tails.update({f"{name}{AT}{group}": own for name, own in one.tails.items()})
    fitted.rows[group] = one.rows[""]


def _of_rows(wider: Classifier, stages: StageScores, levels: Levels) -> Fitted:
    trusted, untrusted = fusion.shares(stages)
    columns, tails, sizes = score_columns(stages), dict(wider.tails), {}
    # What is made of other tails comes after them.
    for name in sorted(wider.tails, key=lambda name: name.startswith("joint")):
        stem = name.removesuffix(UNTRUSTED)
        scores = fusion.joint(tails, stages) if stem == "joint" else columns.get(stem)
        if scores is None or (stem == "joint" and stages.deep is None):
            continue
        rows = np.ones(len(scores), np.bool_)
        if name.endswith(UNTRUSTED) or (stem in untrusted and stem not in trusted):
            rows = stages.untrusted
        elif f"{name}{UNTRUSTED}" in wider.tails:
            rows = ~stages.untrusted
        if stem == "deep":
            rows = rows & np.isfinite(scores)
        sizes[name] = int(rows.sum())
        if sizes[name] < FEWEST:
            continue
        own = _own(stem, scores[rows])
        spent = {"joint": "deep"}.get(stem, stem)
        share = min((side[spent] for side in (trusted, untrusted) if spent in side), default=1.0 / levels.stages)
        alpha = levels.borne_out(sizes[name])
        floor = alpha * share if alpha < 1 else 1.0
        tails[name] = own if alpha <= levels.block else cautious(own, wider.tails[name], floor)
    sides = zip(CHANNELS, (trusted, untrusted), strict=True)
    rows_behind = {channel: _scarcest(sizes, channel, side) for channel, side in sides}
    return Fitted({name: tails[name] for name in sizes}, {"": rows_behind})


def _scarcest(sizes: dict[str, int], channel: str, spending: dict[str, float]) -> int:
    behind = []
    for stem in spending:
        name = "joint" if stem == "deep" else stem
        apart = f"{name}{UNTRUSTED}"
        behind.append(sizes.get(apart if channel == "untrusted" and apart in sizes else name, 0))
    return min(behind)


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
