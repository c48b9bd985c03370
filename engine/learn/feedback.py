"""The replay buffer: what people have confirmed or refuted (FEEDBACK), in Parquet parts that are only added.

    part-000007.parquet    whole or not there; the number says the order

A decision that comes twice is kept once. No session, tenant or reviewer may fill the buffer: rows over its cap are
refused and counted, so that who floods it with feedback displaces nobody's. Over `Caps.rows` the oldest parts go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.record import disk
from aimds.schema import ACTIONS, CHANNELS, FEEDBACK, LABELS, text_column
from aimds.taxonomy import THREATS

DIGITS = 6
_KNOWN = {"channel": CHANNELS, "action": ACTIONS, "threat_type": THREATS, "label": LABELS}
Source = str | tuple[str | None, str] | None
"""Where a row comes from: a tenant, a reviewer, or a session as its tenant and id."""
REQUEST = ("tenant", "request_id", "session_id", "channel")
"""With the text, what makes two rows one request: an id is chosen by the client, as `review.rows.key_of` says."""
_DECISION = (*REQUEST, "reviewer", "decided_at")
"""With the text, what makes a decision: the same row read again has the same, or no text any more."""


@dataclass(frozen=True, slots=True)
class Caps:
    """At most so many rows of one session, tenant or reviewer, and in all."""

    session: int = 20
    tenant: int = 2_000
    reviewer: int = 2_000
    rows: int = 50_000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise ConfigError(f"caps.{name}", value, "a whole number of at least 1")


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the rows of one `Replay.add`; ``over`` counts the refused by the cap that refused them."""

    rows: int
    known: int
    over: dict[str, int]


def feedback(table: pa.Table) -> pa.Table:
    """``table`` as FEEDBACK: columns cast, others left out, missing ones that may be null added.

    Raises:
        SchemaError: a column is missing or cannot be cast, or holds a value that is not known; names column and row.
    """
    columns = []
    for field in FEEDBACK:
        if field.name not in table.column_names:
            if not field.nullable:
                raise SchemaError(field.name, "missing; this is not a table of feedback")
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        try:
            column = text_column(column.combine_chunks()) if field.name == "text" else _cast(column, field)
        except pa.ArrowException as error:
            raise SchemaError(field.name, f"cannot become {field.type}: {error}") from error
        if not field.nullable and column.null_count:
            row = pc.index(column.is_null(), pa.scalar(True)).as_py()
            raise SchemaError(field.name, "is null, which it must not be", row=row)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=FEEDBACK)


def _cast(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    known = _KNOWN.get(field.name)
    if known is None:
        return column.cast(field.type, safe=False) if pa.types.is_timestamp(field.type) else column.cast(field.type)
    plain = column.cast(pa.string())
    codes = pc.index_in(plain, value_set=pa.array(known, pa.string()))
    wrong = pc.index(pc.and_(codes.is_null(), plain.is_valid()), pa.scalar(True)).as_py()
    if wrong >= 0:
        raise SchemaError(field.name, f"is {plain[wrong].as_py()!r}, expected one of {', '.join(known)}", row=wrong)
    indices = codes.combine_chunks().cast(pa.int8())
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, pa.array(known, pa.string()))])


