"""Does the tasks, in whichever process: reads a unit, screens it, writes its part; or assembles a file."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import AimdsError, ConfigError, DataError
from aimds.jobs.scan import parts, rows
from aimds.jobs.scan.assemble import assemble
from aimds.jobs.scan.convert import plain, to_requests, valid_text
from aimds.jobs.scan.durable import OutputError
from aimds.jobs.scan.reading import Chunk, ReadError, Slice, Table, gather, open_table, reason
from aimds.jobs.scan.tasks import Answer, Factory, Job, Limits, Task


def make_screener(factory: Factory) -> rows.Screener:
    """Import and call what ``factory`` names.

    Raises:
        ConfigError: there is no such module or callable.
    """
    module, _, path = factory.target.partition(":")
    try:
        target: Any = importlib.import_module(module)
        for attribute in path.split("."):
            target = getattr(target, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError("screener", factory.target, f"module:callable ({error})") from error
    return target(**factory.arguments)  # type: ignore[no-any-return]


class Executor:
    """Holds one screener and at most one open input."""

    def __init__(self, factory: Factory, on_rows: Callable[[int], None]) -> None:
        self._screener = make_screener(factory)
        self._on_rows = on_rows
        self._open: tuple[str, Table] | None = None
        self.config_hash = str(self._screener.config_hash)

    def run(self, task: Task) -> Answer:
        """Do ``task``; every failure becomes an answer."""
        try:
            if task.where is None:
                return Answer("done", self._assemble(task.job))
            return Answer("done", self._unit(task.job, task.slice, task.where))
        except ReadError as error:
            self._open = None
            return Answer("unreadable", {"problem": error.problem})
        except OutputError as error:
            return Answer("fatal", {"path": error.path, "problem": error.problem})
        except AimdsError as error:
            return Answer("fatal", {"problem": str(error)})
        except Exception as error:
            self._open = None
            problem = f"{type(error).__name__}: {reason(error)}"
            return Answer("broken", {"problem": problem, "trace": traceback.format_exc()})

    def _table(self, job: Job) -> Table:
        if self._open is None or self._open[0] != job.source.label:
            self._open = None
            try:
                same = job.source.identity() == job.identity
                if not same:
                    raise ReadError(job.source.label, "has changed since the scan began")
                self._open = (job.source.label, open_table(job.source))
            except (OSError, DataError) as error:
                raise ReadError(job.source.label, getattr(error, "problem", reason(error))) from error
        return self._open[1]

    def _unit(self, job: Job, slice_: int, where: Slice) -> dict[str, Any]:
        trailer: dict[str, Any] = {"key": job.key, "rows": 0, "counts": {}}
        chunks = gather(self._table(job).chunks(where, job.columns), job.limits.batch_rows, job.limits.batch_bytes)
        schema = job.output_schema

        def batches() -> Iterator[pa.RecordBatch]:
            for chunk in chunks:
                for verdicts in self._verdicts(job, chunk, schema):
                    trailer["rows"] += verdicts.num_rows
                    rows.add_counts(trailer["counts"], rows.counts(verdicts))
                    yield verdicts
                self._on_rows(chunk.batch.num_rows)

        parts.write(job.folder_path / parts.name(where.group, slice_), schema, batches(), trailer)
        return trailer

    def _verdicts(self, job: Job, chunk: Chunk, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        requests, notes = to_requests(chunk.batch, job.used, chunk.numbers)
        problems = _too_long(requests.column("text"), job.limits) | chunk.problems
        start = 0
        for verdicts in rows.screen_except(self._screener, requests, problems):
            stop = start + verdicts.num_rows
            here = {row - start: note for row, note in notes.items() if start <= row < stop and row not in problems}
            columns = rows.noted(verdicts, here).columns
            if job.with_text:
                columns.append(valid_text(requests.column("text").slice(start, verdicts.num_rows)))
            for name in job.carry:
                columns.append(
                    _carried(chunk.batch.column(name).slice(start, verdicts.num_rows), schema.field(name).type)
                )
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            start = stop

    def _assemble(self, job: Job) -> dict[str, Any]:
        found = [path for _, _, path in parts.listed(job.folder_path)]
        count, size = assemble(found, job.output_schema, Path(job.output), job.folder_path)
        return {"rows": count, "bytes": size}


def _too_long(texts: pa.Array, limits: Limits) -> dict[int, str]:
    lengths = pc.binary_length(texts)
    if (pc.max(lengths).as_py() or 0) <= limits.max_text_bytes:
        return {}
    rows_ = pc.indices_nonzero(pc.greater(lengths, limits.max_text_bytes).fill_null(False)).to_pylist()
    return {
        row: f"text of {lengths[row].as_py()} bytes; more than {limits.max_text_bytes} are not screened"
        for row in rows_
    }


def _carried(column: pa.Array, kind: pa.DataType) -> pa.Array:
    column = plain(column) if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = valid_text(column)
    return column if column.type == kind else column.cast(kind)
