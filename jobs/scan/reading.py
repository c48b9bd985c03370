"""Reading inputs in small pieces of known real size: sizes that a file declares are never trusted.

A Parquet page of a few bytes can stand for gigabytes (dictionary and run-length coding), so rows are decoded a handful
at a time and gathered into batches by the bytes that they really hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import DataError
from aimds.jobs.scan.convert import plain
from aimds.jobs.scan.inputs import Source

# Decoding 16 rows at once costs under 1 µs a row more than 2,048 and bounds memory to 16 values, whatever their size.
DECODE_ROWS = 16
# A column stored as an Arrow dictionary brings its whole dictionary with each piece, so its pieces must be longer.
DECODE_ROWS_DICTIONARY = 256
_BUFFER_BYTES, _REMOTE_BUFFER_BYTES = 1 << 20, 8 << 20


class ReadError(DataError):
    """Some rows of an input cannot be read; the job reports them, skips them and goes on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows. ``numbers`` (n,) int64 are their numbers in the file; ``problems`` maps a row of the batch to
    why it could not be parsed."""

    batch: pa.RecordBatch
    numbers: pa.Array
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows [start, stop) of row group ``group``; ``first_row`` is the group's first row in the file, ``at`` a byte
    offset where lines begin, ``alone`` that of `Group` (line formats only)."""

    group: int
    start: int
    stop: int
    first_row: int
    at: int = 0
    alone: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A row group of ``rows`` declared rows. ``offsets`` are the byte offsets of its units, for line formats only;
    ``alone`` is the one from which each line is a record of its own, where a CSV file has such lines."""

    rows: int
    offsets: tuple[int, ...] = ()
    alone: int | None = None


class Table(Protocol):
    """An open input."""

    schema: pa.Schema

    def layout(self, unit_rows: int) -> list[Group]:
        """The row groups, to be cut into units of ``unit_rows`` rows; raises ReadError."""

    def chunks(self, where: Slice, columns: list[str], text: str | None = None) -> Iterator[Chunk]:
        """The rows of ``where`` in small pieces, projected to ``columns``; raises ReadError.

        ``text``: the column of what shall be screened; a row that holds something else there has a problem.
        """


def reason(error: BaseException) -> str:
    """The first line of an error, for a report."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


class ParquetTable:
    """A Parquet file, read forwards; consecutive slices of one row group continue where the last one ended."""

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            self._file = pq.ParquetFile(
                source.open(),
                pre_buffer=False,
                buffer_size=_REMOTE_BUFFER_BYTES if source.uri else _BUFFER_BYTES,
                page_checksum_verification=True,
            )
            self.schema = self._file.schema_arrow
            metadata = self._file.metadata
            self._groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        except MemoryError:
            raise
        except Exception as error:
            raise ReadError(source.label, f"is not a readable Parquet file: {reason(error)}") from error
        if any(rows < 0 for rows in self._groups):
            raise ReadError(
                source.label, "is not a readable Parquet file: a row group declares a negative number of rows"
            )
        self._cursor: _Cursor | None = None

    def layout(self, unit_rows: int) -> list[Group]:
        return [Group(rows) for rows in self._groups]

    def chunks(self, where: Slice, columns: list[str], text: str | None = None) -> Iterator[Chunk]:
        # The type of a column is that of all its values, so no row can have a problem of its own.
        cursor = self._cursor
        self._cursor = None
        if cursor is None or not cursor.continues(where.group, columns, where.start):
            cursor = _Cursor(self._file, where.group, columns, self._source.label)
        row = where.first_row + where.start
        for batch in cursor.take(where.start, where.stop):
            # Not from a range: pyarrow would look at its numbers one by one.
            yield Chunk(batch, pa.array(np.arange(row, row + batch.num_rows, dtype=np.int64)))
            row += batch.num_rows
        self._cursor = cursor