@dataclass(frozen=True, slots=True)
class Replay:
    """The buffer in ``folder``, which need not exist yet."""

    folder: Path
    caps: Caps = Caps()

    def parts(self) -> list[Path]:
        """The parts there are, oldest first."""
        return sorted(self.folder.glob("part-*.parquet"))

    def read(self) -> pa.Table:
        """All rows, oldest part first.

        Raises:
            DataError: a part cannot be read.
        """
        tables = [read_feedback(part) for part in self.parts()]
        return pa.concat_tables(tables) if tables else FEEDBACK.empty_table()

    def add(self, table: pa.Table) -> Added:
        """Add the rows of ``table`` that are new and under the caps; durable when it returns.

        Raises:
            SchemaError: ``table`` is no FEEDBACK.
            DataError: the folder cannot be written, or a part not be read.
        """
        rows = feedback(table)
        with disk.locked(self.folder):
            there = self.read()
            seen = {key for given in _decisions(there) for key in (given, given[1:])}
            counts = {name: Counter(column) for name, column in _sources(there).items()}
            sources = _sources(rows)
            kept, known, over = [], 0, Counter[str]()
            for row, key in enumerate(_decisions(rows)):
                if key in seen or (key[0] is None and key[1:] in seen):
                    known += 1
                    continue
                cap = self._over(counts, {name: column[row] for name, column in sources.items()})
                if cap:
                    over[cap] += 1
                    continue
                seen |= {key, key[1:]}
                kept.append(row)
                for name, column in sources.items():
                    counts[name][column[row]] += 1
            if kept:
                self._write(rows.take(kept))
                self._bound()
        return Added(len(kept), known, dict(over))

    def tenants(
        self, *, session: str | None = None, tenant: str | None = None, request: str | None = None
    ) -> dict[str, int]:
        """How many rows `erase` would take out, by tenant; ``""``: by none."""
        rows = self.read()
        names = rows.filter(_of(rows, session, tenant, request)).column("tenant").to_pylist()
        return dict(Counter(name or "" for name in names))

    def erase(self, *, session: str | None = None, tenant: str | None = None, request: str | None = None) -> int:
        """Take out every row of a session, tenant or request (all that is given has to fit); how many there were.

        Args:
            tenant: ``""`` is that of rows without one.

        Raises:
            ConfigError: nothing is given.
            DataError: the folder cannot be written.
        """
        if session is None and tenant is None and request is None:
            raise ConfigError("subject", None, "a session or a tenant to erase")
        gone = 0
        with disk.locked(self.folder):
            for part in self.parts():
                table = read_feedback(part)
                mask = _of(table, session, tenant, request)
                hits = pc.sum(mask).as_py() or 0
                if hits:
                    _put(part, table.filter(pc.invert(mask)))
                    gone += hits
        return gone

    def _over(self, counts: dict[str, Counter[Source]], of: dict[str, Source]) -> str:
        for name, cap in (("session", self.caps.session), ("tenant", self.caps.tenant)):
            if of[name] is not None and counts[name][of[name]] >= cap:
                return name
        return "reviewer" if counts["reviewer"][of["reviewer"]] >= self.caps.reviewer else ""

    def _write(self, rows: pa.Table) -> None:
        last = self.parts()
        number = int(last[-1].stem.removeprefix("part-")) + 1 if last else 1
        _put(self.folder / f"part-{number:0{DIGITS}}.parquet", rows)

    def _bound(self) -> None:
        parts = self.parts()
        sizes = [pq.read_metadata(part).num_rows for part in parts]
        total = sum(sizes)
        for part, size in zip(parts[:-1], sizes, strict=False):
            if total <= self.caps.rows:
                break
            part.unlink()
            total -= size


def read_feedback(path: Path) -> pa.Table:
    """The FEEDBACK in a Parquet file.

    Raises:
        DataError: it cannot be read.
        SchemaError: it holds something else.
    """
    try:
        return feedback(pq.read_table(path))
    except (OSError, pa.ArrowException) as error:
        raise DataError(path, f"cannot be read as Parquet: {error}") from error


def _of(table: pa.Table, session: str | None, tenant: str | None, request: str | None) -> pa.ChunkedArray:
    mask = pa.chunked_array([pa.array([True] * table.num_rows, pa.bool_())])
    for name, value in (("session_id", session), ("tenant", tenant), ("request_id", request)):
        if value is not None:
            mask = pc.and_(mask, pc.equal(pc.fill_null(table.column(name), ""), value))
    return mask


def _put(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        disk.replace(path, sink.getvalue().to_pybytes())
        disk.sync_folder(path.parent)
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror}") from error


def _decisions(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    # The text first, as bytes: it may be no UTF-8.
    kinds = {"text": pa.large_binary(), "decided_at": pa.int64()}
    columns = ((name, table.column(name)) for name in ("text", *_DECISION))
    return zip(*(column.cast(kinds.get(name, column.type)).to_pylist() for name, column in columns), strict=True)


def _sources(table: pa.Table) -> dict[str, list[Source]]:
    tenants, sessions, reviewers = (table.column(name).to_pylist() for name in ("tenant", "session_id", "reviewer"))
    # Two tenants may have sessions of one id.
    pairs = [None if one is None else (tenant, one) for tenant, one in zip(tenants, sessions, strict=True)]
    return {"session": pairs, "tenant": tenants, "reviewer": reviewers}
