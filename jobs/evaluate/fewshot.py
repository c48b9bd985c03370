"""The suite `fewshot`: what a source nobody has seen costs before and after a few of its attacks were confirmed.

For each source with enough attacks, the same attacks are held out and judged by the screener as it is and after it was
taught 10 and 30 others of the source, at thresholds that stay where the reference set them. What teaching costs is
judged on the harmless rows of the reference, at the same thresholds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np

from aimds.jobs.evaluate.judging import Advance, Judged, Outcomes, Screens, screen
from aimds.jobs.evaluate.points import Points, rate
from aimds.jobs.evaluate.sample import Rows, drawn

EXEMPLARS = (0, 10, 30)
MIN_ATTACKS = 80
"""Attacks a source needs to be taught from."""


class Pupil(Screens, Protocol):
    """A screener that can be taught: the new one knows the exemplars, the old one stays as it is."""

    def taught(self, attacks: Sequence[str], benign: Sequence[str] = ()) -> Self: ...


def sources(judged: Sequence[Judged]) -> list[tuple[Judged, str, Rows]]:
    """File, name and attacks of each source with at least MIN_ATTACKS attacks in a file."""
    out = []
    for item in judged:
        names = item.corpus.source.astype(str)
        for name in np.unique(names[item.attacks]):
            rows = np.flatnonzero(item.attacks & (names == name))
            if len(rows) >= MIN_ATTACKS:
                out.append((item, str(name), rows))
    return out


def suite(
    pupil: Pupil,
    found: Sequence[tuple[Judged, str, Rows]],
    reference: tuple[Judged, Rows],
    points: Points,
    *,
    most: int = 0,
    seed: int = 0,
    advance: Advance = lambda rows: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """One row per source and number of exemplars.

    Args:
        found: what `sources` gives for the files that ``pupil`` has judged.
        reference: the file that set ``points``, and its harmless rows.
        most: judge at most so many attacks of a source; 0 for all.
        advance: told each time a taught screener has judged a source.

    Returns:
        dicts with file, source, exemplars, n (attacks judged, the same for all numbers of exemplars), a rate per column
        with a threshold, benign_at (harmless rows of the reference that count, per column), benign (the same at the
        strictest), seconds (time to teach).
    """
    out = []
    clean, harmless = reference
    for item, name, rows in found:
        order = np.random.default_rng(seed).permutation(rows)
        lessons = [item.corpus.texts.raw(row).decode("utf-8", "replace") for row in order[: max(EXEMPLARS)].tolist()]
        rest = drawn(np.sort(order[max(EXEMPLARS) :]), most, seed)
        for count in EXEMPLARS:
            seconds = 0.0
            outcomes, calm = item.outcomes.take(rest), clean.outcomes.take(harmless)
            if count:
                started = clock()
                student = pupil.taught(lessons[:count])
                seconds = clock() - started
                outcomes, calm = _judged(student, item, rest), _judged(student, clean, harmless)
                advance(1)
            out.append({"file": item.corpus.name, "source": name, "exemplars": count, "n": len(rest)})
            out[-1] |= _row(points, outcomes, calm) | {"seconds": seconds}
    return out


def _judged(student: Screens, item: Judged, rows: Rows) -> Outcomes:
    return screen(student, item.corpus.texts.take(rows), item.corpus.channel[rows])


def _row(points: Points, outcomes: Outcomes, calm: Outcomes) -> dict[str, Any]:
    columns = tuple(points.thresholds)
    benign = {column: rate(points.hits(calm, column)) for column in columns}
    strictest = max(columns, key=lambda column: points.thresholds[column][0])
    found = {column: rate(points.hits(outcomes, column)) for column in columns}
    return {**found, "benign": benign[strictest], "benign_at": benign, "failed": outcomes.failed + calm.failed}
