"""JSON Lines and CSV as tables: cut into byte ranges of whole records, a bad record reported for itself alone.

CSV: the first record is the header, and a quoted field may hold line ends. Both are UTF-8; other bytes are kept as
they are in text, for the screener to report. Every scalar is read as text, but for what shall be screened: a JSON value
that is no string is a problem of its row there. Blank lines are no records. A quote that nothing closes would take all
that follows for its field: from its record on, each line is a record of its own.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds.jobs.scan.columns import AS_JSON, NO_TEXT
from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.reading import DECODE_ROWS, Chunk, Group, ReadError, Slice, reason

MAX_RECORD_BYTES = 256 << 20
# A record is read whole before its bytes are counted, so both may be passed by one record.
_SAMPLE_RECORDS, _SAMPLE_BYTES = 256, 16 << 20
_CHUNK_BYTES = 4 << 20
_BUFFER_BYTES = 1 << 20
_KEEP_BYTES = pc.CastOptions(target_type=pa.large_string(), allow_invalid_utf8=True)

_KINDS = ((bool, "true or false"), ((int, float), "a number"), (list, "a list"), (dict, "an object"))

Record = tuple[dict[str, Any], str]
"""Fields of a record, and what is wrong with it ("" for nothing)."""


class _Lines:
    """Lines of a file as text, the byte offset of what was not read yet, and whether one was asked for at the end.

    ``alone``: the offset from which each line of a CSV file is a record of its own, where that is known.
    """

    def __init__(self, source: Source, at: int, alone: int | None = None) -> None:
        raw = source.open()
        raw.seek(at)
        self._file, self._label, self.offset = io.BufferedReader(raw, _BUFFER_BYTES), source.label, at
        self.alone, self.ended = alone, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_RECORD_BYTES + 1)
        if not line:
            self.ended = True
            raise StopIteration
        if len(line) > MAX_RECORD_BYTES:
            raise ReadError(self._label, f"has a line of more than {MAX_RECORD_BYTES} bytes at byte {self.offset}")
        first, self.offset = self.offset, self.offset + len(line)
        if first == 0 and line.startswith(b"\xef\xbb\xbf"):
            line = line[3:]
        return line.decode("utf-8", "surrogateescape")

    def single_from(self, at: int) -> None:
        """Go back to ``at``, the beginning of a record, from which each line is one."""
        self._file.seek(at)
        self.offset = self.alone = at


class _Reported:
    """Turns what reading can raise into a ReadError that names the file."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, csv.Error, pa.ArrowException)) and not isinstance(error, MemoryError):
            problem = _binary(self._source) or reason(error)
            raise ReadError(self._source.label, f"cannot be read as {self._source.kind}: {problem}") from error


def _binary(source: Source) -> str:
    with contextlib.suppress(OSError), source.open() as file:
        if b"\0" in file.read(_BUFFER_BYTES):
            return f"its bytes are not UTF-8 text (UTF-16, or no text at all); is it {source.kind}?"
    return ""


