"""A job over many files, whatever it makes of them: planned, done in units, remembered, restartable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable

from aimds.errors import SchemaError
from aimds.jobs.scan import durable, manifest
from aimds.jobs.scan.inputs import discover, left_out
from aimds.jobs.scan.plan import Planned, plan
from aimds.jobs.scan.pool import Pool
from aimds.jobs.scan.progress import Progress, Silent
from aimds.jobs.scan.reading import ReadError
from aimds.jobs.scan.run import Run
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.summary import Skip, Summary
from aimds.jobs.scan.tasks import Factory
from aimds.jobs.scan.work import Counts, Kind


class Files:
    """One run over the files of ``config``; ``factory`` makes the `Work` of each worker, ``pool`` the workers, where
    they are not processes of this machine."""

    def __init__(
        self,
        config: ScanConfig,
        kind: Kind,
        factory: Factory,
        *,
        clock: Callable[[], float] = time.monotonic,
        pool: Callable[[Factory], Pool] | None = None,
    ) -> None:
        self._config, self._kind, self._factory, self._clock, self._pool = config, kind, factory, clock, pool

    def run(self, progress: Progress | None = None) -> tuple[Summary, Counts]:
        """Do what is left to do; what was done, and the counts of all outputs as they stand.

        Raises:
            DataError: no input, the output belongs to another job, another run is at work there, or writing fails.
            SchemaError: a column that was named is missing or does not fit, or no file holds a text column.
            ConfigError: a setting, or the work's own, cannot be used.
        """
        progress = progress or Silent()
        started = self._clock()
        config, kind = self._config, self._kind
        searched: set[str] = set()
        planned, unreadable = self._plan(progress, searched)
        state = config.output / manifest.FOLDER
        durable.make_folder(state)
        busy = f"another {kind.name} is writing here; wait for it, or choose another folder with -o"
        with durable.locked(state / "lock", busy):
            run = Run(config, kind, self._factory, planned, unreadable, searched, progress, self._pool)
            summary, counts = run.go(self._clock)
        summary.seconds = round(self._clock() - started, 3)
        summary.rows_per_s = round(summary.rows_screened / summary.seconds, 1) if summary.seconds else 0.0
        return summary, counts

    def _plan(self, progress: Progress, searched: set[str]) -> tuple[list[Planned], list[Skip]]:
        planned, unreadable, said = [], [], set()
        unfit: SchemaError | None = None
        others: dict[str, list[str]] = {}
        sources = discover(self._config.inputs, self._config.output, searched, others)
        for folder, names in others.items():
            progress.note(left_out(folder, names))
        for source in sources:
            try:
                one = plan(source, self._config, self._kind.schema)
            except ReadError as error:
                unreadable.append(Skip(source.label, None, None, None, error.problem))
                continue
            except SchemaError as error:
                # A folder may hold other tables too; a file or a column that was named must be there.
                if source.asked_for or self._config.columns.text is not None:
                    raise
                unfit = unfit or error
                unreadable.append(Skip(source.label, None, None, None, str(error)))
                continue
            planned.append(one)
            if one.notes and one.notes not in said:
                said.add(one.notes)
                progress.note(f"{source.below}: columns guessed: {', '.join(one.notes)}")
            remarks = tuple(self._kind.remarks(one.used))
            if remarks and remarks not in said:
                said.add(remarks)
                for remark in remarks:
                    progress.note(f"{source.below}: {remark}")
        if unfit is not None and not planned:
            raise unfit
        return planned, unreadable
