"""Verdict Parquet files: found, checked and streamed as plain columns, whoever wrote them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import NoReturn

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aimds.errors import DataError, SchemaError
from aimds.jobs.scan import manifest
from aimds.jobs.scan.inputs import PARQUET, folders_below, locked
from aimds.moments import YEARS_S, outside_years
from aimds.schema import VERDICTS

ROWS_PER_BATCH = 65536
REQUIRED = ("request_id", "channel", "action", "threat_type", "score", "evidence", "status")
"""Columns without which a file is not taken for verdicts; every other column of VERDICTS reads as null when missing."""
OLDEST_US, BEYOND_US = (edge * 1_000_000 for edge in YEARS_S)
"""The times that a datetime can hold, end exclusive. `stream` gives BEYOND_US for every other."""
DATETIME = pl.when(pl.col("ts").to_physical() < BEYOND_US).then(pl.col("ts")).alias("ts")
"""The column ``ts`` with null for BEYOND_US: what may become a datetime."""


@dataclass(frozen=True, slots=True)
class VerdictFile:
    """One readable file of verdicts."""

    path: Path
    rows: int
    columns: frozenset[str]


def find(paths: Sequence[str | Path]) -> list[Path]:
    """The Parquet files that ``paths`` (files, folders, globs) name, each once, in the order given, folders sorted.

    Hidden files and folders and those whose name begins with ``_`` are left out of a folder's or glob's list; what a
    scan wrote into a folder belongs to it, whatever it is called.

    Raises:
        DataError: a path or glob names nothing, or a folder below one cannot be listed: what is in it would be missing.
    """
    found: dict[str, Path] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            hits = [hit for hit in sorted(set(_below(path))) if _is_file(hit)]
            if not hits:
                raise DataError(given, _empty(path))
        elif path.exists():
            hits = [path]
        elif has_magic(str(given)):
            for folder in locked(str(given)):
                raise DataError(folder, f"this folder cannot be listed: {os.strerror(errno.EACCES)}")
            hits = [Path(hit) for hit in sorted(glob(str(given), recursive=True)) if _shown(Path(hit).name)]
            if not hits:
                raise DataError(given, "no file matches")
        else:
            raise DataError(given, "no such file or folder")
        for hit in hits:
            found.setdefault(os.path.realpath(hit), hit)
    return list(found.values())


def _empty(folder: Path) -> str:
    # A run that came to its end without any output leaves the list of what it could not read.
    if (folder / manifest.FOLDER).is_dir() and not (folder / manifest.SKIPPED).exists():
        return "a scan into it was interrupted; run it again to finish it, or name another folder"
    return "this folder holds no .parquet file"


def _below(folder: Path) -> Iterator[Path]:
    for top, files in folders_below(str(folder), lambda path: _shown(os.path.basename(path)), _unlisted):
        yield from (Path(top, name) for name in files if name.lower().endswith(PARQUET) and _shown(name))
        yield from (Path(top, name) for name in manifest.outputs(Path(top)))


def _unlisted(error: OSError) -> NoReturn:
    raise DataError(error.filename, f"this folder cannot be listed: {error.strerror}") from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False  # a link to nothing, or gone
    except OSError as error:
        raise DataError(path, f"cannot be looked at: {error.strerror}") from error


def _shown(name: str) -> bool:
    return not name.startswith((".", "_"))


def open_all(paths: Sequence[str | Path]) -> list[VerdictFile]:
    """Every file of ``paths``, checked.

    Raises:
        DataError: nothing to read, or a file that is not Parquet.
        SchemaError: a file without the columns of verdicts, or with one of another type.
    """
    files = [_open(path) for path in find(paths)]
    if not files:
        raise DataError("(no path)", "name at least one file or folder of verdicts")
    return files


def _open(path: Path) -> VerdictFile:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"not a readable Parquet file: {_first_line(error)}") from error
    for name in REQUIRED:
        if name not in schema.names:
            raise SchemaError(name, f"missing in {path}; this is not a file of verdicts (run aimds scan first)")
    for field in VERDICTS:
        index = schema.get_field_index(field.name)
        if index >= 0 and not _fits(schema.field(index).type, field.type):
            raise SchemaError(field.name, f"holds {schema.field(index).type} in {path}, expected {field.type}")
    return VerdictFile(path, rows, frozenset(schema.names))


def scanned_names(files: Sequence[VerdictFile]) -> list[Path]:
    """The path of each file below the folder of its scan, which is the end of that of its log; where no scan is known,
    below the deepest folder that holds all ``files``."""
    whole = [Path(os.path.abspath(file.path)) for file in files]
    shared = Path(os.path.commonpath([path.parent for path in whole]))
    return [scanned_name(path) or path.relative_to(shared) for path in whole]


def scanned_name(path: Path) -> Path | None:
    """The absolute ``path`` below the folder of the scan that wrote it; None where no scan is known."""
    return next(
        (name for root in path.parents if manifest.wrote(root, str(name := path.relative_to(root)))),
        None,
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _fits(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether ``found`` can be read as ``expected``: others store enums as strings and numbers in other widths."""
    if pa.types.is_null(found):
        return True
    if _is_text(expected):
        return _is_text(found)
    if pa.types.is_timestamp(expected):
        return bool(pa.types.is_timestamp(found))
    if pa.types.is_floating(expected):
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found))
    if pa.types.is_integer(expected):
        return bool(pa.types.is_integer(found))
    if pa.types.is_list(expected):
        if not (pa.types.is_list(found) or pa.types.is_large_list(found)):
            return False
        if not pa.types.is_struct(expected.value_type):
            return _fits(found.value_type, expected.value_type)
        inside = {field.name: field.type for field in found.value_type} if pa.types.is_struct(found.value_type) else {}
        return all(field.name in inside and _fits(inside[field.name], field.type) for field in expected.value_type)
    return True


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def stream(file: VerdictFile, columns: Sequence[str], *, rows: int = ROWS_PER_BATCH) -> Iterator[pl.DataFrame]:
    """``columns`` of ``file``, ``rows`` rows at a time; missing columns null, enums strings, times UTC microseconds.

    Times outside the years 1 to 9999 are BEYOND_US; before they become datetimes, they have to pass DATETIME.

    Raises:
        DataError: the file is damaged.
    """
    present = [name for name in columns if name in file.columns]
    try:
        with pq.ParquetFile(file.path) as parquet:
            for batch in parquet.iter_batches(batch_size=rows, columns=present):
                n = batch.num_rows
                arrays = [
                    _plain(batch.column(name), _KINDS[name]) if name in present else pa.nulls(n, _KINDS[name])
                    for name in columns
                ]
                yield pl.DataFrame(pa.Table.from_arrays(arrays, names=list(columns)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(file.path, f"damaged: {_first_line(error)}") from error


def _plain_kind(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


_KINDS = {field.name: _plain_kind(field.type) for field in VERDICTS}


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(kind) and _is_text(column.type):
        return clean(column)
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(column.type):
        outside = outside_years(column)
        if column.type.tz is None:
            column = pc.assume_timezone(column, "UTC")
        return pc.if_else(outside, pa.scalar(BEYOND_US, kind), column.cast(kind, safe=False))
    return column if pa.types.is_list(kind) else column.cast(kind)


def clean(column: pa.Array) -> pa.Array:
    """A text column as valid UTF-8: polars must not see other bytes, and Parquet readers do not check them."""
    raw = column.cast(pa.large_binary())
    try:
        return raw.cast(pa.large_string())
    except pa.ArrowInvalid:
        fixed = [None if value is None else value.decode("utf-8", "replace") for value in raw.to_pylist()]
        return pa.array(fixed, pa.large_string())
