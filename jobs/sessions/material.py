"""Labelled sessions, each turn screened and followed: what the training and the evaluation look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from aimds import kernels
from aimds.analyze.series import INPUTS, surprise
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.sessions import Sessions
from aimds.errors import DataError, SchemaError
from aimds.kernels import ragged
from aimds.schema import requests
from aimds.screener import Screener

F64 = npt.NDArray[np.float64]

COLUMNS: Final = ("session_id", "turn", "role", "text", "label", "source", "license")


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """S sessions. ``label`` int8 (S,) and ``source`` (S,) of each, ``values`` their series of surprises, ``threats``
    the threat type of each value, ``rephrase`` and ``split`` float64 (S,) what their texts show at the last turn."""

    name: str
    label: npt.NDArray[np.int8]
    source: npt.NDArray[np.object_]
    values: Sequence[F64]
    threats: Sequence[Sequence[str]]
    rephrase: F64
    split: F64
    licenses: dict[str, str]
    digest: str
    turn_model: str

    @property
    def sources(self) -> list[str]:
        """Every source, sorted."""
        return sorted(set(self.source.tolist()))

    def of(self, source: str, label: int) -> npt.NDArray[np.bool_]:
        """Which sessions are those of ``source`` with that ``label``, bool (S,)."""
        return np.asarray((self.source == source) & (self.label == label), np.bool_)

    @property
    def families(self) -> list[str]:
        """Every family of sources, sorted: the same name up to its owner and remarks, with and without attacks."""
        return sorted({family(source) for source in self.sources})

    def of_family(self, name: str, label: int) -> npt.NDArray[np.bool_]:
        """Which sessions are those of the family ``name`` with that ``label``, bool (S,)."""
        mine = np.array([family(source) == name for source in self.source.tolist()], np.bool_)
        return np.asarray(mine & (self.label == label), np.bool_)

    def series(self, rows: npt.NDArray[np.int64]) -> list[F64]:
        """The series of the sessions ``rows``."""
        return [self.values[row] for row in rows.tolist()]

    def parts(self, rows: npt.NDArray[np.int64]) -> Parts:
        """What the sessions ``rows`` show at their last turn."""
        values, offsets = ragged.joined(self.series(rows)) if len(rows) else (np.zeros(0), np.zeros(1, np.int64))
        features = kernels.session_series(values, offsets)
        return Parts(features, np.diff(offsets), self.rephrase[rows], self.split[rows])


def family(source: str) -> str:
    """The name that sources made from one another share: the first word after the owner."""
    return source.partition(" (")[0].rpartition("/")[2].split(" ")[0]


def read(path: Path, screener: Screener) -> Material:
    """The sessions in the Parquet file ``path`` as ``screener`` sees them; ``label`` is that of a whole session.

    Raises:
        DataError: not a Parquet file.
        SchemaError: a column is missing.
    """
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(path, f"not a readable Parquet file: {error}") from error
    for name in COLUMNS:
        if name not in frame.columns:
            raise SchemaError(name, f"missing in {path}; sessions have the columns {', '.join(COLUMNS)}")
    frame = frame.sort("source", "session_id", "turn", maintain_order=True)
    return follow(str(path), frame, screener)


def follow(name: str, frame: pl.DataFrame, screener: Screener) -> Material:
    """The sessions in ``frame``, which holds COLUMNS and has the rows of a session together and in order."""
    frame = frame.with_columns(key=pl.col("source") + "\x00" + pl.col("session_id"))
    table = frame.select(
        session_id="key", turn=pl.col("turn").cast(pl.Int64), channel=pl.col("role"), text=pl.col("text")
    )
    batch = requests(table.to_arrow())
    verdicts = screener.screen_batch(batch)
    sessions = Sessions(_UNFITTED, capacity=max(1, frame["key"].n_unique()), window=1024, screener=screener)
    last = frame.with_row_index("row").group_by("key", maintain_order=True).agg(pl.col("row").last())["row"].to_numpy()
    rephrase, split = np.empty(frame.height), np.empty(frame.height)
    for start, stop in _ranges(frame.height, sessions.table.capacity):
        part = batch.slice(start, stop - start), verdicts.slice(start, stop - start)
        parts, _, _ = sessions.follow(*part, 0.0)
        assert parts.rephrase is not None
        assert parts.split is not None
        rephrase[start:stop], split[start:stop] = parts.rephrase, parts.split
    scored = frame.with_columns(
        surprise=pl.Series(surprise(verdicts.column("p_value").to_numpy(zero_copy_only=False))),
        threat=pl.Series(verdicts.column("threat_type").cast(pa.string()).to_pylist()),
    ).filter(pl.col("role").is_in(INPUTS))
    grouped = frame.select("key", "label", "source").unique("key", maintain_order=True, keep="first")
    inside = scored.group_by("key", maintain_order=True).agg("surprise", "threat")
    joined = grouped.join(inside, on="key", how="left", maintain_order="left")
    return Material(
        name=name,
        label=joined["label"].to_numpy().astype(np.int8),
        source=np.array(joined["source"].to_list(), object),
        values=[np.array(row or [], np.float64) for row in joined["surprise"].to_list()],
        threats=[row or [] for row in joined["threat"].to_list()],
        rephrase=rephrase[last],
        split=split[last],
        licenses=dict(frame.select("source", "license").unique("source").iter_rows()),
        digest=_digest(frame["text"].to_list()),
        turn_model=screener.versions["model"],
    )


_UNFITTED = SessionModel({}, {"calibration": {"slope": 1.0, "intercept": 0.0}}, "")


def _ranges(rows: int, step: int) -> list[tuple[int, int]]:
    step = min(step, 8192)
    return [(start, min(rows, start + step)) for start in range(0, rows, step)]


def _digest(texts: Sequence[str]) -> str:
    # Each with its length in front.
    made = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "replace")
        made.update(len(content).to_bytes(8, "little") + content)
    return made.hexdigest()
