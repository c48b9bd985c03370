"""A proposal: a candidate taught all confirmed texts, and how the same teaching does on attacks it was not taught.

Held-out attacks are judged in folds: each by a detector taught the other folds, beside one that knows what the current
candidate knows of those. Benign canaries are never taught; they are judged by the candidate itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import aimds
from aimds.detect.exemplars import exemplar_id
from aimds.detect.stages import P_VALUE, Detector
from aimds.detect.texts import Texts
from aimds.errors import DataError
from aimds.learn import gate, thresholds
from aimds.learn.candidate import Candidate, model_of
from aimds.learn.gate import Check, Levels, Limits
from aimds.learn.lessons import FOLDS, Lesson, Lessons, folds
from aimds.learn.teaching import teach
from aimds.schema import CHANNELS

F64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]

SLICE = 1024
FALLBACK = "direct_injection"
"""Threat type of the patterns of an attack that was judged harmless, or for its content only."""
_NOT_MINED = ("none", "pii_exposure", "harmful_request")


@dataclass(frozen=True, slots=True)
class Benign:
    """Benign ``texts`` that are never taught, with the channel of each."""

    texts: Sequence[str]
    channels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """``candidate`` and what was found out about it; ``report`` is plain data, as the events keep it."""

    candidate: Candidate
    checks: tuple[Check, ...]
    report: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through."""
        return all(check.passed for check in self.checks)


