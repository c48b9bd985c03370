"""Does the tasks, in whichever process: reads a unit, has it worked on, writes its part; or assembles a file."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from aimds.errors import AimdsError, DataError
from aimds.jobs.scan import parts
from aimds.jobs.scan.assemble import assemble
from aimds.jobs.scan.durable import OutputError
from aimds.jobs.scan.reading import ReadError, Slice, Table, gather, open_table, reason
from aimds.jobs.scan.tasks import Answer, Factory, Job, Task
from aimds.jobs.scan.work import AllFiles, Counts, WholeFile, Work


class Executor:
    """Holds the work that ``factory`` makes and at most one open input."""

    def __init__(self, factory: Factory, on_rows: Callable[[int], None]) -> None:
        self._work: Work = factory.make()
        self._on_rows = on_rows
        self._open: tuple[str, Table] | None = None
        self.config_hash = str(self._work.config_hash)

    def run(self, task: Task) -> Answer:
        """Do ``task``; every failure becomes an answer."""
        try:
            if task.gather is not None:
                return Answer("done", self._gather(task.job, task.slice, task.gather))
            if task.where is None:
                return Answer("done", self._assemble(task.job, task.slice))
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
        trailer: dict[str, Any] = {"key": job.key, "read": 0, "rows": 0, "counts": {}}
        before = dict(self._work.seconds)
        pieces = self._table(job).chunks(where, job.columns, job.used["text"])
        chunks = gather(pieces, job.limits.batch_rows, job.limits.batch_bytes)

        def batches() -> Iterator[pa.RecordBatch]:
            for chunk in chunks:
                for batch in self._work.rows(job, chunk, trailer["counts"]):
                    trailer["rows"] += batch.num_rows
                    yield batch
                trailer["read"] += chunk.batch.num_rows
                self._on_rows(chunk.batch.num_rows)

        schema = self._work.part_schema(job) if isinstance(self._work, WholeFile) else job.output_schema
        parts.write(job.folder_path / parts.name(where.group, slice_), schema, batches(), trailer)
        # Not in the part itself: what a scan writes is the same to the byte however long it took.
        return trailer | {"seconds": {name: s - before.get(name, 0.0) for name, s in self._work.seconds.items()}}

    def _gather(self, job: Job, units: int, stage: int) -> dict[str, Any]:
        if isinstance(self._work, AllFiles):
            self._work.gather(job, _parts(job, units), stage)
        return {}

    def _assemble(self, job: Job, units: int) -> dict[str, Any]:
        found = _parts(job, units)
        counts: Counts = {}
        change = self._work.over(job, found, counts) if isinstance(self._work, WholeFile) else None
        count, size = assemble(found, job.output_schema, Path(job.output), job.folder_path, change)
        return {"rows": count, "bytes": size, "counts": counts}


def _parts(job: Job, units: int) -> list[Path]:
    found = [path for _, _, path in parts.listed(job.folder_path)]
    if len(found) < units:
        # Better no output than one that lacks rows: another worker may have assembled it and deleted the parts.
        raise OutputError(job.output, f"{len(found)} of {units} parts are there; run again")
    return found
