"""From stage scores to one p-value, one calibrated score and one threat type per row.

Each stage's score becomes a p-value against benign traffic; a row's p-value is the smallest of them, each divided by
the share of the false-alarm budget its stage may spend (alpha spending, a weighted Bonferroni bound: Holm 1979). No
attack labels enter, so nothing is fitted to known attack sources, and the false-positive rate is bounded while
traffic stays exchangeable with the calibration set. Taught exemplars count together with what the other stages say:
text that is both near a confirmed attack and a little unusual is more so than text that is one of these. Every stage
takes the highest score of a text's windows, and a long text has many: its p-values are those of the highest of as many
ordinary texts (Šidák 1967), and up to 0.7 of its budget goes to what the stages find together in one place, and to how
far that place stands out from the rest of the text. Where the encoder looks, its margin is added to -ln of the p-value
of all others, and the sum has a benign tail of its own: it takes suspicion away as well as adding to it, but for that
of a signature that leaves no reasonable doubt. What it makes of taught attacks counts together with all that, as
exemplars do. The score is a logistic function of -log10 of that p-value.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.detect import rowwise
from aimds.detect.classifier import Classifier
from aimds.detect.tail import Tail
from aimds.taxonomy import CODES, NOTABLE_P, THREATS, load

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]
Tails = Mapping[str, Tail]

SHARES = {"attack": 0.4, "patterns": 0.2, "rules": 0.4}
"""Shares of the false-alarm budget for text in trusted channels; they sum to 1."""
UNTRUSTED_SHARES = {"attack": 0.2, "indirect": 0.2, "patterns": 0.2, "rules": 0.4}
"""The same for tool and document content, where the head for planted instructions joins in."""
DEEP_WEIGHT = 1.0
"""What the encoder's margin counts beside -ln p of the stages before it, both in nats (docs/design/0004)."""
EXEMPLAR_SHARE = 0.2
"""What exemplars may spend once some have been taught; the others then share the rest."""
PROBE_SHARE = 0.2
"""What likeness to taught attacks in the eyes of the encoder may spend where it looks at texts of ordinary length
(docs/design/0014)."""
UNIT_WINDOWS = 9
"""Windows of a text of 2,000 bytes; up to there a text counts as one (docs/design/0007)."""
LOCAL_SHARE = 0.15
"""What a very long text spends on findings of several stages in one window; one of k such lengths, 1 - 1/k of it."""
CONTRAST_SHARE = 0.55
"""The same for how far that window stands out from the rest of its own text."""
CERTAIN = 0.9
"""A signature of this strength leaves no reasonable doubt: it counts alike in texts of any length, and whatever the
encoder says."""
HIDDEN_ODDS = 5.0
"""How much likelier text under a cipher is to be an attack: its p-values are divided by this (docs/design/0011)."""
SMALLEST_P = 1e-300
HARMFUL = CODES["harmful_request"]
INDIRECT = CODES["indirect_injection"]
DIRECT = CODES["direct_injection"]
OBFUSCATION = CODES["obfuscation"]
NONE = CODES["none"]
_NO_ROWS = np.zeros(0, np.int64)
_SEVERE = np.array([threat.impact if code else 0.0 for code, threat in enumerate(load())], np.float32)


@dataclass(slots=True)
class StageScores:
    """What the stages found, B rows.

    ``attack``, ``indirect``, ``harmful`` float32 (B,): highest head score over the row's windows · ``type_code``
    int8 (B,): type of the window with the highest attack score · ``margin`` float32 (B,) and ``pattern_code`` int8
    (B,): the best pattern · ``rules`` float32 (B, T): strength per threat type · ``decoded`` bool (B,): the highest
    attack score is in a decoded view and the text as written shows nothing of it · ``hidden`` bool (B,): such a
    view of a cipher or code that has no other use · ``untrusted`` bool (B,): tool or document text · ``deep``
    float32 (B,): attack margin of the encoder, -inf where it did not look, None in a profile without it ·
    ``exemplars`` float64 (B,): p-value of being that much nearer to taught attacks than to benign text, None if
    nothing was taught · ``probe`` float64 (B,): the same in the states of the encoder, 1 where it did not look,
    None if nothing was taught or nothing looks; it has no say in texts longer than one · ``units`` float64 (B,):
    how many texts of ordinary length the row is as long as (UNIT_WINDOWS), at least 1 · ``local`` float64 (B,):
    p-value of what the stages find together in one window, ``contrast`` float64 (B,): of its standing out from the
    rest of the row, and ``local_code`` int8 (B,): that window's type; for rows longer than one
    (`aimds.detect.agreement`), None before there are tails.
    """

    attack: F32
    indirect: F32
    harmful: F32
    type_code: Codes
    margin: F32
    pattern_code: Codes
    rules: F32
    decoded: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.bool_]
    untrusted: npt.NDArray[np.bool_]
    units: F64
    deep: F32 | None = None
    exemplars: F64 | None = None
    probe: F64 | None = None
    local: F64 | None = None
    contrast: F64 | None = None
    local_code: Codes | None = None


