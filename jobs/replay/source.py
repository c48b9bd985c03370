"""Recorded verdicts as a replay reads them: files found and checked, then streamed as batches of few columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import DataError, SchemaError
from aimds.jobs.report.verdict_files import VerdictFile, clean, find
from aimds.moments import outside_years
from aimds.respond import recorded

ROWS_PER_BATCH = 65_536
ALWAYS = ("request_id", "ts", "policy_version")
"""Columns that are read beside those of the policy, where they are there."""
_SAMPLED = (
    *("request_id", "session_id", "turn", "tenant", "ts", "channel", "action", "threat_type", "score", "p_value"),
    *("evidence", "spans"),
)


def are_verdicts(paths: Sequence[str | Path]) -> bool:
    """Whether ``paths`` name verdicts; False where they name logs, or what only a scan can read.

    Raises:
        DataError: some are verdicts and some are not, or a Parquet file cannot be read.
    """
    try:
        found = find(paths)
    except DataError:
        # A URL, or a folder of other formats: a scan knows them, or says what is wrong.
        return False
    kinds = {file: _missing(_names(file)) is None for file in found if file.suffix not in (".jsonl", ".csv", ".json")}
    if any(kinds.values()) and not (all(kinds.values()) and len(kinds) == len(found)):
        odd = next(file for file in found if not kinds.get(file, False))
        missing = _missing(_names(odd)) if odd in kinds else "p_value"
        raise DataError(odd, f"has no column {missing}, unlike the verdicts beside it; replay them apart")
    return bool(kinds) and all(kinds.values())


def open_verdicts(paths: Sequence[str | Path]) -> list[VerdictFile]:
    """Every file of verdicts that ``paths`` (files, folders, globs) name.

    Raises:
        DataError: nothing to read, a file that is not Parquet, or no rows at all.
        SchemaError: a file without a column that a replay needs.
    """
    files = []
    for path in find(paths):
        names = _names(path)
        if (missing := _missing(names)) is not None:
            why = f"missing in {path}; a replay needs whole verdicts, as aimds scan writes them"
            raise SchemaError(missing, why)
        files.append(VerdictFile(path, pq.read_metadata(path).num_rows, frozenset(names)))
    if not any(file.rows for file in files):
        raise DataError(files[0].path if files else "(no path)", "holds no verdicts (0 rows): nothing to replay")
    return files


def _missing(names: Iterable[str]) -> str | None:
    present = set(names)
    return next((name for name in recorded.NEEDED if name not in present), None)


def _names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"not a readable Parquet file: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def stream(file: VerdictFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Those of ``columns`` that ``file`` has, ROWS_PER_BATCH rows at a time.

    Raises:
        DataError: the file is damaged.
    """
    present = [name for name in dict.fromkeys((*columns, *ALWAYS)) if name in file.columns]
    try:
        with pq.ParquetFile(file.path, read_dictionary=[name for name in ("tenant",) if name in present]) as parquet:
            yield from parquet.iter_batches(batch_size=ROWS_PER_BATCH, columns=present)
    except (pa.ArrowException, OSError) as error:
        raise DataError(file.path, f"damaged: {_first_line(error)}") from error


def fetch(file: VerdictFile, rows: Iterable[int]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """What a sample shows of each of ``rows``, reading only the row groups that hold them; missing columns are None.

    Raises:
        DataError: the file is damaged.
    """
    wanted = np.array(sorted(rows), np.int64)
    present = [name for name in _SAMPLED if name in file.columns]
    if not len(wanted):
        return
    try:
        with pq.ParquetFile(file.path) as parquet:
            first = 0
            for group in range(parquet.metadata.num_row_groups):
                n = parquet.metadata.row_group(group).num_rows
                if ((wanted >= first) & (wanted < first + n)).any():
                    yield from _group(parquet, group, present, first, wanted)
                first += n
    except (pa.ArrowException, OSError) as error:
        raise DataError(file.path, f"damaged: {_first_line(error)}") from error


def _group(
    parquet: pq.ParquetFile, group: int, present: Sequence[str], first: int, wanted: Any
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for batch in parquet.iter_batches(batch_size=4096, row_groups=[group], columns=list(present)):
        inside = wanted[(wanted >= first) & (wanted < first + batch.num_rows)]
        if len(inside):
            chosen = batch.take(pa.array(inside - first))
            columns = {name: _plain(chosen.column(name)) for name in present}
            for place, row in enumerate(inside.tolist()):
                yield row, {name: columns[name][place] if name in columns else None for name in _SAMPLED}
        first += batch.num_rows


def _plain(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        beyond = outside_years(column).to_pylist()
        return [None if out else value.as_py() for value, out in zip(column, beyond, strict=True)]
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return list((clean(column) if text else column).to_pylist())