def propose(
    detector: Detector,
    given: Lessons,
    benign: Benign,
    *,
    current: Candidate | None = None,
    levels: Levels = Levels(),  # noqa: B008
    written: Levels | None = None,
    limits: Limits = Limits(),  # noqa: B008
    fold_count: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Proposal:
    """What ``detector``, as shipped, would be with the lessons ``given``, and how it compares with ``current``.

    Args:
        levels: what is in force; ``written``: what the policy says where that is something else.
        fold_count: parts that attacks are held out in, by default FOLDS.

    Raises:
        DataError: no confirmed attack.
        ConfigError: ``current`` belongs to another model.
    """
    if not given.attacks:
        raise DataError(
            "feedback", "holds no confirmed attack with a text that all agree on; there is nothing to learn"
        )
    known = set() if current is None else {*current.attacks.ids, *current.benign.ids}
    ours, theirs = given, _only(given, known)
    number = folds(given.attacks, fold_count or FOLDS)
    before, after = np.full(len(number), np.nan), np.full(len(number), np.nan)
    count = int(number.max()) + 1
    for fold in range(count):
        progress("held-out attacks", fold, count)
        rows = np.flatnonzero(number == fold)
        out = {exemplar_id(given.attacks[row].text) for row in rows}
        held = [given.attacks[row] for row in rows]
        texts, channels = [lesson.text for lesson in held], [lesson.channel for lesson in held]
        before[rows] = p_values(_taught(detector, theirs, out), texts, channels)
        after[rows] = p_values(_taught(detector, ours, out), texts, channels)
    progress("teaching", 0, 1)
    full = _taught(detector, given, set())
    candidate = Candidate.between(detector, full)
    canaries = _untaught(benign, given)
    total = len(canaries.texts)

    def judged(name: str) -> Callable[[int], None]:
        return lambda done: progress(name, done, total)

    was = p_values(current.apply(detector) if current else detector, *_columns(canaries), judged("benign texts before"))
    now = p_values(full, *_columns(canaries), judged("benign texts after"))
    held_report = gate.held_out(before, after, levels, levels)
    benign_report = gate.canary(was, now, levels, levels)
    found = gate.checks(held_report, benign_report, limits)
    moves = _thresholds(now, levels)
    unjudged = int(np.isnan(np.concatenate([before, after, was, now])).sum())
    report = {
        "engine": aimds.__version__,
        "model": model_of(detector),
        "profile": detector.profile,
        "levels": asdict(levels),
        "limits": asdict(limits),
        "lessons": {
            "attacks": len(given.attacks),
            "new": sum(exemplar_id(lesson.text) not in known for lesson in given.attacks),
            "benign": len(given.benign),
            "disputed": given.disputed,
            "without_text": given.textless,
        },
        "folds": count,
        "held_out": held_report,
        "canary": benign_report,
        "thresholds": moves,
        "policy": asdict(written or levels),
        "moved": _moved(moves, (before, after, was, now), levels, limits),
        "unjudged": unjudged,
        "learnt": {
            "exemplars": len(candidate.attacks),
            "benign": len(candidate.benign),
            "patterns": len(candidate.patterns),
            "states": 0 if candidate.probe is None else len(candidate.probe.attacks),
        },
        "checks": [asdict(check) for check in found],
    }
    return Proposal(candidate, found, report)


def p_values(
    detector: Detector,
    texts: Sequence[str],
    channels: Sequence[str],
    progress: Callable[[int], None] = lambda done: None,
) -> F64:
    """p-values of ``texts`` by ``detector``, float64 (N,); NaN where one could not be judged."""
    out = np.full(len(texts), np.nan)
    codes = np.array([CHANNELS.index(channel) for channel in channels], np.int8)
    for first in range(0, len(texts), SLICE):
        part = [text.encode("utf-8", "replace") for text in texts[first : first + SLICE]]
        column = pa.array(part, pa.large_binary()).view(pa.large_string())
        scores = detector.score(Texts.from_arrow(column), codes[first : first + SLICE])
        out[first : first + SLICE] = scores.numbers[:, P_VALUE]
        progress(min(first + SLICE, len(texts)))
    return out


def _thresholds(p_after: F64, levels: Levels) -> dict[str, Any]:
    """For each level: what it is, what is proven to keep that rate of false alarms, and a bounded step towards it."""
    out: dict[str, Any] = {}
    for name, now in asdict(levels).items():
        found = thresholds.proven(p_after, now)
        out[name] = {"now": now, "proven": found, "step": None if found is None else thresholds.stepped(now, found)}
    return out


def _moved(moves: dict[str, Any], found: Sequence[F64], levels: Levels, limits: Limits) -> dict[str, Any] | None:
    """What the candidate does with the thresholds moved a step, held to the same gate; None where none would move."""
    steps = {name: level["now"] if level["step"] is None else level["step"] for name, level in moves.items()}
    to = Levels(steps["flag"], min(steps["flag"], steps["block"]))
    if to == levels:
        return None
    before, after, was, now = found
    held_report, benign_report = gate.held_out(before, after, levels, to), gate.canary(was, now, levels, to)
    checks = [asdict(check) for check in gate.checks(held_report, benign_report, limits)]
    return {"to": asdict(to), "held_out": held_report, "canary": benign_report, "checks": checks}


def _taught(detector: Detector, given: Lessons, without: set[str]) -> Detector:
    attacks = [lesson for lesson in given.attacks if exemplar_id(lesson.text) not in without]
    benign = [lesson.text for lesson in given.benign]
    if not attacks and not benign:
        return detector
    threats = [FALLBACK if lesson.threat in _NOT_MINED else lesson.threat for lesson in attacks]
    return teach(detector, [lesson.text for lesson in attacks], benign, threat=threats)


def _only(given: Lessons, known: set[str]) -> Lessons:
    def those(lessons: tuple[Lesson, ...]) -> tuple[Lesson, ...]:
        return tuple(lesson for lesson in lessons if exemplar_id(lesson.text) in known)

    return replace(given, attacks=those(given.attacks), benign=those(given.benign))


def _untaught(benign: Benign, given: Lessons) -> Benign:
    taught = {_words(lesson.text) for lesson in (*given.attacks, *given.benign)}
    kept: dict[bytes, int] = {}
    for row, text in enumerate(benign.texts):
        key = _words(text)
        if key not in taught:
            kept.setdefault(key, row)
    rows = kept.values()
    return Benign([benign.texts[row] for row in rows], [benign.channels[row] for row in rows])


def _words(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "replace")).digest()


def _columns(benign: Benign) -> tuple[Sequence[str], Sequence[str]]:
    return benign.texts, benign.channels
