"""The suite `files`: detection and false positives by file and by source, and their means, with intervals.

Attacks are judged by the manipulation p-value; ``harmful_request`` rows, a question of content policy, by the harmful
score alone. Thresholds for a stated false-positive rate are set on the benign rows of the reference file; all other
rows are then judged at the same threshold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError, DataError
from aimds.jobs.evaluate.judging import Judged
from aimds.jobs.evaluate.points import Points, check_shares, fpr, recall, threshold_at, threshold_for_recall

MIN_ATTACKS = 20
"""Attacks a source needs to count in the mean over sources."""
RESAMPLES = 10_000


def reference_rows(judged: Sequence[Judged], name: str) -> tuple[Judged, npt.NDArray[np.int64]]:
    """The file that sets the thresholds and its benign rows, int64.

    Raises:
        ConfigError: ``name`` is not among the files or has no benign rows.
    """
    by_name = {item.corpus.name: item for item in judged}
    if name not in by_name:
        raise ConfigError("reference", name, "one of " + ", ".join(by_name))
    rows = np.flatnonzero(by_name[name].corpus.label == 0)
    if not len(rows):
        raise ConfigError("reference", name, "a file with benign rows (label 0)")
    return by_name[name], rows


def operating_points(
    judged: Sequence[Judged], *, reference: str, rates: Sequence[float], recalls: Sequence[float] = ()
) -> Points:
    """Where to judge.

    Args:
        reference: name of the file whose benign rows set the thresholds.
        rates: false-positive rates to judge at.
        recalls: macro recalls (mean over the files with attacks) to judge false positives at.

    Raises:
        ConfigError: a bad ``reference``, or a rate or recall out of range. DataError: a recall, but no attacks.
    """
    check_shares(rates, recalls)
    item, rows = reference_rows(judged, reference)
    clean, harmful = item.outcomes.danger[rows], item.outcomes.harmful[rows]
    thresholds = {fpr(value): (threshold_at(clean, value), threshold_at(harmful, value)) for value in rates}
    attacks = [item.outcomes.danger[item.attacks] for item in judged if item.attacks.any()]
    if recalls and not attacks:
        raise DataError("evaluation", "no file holds attacks, so there is no recall to set a threshold by")
    for value in recalls:
        thresholds[recall(value)] = (threshold_for_recall(attacks, value), threshold_at(harmful, 0.01))
    return Points(thresholds)


def thresholds(judged: Sequence[Judged], points: Points, *, reference: str) -> dict[str, Any]:
    """What ``points`` are and which file set them, as plain data."""
    item, benign = reference_rows(judged, reference)
    return {
        "reference": {"file": item.corpus.name, "n": len(benign)},
        "thresholds": {
            name: {"minus_log10_p": danger, "harmful": harmful} for name, (danger, harmful) in points.thresholds.items()
        },
    }


def suite(judged: Sequence[Judged], points: Points, *, seed: int = 0) -> dict[str, Any]:
    """Rows by file and by source, and means over both, as plain data; ``seed`` is that of the bootstrap."""
    rows, sources = [], []
    for one in judged:
        names = one.corpus.source.astype(str)
        for label, group, chosen in _groups(one):
            rows.append(_row(one, label, group, chosen, points))
            for name in np.unique(names[chosen]):
                row = _row(one, label, group, chosen & (names == name), points)
                sources.append({"file": row.pop("file"), "source": str(name), **row})
    attacks = [row for row in rows if row["group"] == "attack"]
    return {
        "rows": rows,
        "sources": sources,
        "macro_detection": {
            column: float(np.mean([row[column]["rate"] for row in attacks])) for column in points.columns if attacks
        },
        "macro_sources": macro(sources, points.columns, seed),
    }


def macro(sources: Sequence[dict[str, Any]], columns: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """Mean detection over the sources with at least MIN_ATTACKS attacks, whatever files they stand in.

    The interval is the percentile bootstrap at 95% over rows within sources: n rows drawn with replacement from n rows
    of which k are hits hold Binomial(n, k / n) hits, so these are drawn. It says how sure the mean of these sources is,
    nothing about sources that are not among them.
    """
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("n", *columns), 0))
    for row in sources:
        if row["group"] == "attack":
            counts[row["source"]]["n"] += row["n"]
            for column in columns:
                counts[row["source"]][column] += row[column]["hits"]
    kept = [count for count in counts.values() if count["n"] >= MIN_ATTACKS]
    if not kept:
        return {}
    rng = np.random.default_rng(seed)
    n = np.array([count["n"] for count in kept])
    out = {}
    for column in columns:
        rate = np.array([count[column] for count in kept]) / n
        means = rng.binomial(n, rate, (RESAMPLES, len(kept))) / n
        low, high = np.quantile(means.mean(axis=1), (0.025, 0.975))
        out[column] = {"rate": float(rate.mean()), "low": float(low), "high": float(high), "sources": len(kept)}
    return out


def _groups(item: Judged) -> list[tuple[int, str, npt.NDArray[np.bool_]]]:
    groups = [
        (1, "attack", item.attacks),
        (1, "harmful_request", np.asarray(item.corpus.threat == "harmful_request")),
        (0, "benign", np.asarray(item.corpus.label == 0)),
    ]
    return [group for group in groups if group[2].any()]


def _row(item: Judged, label: int, group: str, chosen: npt.NDArray[np.bool_], points: Points) -> dict[str, Any]:
    rates = points.rates(item.outcomes.take(chosen), harmful=group == "harmful_request")
    return {"file": item.corpus.name, "label": label, "group": group, "n": int(chosen.sum()), **rates}
