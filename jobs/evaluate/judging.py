"""Labelled files through a screener: how dangerous each row looks, and what the policy would do about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.detect.texts import Texts
from aimds.errors import DataError
from aimds.jobs.corpus import Corpus
from aimds.respond.policy import Policy
from aimds.schema import CHANNELS, enum
from aimds.verdicts import Verdicts

F64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Advance = Callable[[int], None]

BATCH_ROWS = 8192
BATCH_BYTES = 16 << 20


class Screens(Protocol):
    """What can be judged: an `aimds.Screener`, or whatever answers like one."""

    @property
    def policy(self) -> Policy: ...

    def screen(self, source: Any) -> Verdicts: ...


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Verdicts on N rows: ``danger`` float64 (N,), −log10 of the p-value, and ``harmful`` float64 (N,), higher is
    worse; ``action`` object (N,) of str; ``failed``: rows without a verdict, which count as harmless."""

    danger: F64
    harmful: F64
    action: npt.NDArray[np.object_]
    failed: int

    def __len__(self) -> int:
        return len(self.danger)

    def take(self, rows: Rows | npt.NDArray[np.bool_]) -> Outcomes:
        """The outcomes of ``rows``; how many of them failed is not known apart."""
        return Outcomes(self.danger[rows], self.harmful[rows], self.action[rows], 0)


@dataclass(frozen=True, slots=True)
class Judged:
    """A corpus and what came out for each of its rows."""

    corpus: Corpus
    outcomes: Outcomes

    @property
    def attacks(self) -> npt.NDArray[np.bool_]:
        """Rows that manipulate; harmful requests are another question."""
        return np.asarray((self.corpus.label == 1) & (self.corpus.threat != "harmful_request"))


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


def join(parts: Sequence[Outcomes]) -> Outcomes:
    """The rows of all ``parts``, at least one."""
    return Outcomes(
        np.concatenate([part.danger for part in parts]),
        np.concatenate([part.harmful for part in parts]),
        np.concatenate([part.action for part in parts]),
        sum(part.failed for part in parts),
    )


def judge(screener: Screens, corpus: Corpus, advance: Advance = lambda rows: None) -> Judged:
    """Screen ``corpus``; ``advance`` is told the rows done."""
    return Judged(corpus, screen(screener, corpus.texts, corpus.channel, advance))


def screen(
    screener: Screens, texts: Texts, channel: npt.NDArray[np.int8], advance: Advance = lambda rows: None
) -> Outcomes:
    """Screen N ``texts`` in ``channel`` int8 (N,); ``advance`` is told the rows done."""
    parts = []
    for first, last in texts.slices(BATCH_ROWS, BATCH_BYTES):
        batch = request(texts.slice(first, last), channel[first:last])
        parts.append(_outcomes(screener, screener.screen(batch).table))
        advance(last - first)
    return join(parts or [Outcomes(np.zeros(0), np.zeros(0), np.zeros(0, object), 0)])


def request(texts: Texts, channel: npt.NDArray[np.int8]) -> pa.RecordBatch:
    """The rows as a screener takes them, without a copy of the bytes."""
    buffers = [None, pa.py_buffer(texts.offsets), pa.py_buffer(texts.values)]
    column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(texts), buffers)
    return pa.RecordBatch.from_arrays([column, enum(CHANNELS, channel)], ["text", "channel"])


def _outcomes(screener: Screens, table: pa.Table) -> Outcomes:
    p_value = table.column("p_value").to_numpy()
    danger = -np.log10(np.where(np.isnan(p_value), 1.0, p_value))
    harmful = np.nan_to_num(table.column("harmful_score").to_numpy()).astype(np.float64)
    # A redacted row is a finding of manipulation only where its p-value alone would have been flagged.
    action = np.array(table.column("action").to_pylist(), object)
    thresholds = screener.policy.settings[0].thresholds
    flag = np.array([thresholds[name].flag for name in table.column("channel").to_pylist()])
    action = np.where((action == "redact") & (p_value <= flag), "flag", action).astype(object)
    return Outcomes(danger, harmful, action, int(np.sum(table.column("status").to_numpy() == "error")))