class _Cursor:
    """A place in one row group. It dies with the first error."""

    def __init__(self, file: pq.ParquetFile, group: int, columns: list[str], label: str) -> None:
        self._group, self._columns, self._label = group, columns, label
        schema = file.schema_arrow
        self._coded = coded = any(pa.types.is_dictionary(schema.field(name).type) for name in columns)
        self._batches = file.iter_batches(
            batch_size=DECODE_ROWS_DICTIONARY if coded else DECODE_ROWS,
            row_groups=[group],
            columns=columns,
            use_threads=False,
        )
        self._position = 0
        self._rest: pa.RecordBatch | None = None

    def continues(self, group: int, columns: list[str], start: int) -> bool:
        return (group, columns) == (self._group, self._columns) and start >= self._position

    def take(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        while self._position < stop:
            batch = self._next(stop)
            first, self._position = self._position, self._position + batch.num_rows
            if self._position > stop:
                self._rest = batch.slice(stop - first)
                batch, self._position = batch.slice(0, stop - first), stop
            if self._position > start:
                batch = batch.slice(start - first) if start > first else batch
                if self._coded:
                    yield from _decoded(batch)
                else:
                    yield batch

    def _next(self, stop: int) -> pa.RecordBatch:
        if self._rest is not None:
            batch, self._rest = self._rest, None
            return batch
        try:
            return next(self._batches)
        except StopIteration:
            problem = f"row group {self._group} ends after {self._position} rows, at least {stop} are declared"
            raise ReadError(self._label, problem) from None
        except MemoryError:
            raise
        except Exception as error:
            raise ReadError(self._label, f"row group {self._group} cannot be read: {reason(error)}") from error


def _decoded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, DECODE_ROWS):
        part = batch.slice(start, DECODE_ROWS)
        yield pa.RecordBatch.from_arrays(
            [plain(c) if pa.types.is_dictionary(c.type) else c for c in part.columns], names=part.schema.names
        )


def gather(chunks: Iterator[Chunk], max_rows: int, max_bytes: int) -> Iterator[Chunk]:
    """The same rows in pieces of at most ``max_rows`` rows and ``max_bytes`` real bytes, or one row that alone is
    larger.

    The cuts depend on the rows only, so the same slice is cut the same way in every run.
    """
    held: list[Chunk] = []
    rows = size = 0
    # All buffers together are never less than the real bytes and 20 times faster to ask for: while they stay within the
    # bound, so do the real bytes, and the cuts are the same.
    exact = False
    for chunk in chunks:
        for piece in _split(chunk, max_rows, max_bytes):
            piece_bytes = piece.batch.nbytes if exact else piece.batch.get_total_buffer_size()
            if not exact and size + piece_bytes > max_bytes:
                exact = True
                size, piece_bytes = sum(one.batch.nbytes for one in held), piece.batch.nbytes
            if held and (rows + piece.batch.num_rows > max_rows or size + piece_bytes > max_bytes):
                yield _joined(held)
                held, rows, size = [], 0, 0
            held.append(piece)
            rows, size = rows + piece.batch.num_rows, size + piece_bytes
    if held:
        yield _joined(held)


def _split(chunk: Chunk, max_rows: int, max_bytes: int) -> Iterator[Chunk]:
    n, batch = chunk.batch.num_rows, chunk.batch
    if n <= 1 or (n <= max_rows and (batch.get_total_buffer_size() <= max_bytes or batch.nbytes <= max_bytes)):
        yield chunk
        return
    half = n // 2
    for start, length in ((0, half), (half, n - half)):
        problems = {row - start: text for row, text in chunk.problems.items() if start <= row < start + length}
        yield from _split(
            Chunk(chunk.batch.slice(start, length), chunk.numbers.slice(start, length), problems), max_rows, max_bytes
        )


def _joined(chunks: list[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    problems: dict[int, str] = {}
    row = 0
    for chunk in chunks:
        problems |= {row + at: text for at, text in chunk.problems.items()}
        row += chunk.batch.num_rows
    batch = pa.concat_batches([chunk.batch for chunk in chunks])
    return Chunk(batch, pa.concat_arrays([chunk.numbers for chunk in chunks]), problems)


def open_table(source: Source) -> Table:
    """Open ``source`` by its kind.

    Raises:
        ReadError: it is not what its name says.
        OSError: it cannot be opened at all.
    """
    if source.kind == "parquet":
        return ParquetTable(source)
    from aimds.jobs.scan.lines import LineTable

    return LineTable(source)
