"""Judge a screener on labelled files: detection and false positives with exact intervals, per file and overall.

Attacks are judged by the manipulation p-value; ``harmful_request`` rows, a question of content policy, by the harmful
score alone. Thresholds for a stated false-positive rate are set on the benign rows of the reference file, the others
are then judged at the same threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.errors import ConfigError, DataError
from aimds.jobs.corpus import Corpus
from aimds.jobs.intervals import clopper_pearson
from aimds.schema import CHANNELS, enum
from aimds.screener import Screener

BLOCKING = ("block", "escalate")
FLAGGING = ("flag", "sandwich", *BLOCKING)
BATCH_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Rate:
    """``hits`` of ``n`` with the Clopper–Pearson interval [low, high] at 95%."""

    hits: int
    n: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, hit: npt.NDArray[np.bool_]) -> Rate:
        hits, n = int(hit.sum()), len(hit)
        low, high = clopper_pearson(hits, n)
        return cls(hits, n, hits / n if n else float("nan"), low, high)


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts on one corpus: ``danger`` float64 (N,), higher is worse, and ``harmful`` likewise; ``action`` (N,)."""

    corpus: Corpus
    danger: npt.NDArray[np.float64]
    harmful: npt.NDArray[np.float64]
    action: npt.NDArray[np.object_]
    failed: int


def files(paths: Sequence[Path]) -> list[Path]:
    """The Parquet files at ``paths``; a folder stands for the files in it.

    Raises:
        DataError: nothing there.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.parquet"))
            if not inside:
                raise DataError(path, "holds no .parquet file")
            found.extend(inside)
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(path, "no such file or folder")
    return found


def judge(screener: Screener, corpus: Corpus, progress: Callable[[int], None] = lambda rows: None) -> Judged:
    """Screen ``corpus``; ``progress`` is told the rows done."""
    danger, harmful, actions, failed = [], [], [], 0
    for first in range(0, len(corpus), BATCH_ROWS):
        last = min(first + BATCH_ROWS, len(corpus))
        texts = corpus.texts.slice(first, last)
        column = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), last - first, [None, pa.py_buffer(texts.offsets), pa.py_buffer(texts.values)]
        )
        batch = pa.RecordBatch.from_arrays([column, enum(CHANNELS, corpus.channel[first:last])], ["text", "channel"])
        table = screener.screen(batch).table
        p_value = table.column("p_value").to_numpy()
        danger.append(-np.log10(np.where(np.isnan(p_value), 1.0, p_value)))
        harmful.append(np.nan_to_num(table.column("harmful_score").to_numpy()).astype(np.float64))
        actions.append(_manipulation_actions(screener, table, p_value))
        failed += int(np.sum(table.column("status").to_numpy() == "error"))
        progress(last - first)
    return Judged(corpus, np.concatenate(danger), np.concatenate(harmful), np.concatenate(actions), failed)


def _manipulation_actions(
    screener: Screener, table: pa.Table, p_value: npt.NDArray[np.float64]
) -> npt.NDArray[np.object_]:
    # A redacted row is a finding of manipulation only where its p-value alone would have been flagged.
    action = np.array(table.column("action").to_pylist(), object)
    thresholds = screener.policy.settings[0].thresholds
    flag = np.array([thresholds[name].flag for name in table.column("channel").to_pylist()])
    return np.where((action == "redact") & (p_value <= flag), "flag", action).astype(object)


def threshold_at(scores: npt.NDArray[np.float64], rate: float) -> float:
    """The lowest threshold t such that at most ``rate`` of benign ``scores`` are strictly above t."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[min(int(np.floor(rate * len(ordered))), len(ordered) - 1)])


def evaluate(
    judged: Sequence[Judged], *, reference: str, rates: Sequence[float], recalls: Sequence[float]
) -> dict[str, Any]:
    """The whole evaluation as plain data.

    Args:
        reference: name of the corpus whose benign rows set the thresholds.
        rates: false-positive rates to judge at.
        recalls: macro recalls (mean over the files with attacks) to judge false positives at.

    Raises:
        ConfigError: ``reference`` is not among the files or has no benign rows, or a rate is outside (0, 1).
    """
    for value in (*rates, *recalls):
        if not 0 < value < 1:
            raise ConfigError("rate", value, "a share between 0 and 1")
    by_name = {item.corpus.name: item for item in judged}
    if reference not in by_name:
        raise ConfigError("reference", reference, "one of " + ", ".join(by_name))
    benign = by_name[reference].corpus.label == 0
    if not benign.any():
        raise ConfigError("reference", reference, "a file with benign rows (label 0)")
    clean = by_name[reference].danger[benign]
    clean_harmful = by_name[reference].harmful[benign]
    points = {f"fpr {rate:g}": (threshold_at(clean, rate), threshold_at(clean_harmful, rate)) for rate in rates}
    harmful_at_one = threshold_at(clean_harmful, 0.01)
    for recall in recalls:
        points[f"recall {recall:g}"] = (_threshold_for_recall(judged, recall), harmful_at_one)
    rows = []
    for item in judged:
        for label, group, chosen, scores, which in _groups(item):
            row: dict[str, Any] = {"file": item.corpus.name, "label": label, "group": group, "n": int(chosen.sum())}
            row["flag"] = asdict(Rate.of(np.isin(item.action[chosen], FLAGGING)))
            row["block"] = asdict(Rate.of(np.isin(item.action[chosen], BLOCKING)))
            for name, thresholds in points.items():
                row[name] = asdict(Rate.of(scores[chosen] > thresholds[which]))
            rows.append(row)
    attacks = [row for row in rows if row["group"] == "attack"]
    columns = ["flag", "block", *points]
    macro = {column: float(np.mean([row[column]["rate"] for row in attacks])) for column in columns} if attacks else {}
    return {
        "reference": {"file": reference, "n": int(benign.sum())},
        "thresholds": {name: {"minus_log10_p": values[0], "harmful": values[1]} for name, values in points.items()},
        "rows": rows,
        "macro_detection": macro,
        "could_not_judge": sum(item.failed for item in judged),
    }


def _groups(item: Judged) -> list[tuple[int, str, npt.NDArray[np.bool_], npt.NDArray[np.float64], int]]:
    label, threat = item.corpus.label, item.corpus.threat
    groups = [
        (1, "attack", (label == 1) & (threat != "harmful_request"), item.danger, 0),
        (1, "harmful_request", threat == "harmful_request", item.harmful, 1),
        (0, "benign", label == 0, item.danger, 0),
    ]
    return [group for group in groups if group[2].any()]


def _threshold_for_recall(judged: Sequence[Judged], recall: float) -> float:
    attacks = [item.danger[group[2]] for item in judged for group in _groups(item) if group[1] == "attack"]
    if not attacks:
        raise DataError("evaluation", "no file holds attacks, so there is no recall to set a threshold by")
    candidates = np.unique(np.concatenate(attacks))
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if np.mean([np.mean(scores > candidates[middle]) for scores in attacks]) >= recall:
            low = middle
        else:
            high = middle - 1
    return float(candidates[low])
