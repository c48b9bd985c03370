"""Sample evidence: which caught rows to show one by one, with their texts from the verdicts or the original logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.detect.meanings import meanings_as_shipped
from aimds.errors import DataError
from aimds.jobs.report.excerpts import EVIDENCE, PII, Mark, Piece, excerpt
from aimds.jobs.report.verdict_files import DATETIME, VerdictFile, find
from aimds.jobs.scan.columns import Columns, resolve
from aimds.taxonomy import CODES

EXCERPT_BYTES = 640
_BATCH_BYTES = 32_000_000
_FIELDS = (
    *(
        "row",
        "request_id",
        "session_id",
        "turn",
        "tenant",
        "ts",
        "channel",
        "action",
        "threat_type",
        "score",
        "p_value",
    ),
    *("evidence", "spans"),
)


@dataclass(slots=True)
class Sample:
    """One caught row; ``pieces`` is its excerpt, None where its text is not at hand."""

    file: int
    row: int
    request_id: str
    session_id: str | None
    turn: int | None
    tenant: str | None
    ts: datetime | None
    channel: str
    action: str
    threat_type: str
    score: float | None
    p_value: float | None
    evidence: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    pieces: list[Piece] | None = field(default=None)
    means: str | None = field(default=None)
    """What the words in another language that gave it away mean in English."""

    def attach(self, text: bytes, *, mask: bool) -> None:
        """Cut the excerpt out of ``text``; with ``mask`` personal data and secrets are left out of it."""
        marks = [Mark(item["start"], item["end"], EVIDENCE, str(item["pattern_id"])) for item in self.evidence]
        marks += [Mark(item["start"], item["end"], PII, str(item["kind"])) for item in self.spans]
        pieces = excerpt(text, marks, budget=EXCERPT_BYTES)
        self.pieces = _masked(pieces) if mask else pieces
        self.means = next((found.told for found in meanings_as_shipped(self.evidence, text).values()), None)


def _masked(pieces: list[Piece]) -> list[Piece]:
    kept: list[Piece] = []
    for piece in pieces:
        if piece.kind == PII:
            piece = piece._replace(text="")
            if kept and kept[-1] == piece:
                continue
        kept.append(piece)
    return kept


class Chooser:
    """Keeps the highest-scored caught rows of each threat type, no two of a type with the same leading pattern."""

    def __init__(self, per_threat: int) -> None:
        self._per_threat = per_threat
        self._kept: dict[str, dict[str, Sample]] = {}

    def add(self, file: int, caught: pl.DataFrame) -> None:
        """Take in the caught rows of one batch, with their row number in the file as ``row``."""
        if not caught.height:
            return
        lead = pl.col("evidence").list.get(0, null_on_oob=True).struct.field("pattern_id").fill_null("")
        best = (
            caught.select(*_FIELDS, lead=lead)
            .with_columns(DATETIME)
            .sort(pl.col("score").fill_null(-1.0), "row", descending=[True, False])
            .unique(["threat_type", "lead"], keep="first", maintain_order=True)
            .group_by("threat_type", maintain_order=True)
            .head(self._per_threat)
        )
        for values in best.iter_rows(named=True):
            lead_id = values.pop("lead")
            values["evidence"], values["spans"] = values["evidence"] or [], values["spans"] or []
            kept = self._kept.setdefault(str(values["threat_type"]), {})
            if lead_id not in kept or _strength(kept[lead_id]) < (values["score"] or 0.0):
                kept[lead_id] = Sample(file=file, **values)
            if len(kept) > self._per_threat:
                weakest = min(kept, key=lambda key: (_strength(kept[key]), -kept[key].file, -kept[key].row))
                del kept[weakest]

    def best(self, n: int) -> list[Sample]:
        """At most ``n`` samples, as even over the threat types as they allow; by type, then strongest first."""
        queues = [sorted(kept.values(), key=_order) for _, kept in sorted(self._kept.items())]
        chosen: list[Sample] = []
        for turn in range(self._per_threat):
            chosen += [queue[turn] for queue in queues if len(queue) > turn]
        return sorted(chosen[:n], key=lambda one: (CODES.get(one.threat_type, 0) or 99, one.threat_type, *_order(one)))


def _strength(sample: Sample) -> float:
    return sample.score or 0.0


def _order(sample: Sample) -> tuple[float, int, int]:
    return -_strength(sample), sample.file, sample.row


def attach_texts(
    samples: list[Sample], files: Sequence[VerdictFile], requests: Sequence[str | Path] = (), *, mask: bool = True
) -> list[Sample]:
    """``samples`` with their excerpts: from the verdicts' own ``text`` column, else from the logs ``requests``.

    A log is matched by file name and row (a scan keeps both), checked against the request id where the log has one;
    what is not found so is looked up by request id in all logs. A sample that is found nowhere keeps ``pieces`` None.

    Raises:
        DataError: a log cannot be read.
        SchemaError: a log has no text column.
    """
    for index, file in enumerate(files):
        wanted = {one.row: one for one in samples if one.file == index}
        if wanted and "text" in file.columns:
            for row, text in _rows(file.path, "text", wanted):
                wanted[row].attach(text, mask=mask)
    if not requests:
        return samples
    logs = [_Log.open(path) for path in find(requests)]
    for index, file in enumerate(files):
        wanted = {one.row: one for one in samples if one.file == index and one.pieces is None}
        for log in logs:
            if wanted and log.path.name == file.path.name and log.rows == file.rows:
                same = log.ids(wanted)
                for row, text in _rows(log.path, log.text, wanted):
                    if same.get(row, wanted[row].request_id) == wanted[row].request_id:
                        wanted[row].attach(text, mask=mask)
    by_id = {one.request_id: one for one in samples if one.pieces is None}
    for log in logs:
        found = {row: by_id[name] for row, name in log.rows_of(by_id)}
        for row, text in _rows(log.path, log.text, found):
            found[row].attach(text, mask=mask)
    return samples


@dataclass(frozen=True, slots=True)
class _Log:
    path: Path
    rows: int
    text: str
    request_id: str | None

    @classmethod
    def open(cls, path: Path) -> _Log:
        with _parquet(path) as file:
            used = resolve(file.schema_arrow, Columns(), str(path))[0].used()
            return cls(path, file.metadata.num_rows, used["text"], used.get("request_id"))

    def ids(self, rows: Iterable[int]) -> dict[int, str]:
        if self.request_id is None:
            return {}
        return {row: value.decode("utf-8", "replace") for row, value in _rows(self.path, self.request_id, rows)}

    def rows_of(self, ids: Iterable[str]) -> Iterator[tuple[int, str]]:
        wanted = pa.array(sorted(ids), pa.large_string())
        if self.request_id is None or not len(wanted):
            return
        first = 0
        with _parquet(self.path) as file:
            for batch in file.iter_batches(columns=[self.request_id]):
                names = batch.column(0).cast(pa.large_string())
                for at in pc.indices_nonzero(pc.is_in(names, value_set=wanted)).to_pylist():
                    yield first + at, names[at].as_py()
                first += batch.num_rows


def _parquet(path: Path, **options: Any) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, **options)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"not a readable Parquet file: {error}") from error


def _rows(path: Path, column: str, rows: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """``column`` of the given rows as bytes (nulls left out), reading only the row groups that hold them.

    The column is read as a dictionary: a tiny file may hold one huge text a million times over.
    """
    wanted = sorted(rows)
    if not wanted:
        return
    with _parquet(path, read_dictionary=[column]) as file:
        first = 0
        for group in range(file.metadata.num_row_groups):
            n = file.metadata.row_group(group).num_rows
            inside = [row for row in wanted if first <= row < first + n]
            if inside:
                yield from _group_rows(file, path, group, column, first, inside)
            first += n


def _group_rows(
    file: pq.ParquetFile, path: Path, group: int, column: str, first: int, wanted: list[int]
) -> Iterator[tuple[int, bytes]]:
    metadata = file.metadata.row_group(group)
    index = file.schema_arrow.names.index(column)
    stored = metadata.column(index).total_uncompressed_size if index < metadata.num_columns else 0
    batch_rows = max(1, min(4096, _BATCH_BYTES * metadata.num_rows // max(1, stored)))
    position = first
    try:
        for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group], columns=[column]):
            values = batch.column(0)
            for row in wanted:
                if position <= row < position + batch.num_rows:
                    value = _bytes(values, row - position)
                    if value is not None:
                        yield row, value
            position += batch.num_rows
            if position > wanted[-1]:
                return
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"damaged: {error}") from error


def _bytes(values: pa.Array, at: int) -> bytes | None:
    if not values[at].is_valid:
        return None
    if pa.types.is_dictionary(values.type):
        values, at = values.dictionary, values.indices[at].as_py()
    one = values.slice(at, 1).cast(pa.large_string()).cast(pa.large_binary())[0].as_py()
    return one if isinstance(one, bytes) else None