@dataclass(slots=True)
class Fused:
    """Per row: ``p_value`` float64 (B,), ``p_harmful`` float64 (B,), ``score`` float32 (B,), ``scores`` float32 (B, T),
    ``harmful`` float32 (B,), ``threat`` int8 (B,), ``severity`` float32 (B,); ``liked`` bool (B,), whether likeness to
    taught attacks decided, None without a probe."""

    p_value: F64
    p_harmful: F64
    score: F32
    scores: F32
    harmful: F32
    threat: Codes
    severity: F32
    liked: npt.NDArray[np.bool_] | None = None


def joint(p_value: F64, margin: F32) -> F32:
    """The encoder's ``margin`` float32 (B,) added to -ln of ``p_value`` float64 (B,), what the stages before it say
    together, float32 (B,); -inf where it did not look."""
    return (DEEP_WEIGHT * margin - np.log(np.maximum(p_value, SMALLEST_P))).astype(np.float32)


def by_channel(tails: Tails, stage: str, scores: F32, untrusted: npt.NDArray[np.bool_]) -> F64:
    """p-value of ``scores`` float32 (B,) of ``stage``; tool and document text has a benign tail of its own."""
    p = tails[stage].p_value(scores)
    if rowwise.any_above(untrusted, 0):
        rows = np.flatnonzero(untrusted)
        p[rows] = tails[f"{stage}.untrusted"].p_value(scores[rows])
    return p


def read_like(tails: Tails, attack: F32, indirect: F32, untrusted: npt.NDArray[np.bool_]) -> F64:
    """p-value of reading like an attack, float64 (B,), by the heads' scores ``attack`` and ``indirect``, both (B,)."""
    p = by_channel(tails, "attack", attack, untrusted)
    rows = np.flatnonzero(untrusted)
    if len(rows):
        both = UNTRUSTED_SHARES["attack"] + UNTRUSTED_SHARES["indirect"]
        planted = tails["indirect"].p_value(indirect[rows]) * (both / UNTRUSTED_SHARES["indirect"])
        p[rows] = np.minimum(np.minimum(p[rows] * (both / UNTRUSTED_SHARES["attack"]), planted), 1.0)
    return p


def of_highest(p: F64, units: F64) -> F64:
    """p-value of the highest of ``units`` (B,) scores where one alone has the p-value ``p``, both float64 (B,)."""
    if rowwise.any_above(units, 1.0):
        long = np.flatnonzero(units > 1.0)
        p = p.copy()
        with np.errstate(divide="ignore"):
            p[long] = -np.expm1(units[long] * np.log1p(-np.minimum(p[long], 1.0)))
    return p


def stage_p_values(model: Classifier, stages: StageScores) -> dict[str, F64]:
    """p-value of each stage against benign traffic, float64 (B,), before the budget is shared out; that of ``local``,
    what the stages find in one window, has its share already."""
    tails = model.tails
    strongest = np.empty(len(stages.rules), np.float32)
    rowwise.row_highest(stages.rules, strongest)
    alone = {
        "attack": by_channel(tails, "attack", stages.attack, stages.untrusted),
        "indirect": tails["indirect"].p_value(stages.indirect),
        "harmful": tails["harmful"].p_value(stages.harmful),
        "patterns": tails["patterns"].p_value(stages.margin, nothing=-1.0),
        "rules": tails["rules"].p_value(strongest, nothing=0.0),
    }
    if stages.exemplars is not None:
        alone["exemplars"] = stages.exemplars
    if not rowwise.any_above(stages.units, 1.0) and stages.exemplars is None:
        return alone
    rare = {name: of_highest(p, stages.units) for name, p in alone.items()}
    rare["rules"] = of_highest(alone["rules"], _units_for(strongest, stages.units))
    if stages.local is not None:
        for name in rare:
            rare[name] = _rest(rare[name], stages.units if name != "rules" else _units_for(strongest, stages.units))
        rare["harmful"] = of_highest(alone["harmful"], stages.units)
        with np.errstate(divide="ignore"):
            spent = of_highest(stages.local, stages.units) / (LOCAL_SHARE * _longer(stages.units))
            if stages.contrast is not None:
                spent = np.minimum(spent, stages.contrast / (CONTRAST_SHARE * _longer(stages.units)))
        rare["local"] = np.where(stages.units > 1.0, spent, 1.0)
    if stages.exemplars is not None:
        rare["exemplars"] = together(rare["exemplars"], _least(rare, dataclasses.replace(stages, exemplars=None)))
    return rare


