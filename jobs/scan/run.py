"""One run over planned inputs: what is left to do is handed to workers, and what becomes of each unit is remembered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aimds.errors import AimdsError, DataError
from aimds.jobs.scan import durable, manifest
from aimds.jobs.scan.plan import Planned
from aimds.jobs.scan.pool import InProcess, Pool, Processes
from aimds.jobs.scan.progress import Progress
from aimds.jobs.scan.recall import File, recall
from aimds.jobs.scan.schedule import Schedule, Unit
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.summary import Gap, Skip, Summary, merged
from aimds.jobs.scan.tasks import Answer, Factory, Task
from aimds.jobs.scan.work import Counts, Kind
from aimds.printable import counted

_WAIT_S = 0.5
Step = Literal["unit", "gathering", "assembly"]


@dataclass(slots=True)
class _Doing:
    """What a worker is at: a unit, or the gathering for a ``stage`` or the assembly of file ``unit[0]``."""

    unit: Unit
    step: Step
    rows: int = 0
    stage: int = 0


class Run:
    """The state of a run. The lock on the output folder is held by the caller."""

    def __init__(
        self,
        config: ScanConfig,
        kind: Kind,
        factory: Factory,
        planned: list[Planned],
        unreadable: list[Skip],
        searched: set[str],
        progress: Progress,
        pool: Callable[[Factory], Pool] | None = None,
    ) -> None:
        self._config, self._kind, self._planned = config, kind, planned
        self._unreadable, self._searched, self._progress = unreadable, searched, progress
        self._pool: Pool
        self._elsewhere = pool is not None
        if pool is not None:
            self._pool = pool(factory)
        else:
            self._pool = InProcess(factory, self._on_rows) if config.workers == 1 else Processes(factory)
        self._summary = Summary(str(config.output))
        self._schedule = Schedule()
        self._files: list[File] = []
        self._whole: deque[_Doing] = deque()
        self._ungathered: set[int] = set()
        self._stage = 0
        self._alone: deque[_Doing] = deque()
        self._failed_before: set[tuple[Unit, Step, int]] = set()
        self._starting: set[int] = set()
        self._idle: list[int] = []
        self._doing: dict[int, _Doing] = {}
        self._config_hash = ""

    def go(self, clock: Callable[[], float]) -> tuple[Summary, Counts]:
        """Do everything that is left; what was done, and the counts of all outputs."""
        started = clock()
        try:
            if self._planned:
                self._start()
                while self._starting:
                    self._listen()
                self._summary.startup_seconds = round(clock() - started, 3)
                self._files = recall(self._config, self._kind, self._config_hash, self._planned)
                self._begin()
                self._work()
        finally:
            self._progress.end()
            self._pool.close()
        if self._elsewhere:
            # A worker that was overtaken may have written a part of a file that was assembled by then.
            for file in self._files:
                file.memory.sweep()
        return self._finish()

    # -- before: what is there already ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Load finished units and plan the others."""
        rows_total = rows_done = 0
        for index, file in enumerate(self._files):
            units = [file.planned.units(group, self._config.unit_rows) for group in range(len(file.planned.groups))]
            rows = sum(group.rows for group in file.planned.groups)
            self._summary.units_total += sum(units)
            rows_total += rows
            if file.record:
                file.memory.sweep()
                file.resumed = file.record["units"]
                rows_done += rows
                continue
            durable.make_folder(file.memory.folder)
            known = file.memory.conflict() is None
            afresh = not known or bool((file.memory.done() or {}).get("gaps"))
            found = file.memory.begin(afresh=afresh)
            done: dict[int, set[int]] = {}
            for (group, slice_), trailer in found.items():
                if group < len(units) and slice_ < units[group]:
                    where = file.planned.where(group, slice_, self._config.unit_rows)
                    if trailer["read"] != where.stop - where.start:
                        # An earlier version told the records of this file apart in another way.
                        continue
                    file.gain(trailer, self._kind)
                    rows_done += trailer["read"]
                    done.setdefault(group, set()).add(slice_)
            file.resumed = file.units
            file.left = sum(units) - file.resumed
            for group, count in enumerate(units):
                self._schedule.add(index, group, count, done.get(group, set()))
            self._ungathered.add(index)
            if file.left == 0:
                self._settled(index)
        self._summary.units_resumed = sum(file.resumed for file in self._files)
        self._summary.nothing_to_do = all(file.record for file in self._files)
        self._progress.begin(rows_total, rows_done)
        if not isinstance(self._pool, InProcess):
            for _ in range(min(self._config.workers, self._schedule.left()) - 1):
                self._start()

    # -- during: hand out, listen, remember -------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            while self._idle and (doing := self._next(self._idle[-1])) is not None:
                self._give(self._idle.pop(), doing)
            if not self._doing:
                if not self._left() and not self._alone:
                    # Nobody waits for a worker that is still starting.
                    return
                if not self._starting:
                    if not self._idle:
                        self._start()
                    else:
                        self._give(self._idle.pop(), self._alone.popleft())
            self._listen()

    def _left(self) -> bool:
        """Whether there is something to hand out."""
        return bool(self._whole or self._schedule.left())

    def _next(self, worker: int) -> _Doing | None:
        if self._whole:
            return self._whole.popleft()
        unit = self._schedule.take(worker)
        return _Doing(unit, "unit") if unit else None

    def _give(self, worker: int, doing: _Doing) -> None:
        index, group, slice_ = doing.unit
        file = self._files[index]
        self._doing[worker] = doing
        if doing.step == "unit":
            task = Task(file.job, slice_, file.planned.where(group, slice_, self._config.unit_rows))
        else:
            stage = doing.stage if doing.step == "gathering" else None
            task = Task(file.job, file.units, None, stage)
        self._pool.submit(worker, task)

    def _start(self) -> None:
        self._starting.add(self._pool.start())

    def _on_rows(self, rows: int) -> None:
        self._progress.advance(rows)
        for doing in self._doing.values():
            doing.rows += rows

    def _listen(self) -> None:
        for worker, answer in self._pool.wait(_WAIT_S):
            if answer.kind == "fatal":
                path = answer.value.get("path")
                raise DataError(path, answer.value["problem"]) if path else AimdsError(answer.value["problem"])
            if worker in self._starting:
                self._started(worker, answer)
            elif answer.kind == "rows":
                self._progress.advance(answer.value["rows"])
                self._doing[worker].rows += answer.value["rows"]
            elif worker in self._doing:
                self._ended(worker, self._doing.pop(worker), answer)
            elif answer.kind == "died" and worker in self._idle:
                self._idle.remove(worker)

    def _started(self, worker: int, answer: Answer) -> None:
        self._starting.discard(worker)
        if answer.kind != "ready":
            raise AimdsError(f"a worker could not start: {answer.value.get('problem', answer.kind)}")
        found = answer.value["config_hash"]
        if self._config_hash and found != self._config_hash:
            raise AimdsError(f"workers disagree about the configuration: {found} and {self._config_hash}")
        self._config_hash = found
        self._idle.append(worker)

    def _ended(self, worker: int, doing: _Doing, answer: Answer) -> None:
        index, group, slice_ = doing.unit
        if answer.kind == "died":
            self._schedule.release(worker)
            if self._left():
                self._start()
        else:
            self._idle.append(worker)
        if answer.kind == "done" and doing.step == "gathering":
            self._ungathered.discard(index)
            if not self._ungathered:
                self._all_gathered()
        elif answer.kind == "done" and doing.step == "assembly":
            self._assembled(index, answer.value)
        elif answer.kind == "done":
            self._files[index].gain(answer.value, self._kind)
            self._summary.units_done += 1
            self._summary.rows_screened += answer.value["read"]
            for stage, seconds in answer.value["seconds"].items():
                self._summary.stages[stage] = self._summary.stages.get(stage, 0.0) + seconds
            self._settle(index, 1)
        elif answer.kind == "unreadable":
            self._progress.advance(-doing.rows)
            self._unreadable_from(index, group, slice_, answer.value["problem"])
        else:
            self._progress.advance(-doing.rows)
            self._retry(doing, answer)

    def _retry(self, doing: _Doing, answer: Answer) -> None:
        """A unit that failed for a reason that may pass is tried once more with nothing beside it."""
        index, group, slice_ = doing.unit
        problem = answer.value["problem"]
        file = self._files[index]
        label = f"{file.planned.source.name}: row group {group}, slice {slice_}"
        failed = (doing.unit, doing.step, doing.stage)
        if failed not in self._failed_before:
            self._failed_before.add(failed)
            self._alone.append(_Doing(doing.unit, doing.step, stage=doing.stage))
            self._progress.note(f"{label}: {problem}; it is tried again at the end")
        elif doing.step != "unit":
            raise DataError(file.memory.output, f"cannot be assembled: {problem}")
        else:
            self._progress.note(f"{label}: {problem}; skipped")
            file.gaps.append(Gap(group, slice_, slice_ + 1, f"{problem}, twice", sticky=False))
            self._settle(index, 1)

    def _unreadable_from(self, index: int, group: int, slice_: int, problem: str) -> None:
        """A row group is read forwards: what cannot be read hides all that lies behind it."""
        file = self._files[index]
        lost = [(slice_, slice_ + 1)]
        if file.planned.source.kind == "parquet":
            lost += self._schedule.drop(index, group, slice_)
        file.gaps += [Gap(group, start, stop, problem, sticky=True) for start, stop in lost]
        self._progress.note(f"{file.planned.source.name}: {problem}; skipped from unit {slice_} on")
        self._settle(index, sum(stop - start for start, stop in lost))

    def _settle(self, index: int, units: int) -> None:
        file = self._files[index]
        file.left -= units
        if file.left == 0:
            self._settled(index)

    def _settled(self, index: int) -> None:
        """All units of the file are finished or given up."""
        self._whole.append(_Doing((index, 0, 0), "gathering" if self._kind.across else "assembly"))

    def _all_gathered(self) -> None:
        """Nothing is assembled before every file has left what the others need of it."""
        if not self._stage:
            self._progress.note(
                f"all files are screened; what runs on from one to the next is judged "
                f"({counted(len(self._files), 'file')})"
            )
        left = [file.record is None for file in self._files]
        self._kind.across[self._stage]([file.memory.folder for file in self._files], left)
        self._stage += 1
        mine = [index for index, wanted in enumerate(left) if wanted]
        if self._stage < len(self._kind.across):
            self._ungathered.update(mine)
            self._whole.extend(_Doing((index, 0, 0), "gathering", stage=self._stage) for index in mine)
        else:
            self._whole.extend(_Doing((index, 0, 0), "assembly") for index in mine)

    def _assembled(self, index: int, written: dict[str, Any]) -> None:
        file = self._files[index]
        if written["rows"] != file.rows:
            raise DataError(
                file.memory.output, f"holds {counted(written['rows'], 'row')} where {file.rows} were made; run again"
            )
        counts: Counts = written["counts"] or file.counts
        gaps = [asdict(gap) for gap in merged(file.gaps)]
        skips = [asdict(file.skip(gap, self._config.unit_rows)) for gap in merged(file.gaps)]
        file.record = written | {"units": file.units, "counts": counts, "gaps": gaps, "skipped": skips}
        file.memory.finish(file.record)

    # -- after ------------------------------------------------------------------------------------------------------

    def _finish(self) -> tuple[Summary, Counts]:
        summary = self._summary
        counts: Counts = {}
        summary.skipped = list(self._unreadable)
        for file in self._files:
            assert file.record is not None
            skipped = [Skip(**skip) for skip in file.record["skipped"]]
            summary.skipped += skipped
            summary.rows += file.record["rows"]
            self._kind.add(counts, file.record["counts"])
            summary.outputs.append(
                {
                    "input": file.planned.source.label,
                    "output": str(file.memory.output),
                    "rows": file.record["rows"],
                    "rows_skipped": sum(skip.rows or 0 for skip in skipped),
                }
            )
        summary.files = len(self._files)
        folders = {file.memory.folder for file in self._files}
        sources = {one.source.label for one in self._planned} | {skip.file for skip in self._unreadable}
        manifest.list_skipped(self._config.output, folders, sources | self._searched, summary.skipped)
        return summary, counts
