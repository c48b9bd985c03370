"""What is on disk of the files to work on: finished, begun, not begun, or someone else's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from aimds.jobs.scan import manifest
from aimds.jobs.scan.manifest import Memory
from aimds.jobs.scan.plan import Planned
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.summary import Gap, Skip
from aimds.jobs.scan.tasks import Job, pack_schema
from aimds.jobs.scan.work import Counts, Kind

FORMAT = 2


@dataclass(slots=True)
class File:
    """One input on its way.

    ``left`` counts units that are neither finished nor given up, ``units`` the finished ones, ``resumed`` those of them
    that an earlier run finished; ``rows`` and ``counts`` are what the finished units made and counted; ``record`` is
    what is remembered of the finished file.
    """

    planned: Planned
    memory: Memory
    job: Job
    left: int = 0
    units: int = 0
    resumed: int = 0
    rows: int = 0
    counts: Counts = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    record: dict[str, Any] | None = None

    def gain(self, trailer: dict[str, Any], kind: Kind) -> None:
        """Count a finished unit; its ``trailer`` is not held, for there may be very many."""
        self.units += 1
        self.rows += trailer["rows"]
        kind.add(self.counts, trailer["counts"])

    def skip(self, gap: Gap, unit_rows: int) -> Skip:
        """``gap`` in rows."""
        first = gap.start * unit_rows
        rows = min(gap.stop * unit_rows, self.planned.groups[gap.group].rows) - first
        return Skip(self.planned.source.label, gap.group, self.planned.firsts[gap.group] + first, rows, gap.error)


def recall(config: ScanConfig, kind: Kind, config_hash: str, planned: list[Planned]) -> list[File]:
    """Compare each output with what is on disk, before anything is touched.

    Raises:
        DataError: an output is not of this job, and it was not said that it may be replaced.
    """
    conflicts, files = [], []
    for one in planned:
        belongs = _belongs(config, kind, config_hash, one)
        memory = Memory(config.output, one.source.name, belongs, kind.name, kind.makes, config.told)
        problem = memory.conflict()
        if problem and not config.overwrite:
            conflicts.append((memory, problem))
        done = None if problem else memory.done()
        again = done is not None and done["gaps"] and config.overwrite
        files.append(File(one, memory, _job(config, one, memory), record=None if again else done))
    manifest.refuse(conflicts)
    return files


def _belongs(config: ScanConfig, kind: Kind, config_hash: str, planned: Planned) -> dict[str, Any]:
    settings = {
        "job": kind.name,
        "screener": config_hash,
        "columns": planned.used,
        "carry": list(config.carry),
        "with_text": config.with_text,
        "unit_rows": config.unit_rows,
        "limits": asdict(config.limits),
        "schema": manifest.digest(pack_schema(planned.schema)),
        "format": FORMAT,
    }
    return {"config": settings, "input": planned.identity}


def _job(config: ScanConfig, planned: Planned, memory: Memory) -> Job:
    return Job(
        source=planned.source,
        identity=planned.identity,
        used=planned.used,
        carry=config.carry,
        with_text=config.with_text,
        schema=pack_schema(planned.schema),
        folder=str(memory.folder),
        output=str(memory.output),
        key=memory.key,
        limits=config.limits,
    )