def together(p: F64, q: F64) -> F64:
    """p-value of two independent ones, float64 (B,): of their product (Fisher 1932)."""
    both = p * q
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(both > 0.0, np.minimum(both * (1.0 - np.log(both)), 1.0), both)


def _least(alone: Mapping[str, F64], stages: StageScores) -> F64:
    # The p-value that the stages of ``stages`` give together.
    least = np.ones(len(stages.attack))
    trusted, untrusted = shares(stages)
    for spent, rows in ((trusted, ~stages.untrusted), (untrusted, stages.untrusted)):
        for name, share in spent.items():
            least[rows] = np.minimum(least[rows], alone[name][rows] / share)
    return np.minimum(least, alone["local"]) if "local" in alone else least


def _rest(p: F64, units: F64) -> F64:
    # From what is left of the budget of a longer text, for each stage by itself.
    return p / (1.0 - (LOCAL_SHARE + CONTRAST_SHARE) * _longer(units))


def _longer(units: F64) -> F64:
    # What a text of ``units`` ordinary lengths spends of the shares of long ones.
    return 1.0 - 1.0 / units


def _units_for(strength: F32, units: F64) -> F64:
    return np.where(strength >= np.float32(CERTAIN), 1.0, units)


def shares(stages: StageScores) -> tuple[dict[str, float], dict[str, float]]:
    """What each stage may spend in trusted and in untrusted channels; either sums to 1. The encoder spends nothing."""
    trusted, untrusted = _shares(stages.exemplars is not None)
    return dict(trusted), dict(untrusted)


@functools.cache
def _shares(exemplars: bool) -> tuple[Mapping[str, float], Mapping[str, float]]:
    extra = {"exemplars": EXEMPLAR_SHARE} if exemplars else {}
    rest = 1.0 - sum(extra.values())
    trusted, untrusted = (
        MappingProxyType({**{name: share * rest for name, share in base.items()}, **extra})
        for base in (SHARES, UNTRUSTED_SHARES)
    )
    return trusted, untrusted


def fuse(model: Classifier, stages: StageScores) -> Fused:
    """Fuse the stages of B rows."""
    alone = stage_p_values(model, stages)
    shared = _shares(stages.exemplars is not None)
    by_type = np.empty((len(stages.attack), len(THREATS)))
    by_type.fill(1.0)
    hits, types = stages.rules.nonzero() if rowwise.any_above(stages.rules.ravel(), 0.0) else (_NO_ROWS, _NO_ROWS)
    if len(hits):
        strength = stages.rules[hits, types]
        p = model.tails["rules"].p_value(strength)
        if rowwise.any_above(stages.units, 1.0):
            units = _units_for(strength, stages.units[hits])
            p = of_highest(p, units)
            p = p if stages.local is None else _rest(p, units)
        _put(by_type, hits, types, p, shared[0]["rules"], shared[1]["rules"], stages.untrusted)
    codes = {"attack": stages.type_code, "indirect": _indirect(len(by_type)), "patterns": stages.pattern_code}
    if "exemplars" in alone:
        codes["exemplars"] = stages.type_code
    for stage, code in codes.items():
        _spend(by_type, alone[stage], code, shared[0].get(stage, 0.0), shared[1].get(stage, 0.0), stages.untrusted)
    if stages.local_code is not None and "local" in alone:  # absent where no row is longer than one text
        _spend(by_type, alone["local"], stages.local_code, 1.0, 1.0, stages.untrusted)
    if rowwise.any_above(stages.hidden, 0):
        by_type[stages.hidden] /= HIDDEN_ODDS
    liked = None
    if stages.deep is not None:
        certain = stages.rules[hits, types] >= np.float32(CERTAIN)
        hits, types = hits[certain], types[certain]
        said = by_type[hits, types]
        _weigh(model.tails, by_type, stages.deep, stages.untrusted)
        if stages.probe is not None:
            liked = _liken(by_type, np.isfinite(stages.deep) & (stages.units <= 1.0), stages.probe)
        by_type[hits, types] = np.minimum(by_type[hits, types], said)
    rows, kinds = by_type.shape
    p_value, threat = np.empty(rows), np.zeros(rows, np.int8)
    (score, harmful, severity), scores = np.empty((3, rows), np.float32), np.empty((rows, kinds), np.float32)
    _fused(
        by_type, stages.untrusted, stages.decoded, alone["harmful"], NOTABLE_P, NONE, DIRECT, INDIRECT, OBFUSCATION,
        HARMFUL, *_calibration(model), _SEVERE, p_value, threat, score, scores, harmful, severity,
    )  # fmt: skip
    return Fused(p_value, alone["harmful"], score, scores, harmful, threat, severity, liked)


