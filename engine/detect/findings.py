"""What the stages found, as evidence: the stage, what it matched, and where in the original text."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds.detect import fusion
from aimds.detect.classifier import ATTACK, Classifier
from aimds.detect.evidence import Evidence
from aimds.detect.exemplars import Exemplars
from aimds.detect.features import Windows, cut, first_best
from aimds.detect.fusion import StageScores
from aimds.detect.normalize import Views
from aimds.detect.patterns import Bank, Matches
from aimds.taxonomy import NOTABLE_P, THREATS

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LOCATE_BYTES = 120


class Judged(NamedTuple):
    """Windows the encoder saw, int64 (D,), what it said of each as `gray.judge` gives it, float32 (D, 1) or (D, 2), and
    the p-values of all rows before it looked, float64 (B,)."""

    window: Rows
    said: F32
    before: F64

    @classmethod
    def none(cls) -> Judged:
        """No window at all."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 1), np.float32), np.zeros(0))


class Taught(NamedTuple):
    """The window of each row that is nearest to an exemplar, int64 (B,), and that exemplar, int32 (B,) or -1."""

    window: Rows
    exemplar: npt.NDArray[np.int32]


def matched(bank: Bank, views: Views, pieces: Windows, matches: Matches) -> list[Evidence]:
    """Confirmed patterns."""
    out = []
    for hit in matches.hits:
        base = int(pieces.base[hit.window])
        start, end = views.span(int(pieces.view[hit.window]), base + hit.start, base + hit.end)
        pattern = bank.patterns[hit.pattern]
        strength = min(max(hit.margin, 0.0), 1.0)
        row = int(pieces.row[hit.window])
        out.append(Evidence(row, "patterns", pattern.id, pattern.threat, start, end, strength))
    return out


def located(
    model: Classifier,
    views: Views,
    pieces: Windows,
    stages: StageScores,
    best: Rows,
    foreign: npt.NDArray[np.bool_],
    rows: Rows,
) -> list[Evidence]:
    """Where the classifier sees the attack in its strongest window ``best`` int64 (B,): the piece of LOCATE_BYTES that
    scores highest, for those of ``rows`` that it finds unusual by itself. ``foreign`` bool (W,): windows that it judged
    by what their words mean in another language."""
    if not len(rows):
        return []
    p = fusion.by_channel(model.tails, "attack", stages.attack[rows], stages.untrusted[rows])
    rows, p = rows[p <= NOTABLE_P], p[p <= NOTABLE_P]
    if not len(rows):
        return []
    chosen = best[rows]
    first, last = pieces.offsets[chosen], pieces.offsets[chosen + 1]
    values, offsets, owner, base = cut(pieces.values, first, last, LOCATE_BYTES, LOCATE_BYTES // 3, LOCATE_BYTES)
    pick = np.arange(len(rows))
    if len(owner) > len(rows):  # some window is more than one piece
        _, pick = first_best(model.score(values, offsets)[:, ATTACK], owner, len(rows))
    strength = fusion.calibrate(model, p)
    out = []
    for k, row in enumerate(rows.tolist()):
        window, piece = int(chosen[k]), int(pick[k])
        low = int(pieces.base[window] + base[piece])
        high = low + int(offsets[piece + 1] - offsets[piece])
        start, end = views.span(int(pieces.view[window]), low, high)
        threat = THREATS[stages.type_code[row]]
        name = "classifier.decoded" if views.depths[pieces.view[window]] else "classifier"
        name = f"{name}.concepts" if foreign[window] else name
        out.append(Evidence(row, "classifier", f"{name}.{threat}", threat, start, end, float(strength[k])))
    return out


def seen(
    model: Classifier, views: Views, pieces: Windows, stages: StageScores, judged: Judged, fused: fusion.Fused
) -> list[Evidence]:
    """The window in which the encoder finds most, for each row that it makes more unusual and that is notable then;
    where likeness to taught attacks decided, the window most like them."""
    p_value = fused.p_value
    if not len(judged.window):
        return []
    rows = np.flatnonzero((p_value <= NOTABLE_P) & (p_value < judged.before))
    _, best = first_best(judged.said[:, 0], pieces.row[judged.window], len(p_value))
    liked = fused.liked
    if liked is not None:
        best = np.where(liked, first_best(judged.said[:, 1], pieces.row[judged.window], len(p_value))[1], best)
    strength = fusion.calibrate(model, p_value[rows])
    out = []
    for k, row in enumerate(rows.tolist()):
        threat = THREATS[stages.type_code[row]]
        start, end = _whole(views, pieces, int(judged.window[best[row]]))
        name = f"deep.taught.{threat}" if liked is not None and liked[row] else f"deep.{threat}"
        out.append(Evidence(row, "deep", name, threat, start, end, float(strength[k])))
    return out


def near(
    model: Classifier, exemplars: Exemplars, views: Views, pieces: Windows, stages: StageScores, taught: Taught | None
) -> list[Evidence]:
    """The exemplar nearest to each row that is notably near to one."""
    if taught is None or stages.exemplars is None:
        return []
    p = fusion.stage_p_values(model, stages)["exemplars"]
    rows = np.flatnonzero((p <= NOTABLE_P) & (taught.exemplar >= 0))
    strength = fusion.calibrate(model, p[rows])
    out = []
    for k, row in enumerate(rows.tolist()):
        threat = THREATS[stages.type_code[row]]
        start, end = _whole(views, pieces, int(taught.window[row]))
        name = exemplars.attacks.ids[taught.exemplar[row]]
        out.append(Evidence(row, "exemplars", name, threat, start, end, float(strength[k])))
    return out


def _whole(views: Views, pieces: Windows, window: int) -> tuple[int, int]:
    low = int(pieces.base[window])
    return views.span(int(pieces.view[window]), low, low + int(pieces.offsets[window + 1] - pieces.offsets[window]))
