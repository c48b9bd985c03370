"""Labelled text for training and evaluation: a Parquet file or folder with columns text, label, category, source.

``label`` is 1 for an attack and 0 for benign text. ``category`` says which kind; ``terms``, where present, says under
which terms the source may be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.detect.texts import Texts
from aimds.errors import DataError, SchemaError
from aimds.schema import CHANNELS, text_column

THREAT_OF_CATEGORY = {
    "prompt_injection": "direct_injection",
    "direct_injection": "direct_injection",
    "indirect_injection": "indirect_injection",
    "jailbreak": "jailbreak",
    "system_prompt_leak": "prompt_leak",
    "prompt_leak": "prompt_leak",
    "data_exfiltration": "data_exfiltration",
    "encoded": "obfuscation",
    "obfuscation": "obfuscation",
    "harmful_request": "harmful_request",
}
"""Threat type of each category of attack a corpus may name."""
TOOL_SOURCES = ("InjecAgent", "ToolSword")
DOCUMENT_SOURCES = ("PIArena", "TaskTracker")
REQUIRED = ("text", "label", "category", "source")


@dataclass(frozen=True, slots=True)
class Corpus:
    """N labelled texts: ``label`` int8 (N,), ``category``, ``source`` and ``threat`` object (N,) of str ("none" for
    benign), ``channel`` int8 (N,) into `aimds.schema.CHANNELS`, ``licences`` by source where the file states them."""

    name: str
    texts: Texts
    label: npt.NDArray[np.int8]
    category: npt.NDArray[np.object_]
    source: npt.NDArray[np.object_]
    threat: npt.NDArray[np.object_]
    channel: npt.NDArray[np.int8]
    licences: dict[str, str]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[np.int64]) -> Corpus:
        """The rows ``rows``, in that order."""
        return Corpus(
            self.name,
            self.texts.take(rows),
            self.label[rows],
            self.category[rows],
            self.source[rows],
            self.threat[rows],
            self.channel[rows],
            self.licences,
        )

    def join(self, other: Corpus) -> Corpus:
        """The rows of this corpus, then those of ``other``."""
        mine, theirs = self.texts, other.texts
        texts = Texts(
            np.concatenate([mine.values, theirs.values]),
            np.concatenate([mine.offsets, theirs.offsets[1:] + mine.offsets[-1]]),
            np.concatenate([mine.valid, theirs.valid]),
        )
        return Corpus(
            self.name,
            texts,
            np.concatenate([self.label, other.label]),
            np.concatenate([self.category, other.category]),
            np.concatenate([self.source, other.source]),
            np.concatenate([self.threat, other.threat]),
            np.concatenate([self.channel, other.channel]),
            {**self.licences, **other.licences},
        )


def read(path: Path, *, terms: str | None = None) -> Corpus:
    """The corpus in a Parquet file.

    Args:
        terms: keep only rows whose ``terms`` column equals this; needs such a column.

    Raises:
        DataError: the file cannot be read, or no row is left.
        SchemaError: a column is missing or holds something else.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise DataError(path, "no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error
    for name in (*REQUIRED, *(("terms",) if terms else ())):
        if name not in table.column_names:
            raise SchemaError(name, f"missing in {path.name}; a labelled corpus has {', '.join(REQUIRED)}")
    if terms is not None:
        table = table.filter(pc.equal(table.column("terms"), terms))
    if not table.num_rows:
        raise DataError(path, "holds no rows" + (f" with terms == {terms!r}" if terms else ""))
    label = _labels(table.column("label"))
    category = table.column("category").to_numpy().astype(object)
    source = table.column("source").to_numpy().astype(object)
    known = {*THREAT_OF_CATEGORY}
    for row in np.flatnonzero(label == 1):
        if category[row] not in known:
            raise SchemaError(
                "category", f"is {category[row]!r}, expected one of {', '.join(sorted(known))}", row=int(row)
            )
    threat = np.array(
        [THREAT_OF_CATEGORY[kind] if attack else "none" for kind, attack in zip(category, label, strict=True)], object
    )
    text = text_column(table.column("text").combine_chunks())
    licences: dict[str, str] = {}
    if "license" in table.column_names:
        licences = dict(zip(source, table.column("license").to_pylist(), strict=True))
    channel = _channels(table, source, threat)
    return Corpus(path.stem, Texts.from_arrow(text), label, category, source, threat, channel, licences)


def _labels(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    values = column.to_pylist()
    for row, value in enumerate(values):
        if value not in (0, 1, "0", "1"):
            raise SchemaError("label", f"is {value!r}, expected 1 for an attack or 0 for benign text", row=row)
    return np.array([int(value) for value in values], np.int8)


def _channels(
    table: pa.Table, source: npt.NDArray[np.object_], threat: npt.NDArray[np.object_]
) -> npt.NDArray[np.int8]:
    if "channel" in table.column_names:
        codes = pc.index_in(table.column("channel").cast(pa.string()), value_set=pa.array(CHANNELS))
        return np.asarray(codes.fill_null(0), np.int8)
    codes = np.zeros(len(source), np.int8)
    for row, name in enumerate(source):
        if any(part in name for part in TOOL_SOURCES):
            codes[row] = CHANNELS.index("tool")
        elif any(part in name for part in DOCUMENT_SOURCES) or threat[row] == "indirect_injection":
            codes[row] = CHANNELS.index("document")
    return codes


def row_folds(rows: int, k: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold number 0..k-1 for each of ``rows``, drawn at random, equally many of each: an in-distribution split."""
    return np.random.default_rng((seed, k)).permutation(np.arange(rows) % k)


def folds(source: npt.NDArray[np.object_], label: npt.NDArray[np.int8], k: int) -> npt.NDArray[np.int64]:
    """A fold number 0..k-1 for each row such that all rows of a family of sources share one: leave-sources-out.

    Sources whose names agree up to a remark in brackets are one family: they may hold the same texts with and without
    an attack. Families are dealt largest first to the fold with the fewest rows of their class, so that every fold
    holds both.
    """
    fold = np.zeros(len(source), np.int64)
    load = np.zeros((k, 2), np.int64)
    families = np.array([str(name).partition(" (")[0] for name in source])
    _, inverse, counts = np.unique(families, return_inverse=True, return_counts=True)
    for index in np.argsort(-counts, kind="stable"):
        rows = inverse == index
        majority = int(label[rows].mean() >= 0.5)
        target = int(np.argmin(load[:, majority]))
        fold[rows] = target
        load[target] += np.bincount(label[rows], minlength=2)[:2]
    return fold