def _weigh(tails: Tails, by_type: F64, deep: F32, untrusted: npt.NDArray[np.bool_]) -> None:
    # The p-values of all types of a row move together, so that the least becomes that of the sum.
    seen = np.flatnonzero(np.isfinite(deep))
    kinds = np.minimum(by_type[seen], 1.0)
    # What is not a number stays, wherever it stands, so that a stage that broke is seen.
    kinds[~np.isnan(kinds[:, NONE]), NONE] = 1.0
    before = kinds.min(axis=1)
    after = by_channel(tails, "joint", joint(before, deep[seen]), untrusted[seen])
    by_type[seen] = kinds * (after / np.maximum(before, SMALLEST_P))[:, None]


def _liken(by_type: F64, asked: npt.NDArray[np.bool_], probe: F64) -> npt.NDArray[np.bool_]:
    # As exemplars: the smaller of what a row has without the probe and of both together, each from its share. Returns
    # the rows whose p-value comes from both.
    rows = np.flatnonzero(asked)
    least = by_type[rows].min(axis=1)
    before = np.minimum(least, 1.0)
    alone, both = before / (1.0 - PROBE_SHARE), together(probe[rows], before) / PROBE_SHARE
    by_type[rows] *= (np.minimum(alone, both) / np.maximum(least, SMALLEST_P))[:, None]
    liked = np.zeros(len(by_type), np.bool_)
    liked[rows] = both < alone
    return liked


def _indirect(rows: int) -> Codes:
    codes = np.empty(rows, np.int8)
    codes.fill(INDIRECT)
    return codes


@njit(cache=True, nogil=True)
def _put(by_type, rows, types, p, trusted, untrusted, is_untrusted):  # type: ignore[no-untyped-def]
    for k in range(len(rows)):
        by_type[rows[k], types[k]] = p[k] / (untrusted if is_untrusted[rows[k]] else trusted)


@njit(cache=True, nogil=True)
def _spend(by_type, p, codes, trusted, untrusted, is_untrusted):  # type: ignore[no-untyped-def]
    for row in range(len(p)):
        share = untrusted if is_untrusted[row] else trusted
        if share > 0:
            by_type[row, codes[row]] = _less(p[row] / share, by_type[row, codes[row]])


@njit(cache=True, nogil=True)
def _less(a, b):  # type: ignore[no-untyped-def]
    # What is not a number wins, so that a stage that broke is seen.
    return b if b <= a or np.isnan(b) else a


@njit(cache=True, nogil=True)
def _fused(  # type: ignore[no-untyped-def]
    by_type, untrusted, decoded, p_harmful, notable, none, direct, indirect, obfuscation,
    content, slope, intercept, severe, p_value, threat, score, scores, harmful, severity,
):  # fmt: skip
    # Fills the columns of `Fused` from the p-values by type; ``threat`` is zero before.
    for row in range(len(by_type)):
        mine = by_type[row]
        # Instructions to the model in tool or document content are indirect injection, whatever their wording.
        if untrusted[row]:
            mine[indirect] = _less(mine[direct], mine[indirect])
            mine[direct] = 1.0
        if not np.isnan(mine[none]):
            mine[none] = 1.0
        least = 0
        for code in range(1, len(mine)):
            if mine[code] < mine[least] or np.isnan(mine[code]):
                least = code
        if decoded[row]:
            mine[obfuscation] = mine[least]
            least = obfuscation
        p_value[row] = _less(mine[least], 1.0)
        if p_value[row] <= notable:
            threat[row] = least
        for code in range(len(mine)):
            p = p_harmful[row] if code == content else _less(mine[code], 1.0)
            scores[row, code] = 0.0 if code == none else rowwise.rises(p, slope, intercept)
        score[row], harmful[row] = rowwise.rises(p_value[row], slope, intercept), scores[row, content]
        severity[row] = score[row] * severe[threat[row]]


def calibrate(model: Classifier, p: F64) -> F32:
    """Probability of manipulation, float32, at the prevalence of the card; rises as ``p`` falls."""
    out: F32 = np.empty(p.shape, np.float32)
    rowwise.logistic(p.ravel(), *_calibration(model), out.ravel())
    return out


def _calibration(model: Classifier) -> tuple[float, float]:
    card = model.card["calibration"]
    return card["slope"], card["intercept"]
