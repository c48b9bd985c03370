"""The suite `throughput`: rows a second, and where the time goes, stage by stage, for each profile."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from aimds.detect import gray
from aimds.detect.stages import P_VALUE, Detector
from aimds.detect.texts import Texts
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate.judging import Advance, Screens, request

BATCH_ROWS = 4096
BUDGET_S = 10.0
"""Time after which no further batch is begun."""


class Timed(Screens, Protocol):
    """A screener that knows how long each of its stages took, in seconds since its start."""

    @property
    def seconds(self) -> dict[str, float]: ...

    @property
    def detector(self) -> Detector: ...


def suite(
    screeners: Mapping[str, Timed],
    corpora: Sequence[Corpus],
    *,
    seed: int = 0,
    budget_s: float = BUDGET_S,
    advance: Advance = lambda rows: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[dict[str, Any]]:
    """One row per profile in ``screeners``, which keep no cache: batches of BATCH_ROWS rows of all ``corpora``, mixed
    by lot, until ``budget_s`` seconds are over or every row was screened once. ``advance`` is told the rows done.

    Returns:
        dicts with profile, rows, rows_per_s, stages (stage → seconds), deep_share (share of the rows the deep stage
        looked at; None where the profile has none).
    """
    whole = reduce(Corpus.join, corpora)
    order = np.random.default_rng(seed).permutation(len(whole))
    out = []
    for profile, screener in screeners.items():
        screener.screen(request(whole.texts.take(order[:1]), whole.channel[order[:1]]))
        before = dict(screener.seconds)
        done, spent = 0, 0.0
        while done < len(order) and spent < budget_s:
            rows = order[done : done + BATCH_ROWS]
            batch = request(whole.texts.take(rows), whole.channel[rows])
            started = clock()
            screener.screen(batch)
            spent += clock() - started
            done += len(rows)
            advance(len(rows))
        stages = {name: value - before.get(name, 0.0) for name, value in screener.seconds.items()}
        seen = deep_share(screener.detector, whole.texts.take(order[:done]), whole.channel[order[:done]])
        out.append({"profile": profile, "rows": done, "rows_per_s": done / spent, "stages": stages, "deep_share": seen})
    return out


def deep_share(detector: Detector, texts: Texts, channel: npt.NDArray[np.int8]) -> float | None:
    """The share of ``texts`` that the deep stage of ``detector`` judges; None where it has none."""
    if detector.deep is None or detector.profile == "fast":
        return None
    if detector.profile == "full":
        return 1.0
    quick = dataclasses.replace(detector, deep=None, profile="fast")
    seen = 0
    for first, last in texts.slices(BATCH_ROWS, 4 << 20):
        p_value = quick.score(texts.slice(first, last), channel[first:last]).numbers[:, P_VALUE]
        seen += len(gray.rows(detector.profile, p_value, detector.gray))
    return seen / len(texts)
