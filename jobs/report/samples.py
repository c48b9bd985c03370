"""Sample evidence: which caught rows to show one by one, with their texts from the verdicts or the original logs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
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
from aimds.excerpts import EVIDENCE, PII, Mark, Piece, excerpt
from aimds.jobs.report.verdict_files import DATETIME, VerdictFile, find, scanned_names, stream
from aimds.jobs.scan.columns import Columns, resolve
from aimds.taxonomy import CODES

EXCERPT_BYTES = 640
NO_LOGS = "The text is not in these verdicts: scan with --with-text, or name the logs with --requests."
NO_LOG = "None of the logs named is known to hold this row: name others, or scan with --with-text."
MANY_LOGS = "More than one row of the logs named may be this one, so none is shown: scan with --with-text."
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
    """One caught row; ``pieces`` is its excerpt, None where its text is not at hand, and ``missing`` why it is not."""

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
    missing: str | None = field(default=NO_LOGS)
    means: str | None = field(default=None)
    """What the words in another language that gave it away mean in English."""

    def attach(self, text: bytes, *, mask: bool) -> None:
        """Cut the excerpt out of ``text``; with ``mask`` personal data and secrets are left out of it."""
        marks = [Mark(item["start"], item["end"], EVIDENCE, str(item["pattern_id"])) for item in self.evidence]
        marks += [Mark(item["start"], item["end"], PII, str(item["kind"])) for item in self.spans]
        pieces = excerpt(text, marks, budget=EXCERPT_BYTES)
        self.pieces, self.missing = _masked(pieces) if mask else pieces, None
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

    A log is matched by its path, which a scan keeps below its folder, and row, checked against the request id where the
    log has one; what fits no log so is looked up by a request id that is there once. A sample that is found nowhere, or
    more than once, keeps ``pieces`` None: the text of another request must not stand for its own.

    Raises:
        DataError: a log cannot be read.
        SchemaError: a log has no text column.
    """
    for index, file in enumerate(files):
        wanted = {one.row: one for one in samples if one.file == index}
        if wanted and "text" in file.columns:
            for row, text in _rows(file.path, "text", wanted):
                wanted[row].attach(text, mask=mask)
    textless = [one for one in samples if one.pieces is None]
    if not requests or not textless:
        return samples
    # One file may be named in two ways.
    logs = [_Log.open(path) for path in {path.resolve(): path for path in find(requests)}.values()]
    for one in textless:
        one.missing = NO_LOG
    names = scanned_names(files)
    for index, file in enumerate(files):
        wanted = {one.row: one for one in textless if one.file == index}
        if wanted:
            _attach_by_path(
                wanted, [log for log in logs if log.rows == file.rows and log.ends(names[index].parts)], mask
            )
    _attach_by_id([one for one in textless if one.missing == NO_LOG], files, logs, mask)
    return samples


def _attach_by_path(wanted: dict[int, Sample], logs: Sequence[_Log], mask: bool) -> None:
    fit: dict[int, list[_Log]] = {}
    for log in logs:
        same = log.ids(wanted)
        for row, one in wanted.items():
            if same.get(row, one.request_id) == one.request_id:
                fit.setdefault(row, []).append(log)
    for row, found in fit.items():
        if len(found) > 1:
            wanted[row].missing = MANY_LOGS
    for log in logs:
        for row, text in _rows(log.path, log.text, [row for row, found in fit.items() if found == [log]]):
            wanted[row].attach(text, mask=mask)


def _attach_by_id(samples: Sequence[Sample], files: Sequence[VerdictFile], logs: Sequence[_Log], mask: bool) -> None:
    # A row without an id has its own number for one, which says nothing of other files.
    by_id = {one.request_id: one for one in samples if one.request_id != str(one.row)}
    found = [(log, row, name) for log in logs for row, name in log.rows_of(by_id)]
    in_logs = Counter(name for _, _, name in found)
    in_verdicts = _occurrences(files, in_logs)
    unsure = {name for name, times in in_logs.items() if times > 1 or in_verdicts[name] > 1}
    for one in samples:
        if one.request_id in unsure:
            one.missing = MANY_LOGS
    for log in logs:
        mine = {row: by_id[name] for of, row, name in found if of is log and name not in unsure}
        for row, text in _rows(log.path, log.text, mine):
            mine[row].attach(text, mask=mask)


def _occurrences(files: Sequence[VerdictFile], ids: Collection[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in files if ids else ():
        for frame in stream(file, ("request_id",)):
            counts.update(frame["request_id"].filter(frame["request_id"].is_in(list(ids))).to_list())
    return counts


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

    def ends(self, name: tuple[str, ...]) -> bool:
        """Whether its path ends with the parts ``name``."""
        return Path(os.path.abspath(self.path)).parts[-len(name) :] == name

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