class LineTable:
    """A file of records as a single row group."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._header: list[str] = []
        self._first = 0
        with _Reported(source):
            if source.kind == "csv":
                lines = _Lines(source, 0)
                header = next(_csv(lines), [])
                if isinstance(header, str):
                    raise ReadError(source.label, _binary(source) or f"has no header: {header}")
                self._header, self._first = header, lines.offset
            kinds = self._sample()
        if kinds is None:
            raise ReadError(source.label, _binary(source) or f"holds no {source.kind} record")
        try:
            self.schema = pa.schema([_field(name, kinds[name]) for name in self._header or kinds])
        except UnicodeEncodeError as error:
            problem = _binary(source) or "the name of a column is not UTF-8 text; is the file in another encoding?"
            raise ReadError(source.label, problem) from error

    def _sample(self) -> dict[str, set[type]] | None:
        """The columns, and the types of what the first records hold in each but null; None where there is no record."""
        kinds: dict[str, set[type]] = {name: set() for name in self._header}
        any_record = bool(self._header)
        lines = _Lines(self._source, self._first)
        for fields, problem in islice(self._records(lines), _SAMPLE_RECORDS):
            if not problem:
                any_record = True
                for name, value in fields.items():
                    kinds.setdefault(name, set()).update(() if value is None else (type(value),))
            if lines.offset - self._first >= _SAMPLE_BYTES:
                break
        return kinds if any_record else None

    def layout(self, unit_rows: int) -> list[Group]:
        rows, offsets = 0, [self._first]
        with _Reported(self._source):
            lines = _Lines(self._source, self._first)
            for _ in self._raw(lines):
                rows += 1
                if rows % unit_rows == 0:
                    offsets.append(lines.offset)
        return [Group(rows, tuple(offsets[: -(-rows // unit_rows)]), lines.alone)]

    def chunks(self, where: Slice, columns: list[str], text: str | None = None) -> Iterator[Chunk]:
        wanted = where.stop - where.start
        number = where.first_row + where.start
        seen = 0
        with _Reported(self._source):
            lines = _Lines(self._source, where.at, where.alone)
            records = islice(self._records(lines), wanted)
            while held := _held(records, lines):
                seen += len(held)
                yield _chunk(held, number, columns, text)
                number += len(held)
        if seen < wanted:
            raise ReadError(self._source.label, f"ends {wanted - seen} records early: it has become shorter")

    def _raw(self, lines: _Lines) -> Iterator[Any]:
        if self._source.kind == "csv":
            return _csv(lines)
        return (line for line in lines if not line.isspace())

    def _records(self, lines: _Lines) -> Iterator[Record]:
        return map(self._record if self._source.kind == "csv" else _parse, self._raw(lines))

    def _record(self, row: list[str] | str) -> Record:
        if isinstance(row, str):
            return {}, f"not a CSV record: {row}"
        expected = len(self._header)
        problem = "" if len(row) == expected else f"not a CSV record: {len(row)} fields, the header has {expected}"
        return dict(zip(self._header, row, strict=False)), problem


def _csv(lines: _Lines) -> Iterator[list[str] | str]:
    """Records that are not blank; of a line that is none, what is wrong with it."""
    # csv pulls one line at a time, so after each record the offset of ``lines`` is where the next record begins.
    csv.field_size_limit(MAX_RECORD_BYTES)
    reader = csv.reader(lines)
    while lines.alone is None or lines.offset < lines.alone:
        first = lines.offset
        try:
            row = next(reader, None)
        except csv.Error:
            # A field of more than that is a line that is refused, or a quote that goes on.
            if lines.offset - first <= MAX_RECORD_BYTES:
                raise
            lines.single_from(first)
            break
        if row is None:
            return
        # Only within a quote does csv ask for a line after the last one.
        if lines.ended:
            lines.single_from(first)
        elif row:
            yield row
    yield from filter(None, map(_single, lines))


def _single(line: str) -> list[str] | str:
    given = iter((line, ""))
    try:
        row = next(csv.reader(given))
    except csv.Error as error:
        return reason(error)
    return row if next(given, None) is not None else "a quote in it is not closed"


def _held(records: Iterator[Record], lines: _Lines) -> list[Record]:
    """The next few of ``records``, which come from ``lines``; none at their end."""
    first = lines.offset
    held: list[Record] = []
    while len(held) < DECODE_ROWS and lines.offset - first < _CHUNK_BYTES and (record := next(records, None)):
        held.append(record)
    return held


def _parse(line: str) -> Record:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not a JSON record: {reason(error)}"
    return (value, "") if isinstance(value, dict) else ({}, "not a JSON record: expected an object")


def _field(name: str, kinds: set[type]) -> pa.Field:
    if kinds == {list}:
        return pa.field(name, pa.list_(pa.null()), metadata=AS_JSON)
    if kinds == {dict}:
        return pa.field(name, pa.struct([]), metadata=AS_JSON)
    return pa.field(name, pa.large_string(), metadata=None if str in kinds else NO_TEXT)


def _chunk(records: list[Record], number: int, columns: list[str], text: str | None) -> Chunk:
    arrays = [
        pc.cast(pa.array([_cell(fields.get(name)) for fields, _ in records], pa.large_binary()), options=_KEEP_BYTES)
        for name in columns
    ]
    problems = {
        row: problem
        for row, (fields, found) in enumerate(records)
        if (problem := found or (_no_text(text, fields.get(text)) if text else ""))
    }
    numbers = pa.array(range(number, number + len(records)), pa.int64())
    return Chunk(pa.RecordBatch.from_arrays(arrays, names=columns), numbers, problems)


def _no_text(name: str, value: Any) -> str:
    """What is wrong with ``value`` as a text to screen; nothing with null, of which the screener says so."""
    if value is None or isinstance(value, str):
        return ""
    kind = next(word for types, word in _KINDS if isinstance(value, types))
    return f"{name} is {kind}, expected a string"


def _cell(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")
