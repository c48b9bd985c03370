"""The offline scan: verdicts for every row of many files, restartable at any moment, the same bytes however it went.

A unit of work is up to 65,536 rows of one row group. Each finished unit is a part file; the parts of a file are
assembled into one output in row order. Workers decide nothing but verdicts, so their number and their deaths leave no
trace in the output.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aimds.jobs.scan import durable, manifest
from aimds.jobs.scan.columns import Columns
from aimds.jobs.scan.inputs import discover
from aimds.jobs.scan.plan import Planned, plan
from aimds.jobs.scan.progress import Progress, Silent
from aimds.jobs.scan.reading import ReadError
from aimds.jobs.scan.run import Run
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.summary import Skip, Summary
from aimds.jobs.scan.tasks import Factory, Limits

__all__ = ["Columns", "Factory", "Limits", "Progress", "Scan", "ScanConfig", "Silent", "Skip", "Summary"]


class Scan:
    """One run of ``aimds scan``."""

    def __init__(
        self, config: ScanConfig, make_screener: Factory, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config, self._factory, self._clock = config, make_screener, clock

    def run(self, progress: Progress | None = None) -> Summary:
        """Do what is left to do and describe the whole.

        Raises:
            DataError: no input, the output belongs to another scan, another scan is at work there, or writing fails.
            SchemaError: a column is missing or does not fit.
            ConfigError: a setting, or the screener's own, cannot be used.
        """
        progress = progress or Silent()
        started = self._clock()
        config = self._config
        planned, unreadable = self._plan(progress)
        state = config.output / manifest.FOLDER
        durable.make_folder(state)
        busy = "another scan is writing here; wait for it, or choose another folder with -o"
        with durable.locked(state / "lock", busy):
            summary = Run(config, self._factory, planned, unreadable, progress).go(self._clock)
        summary.seconds = round(self._clock() - started, 3)
        summary.rows_per_s = round(summary.rows_screened / summary.seconds, 1) if summary.seconds else 0.0
        return summary

    def _plan(self, progress: Progress) -> tuple[list[Planned], list[Skip]]:
        config = self._config
        planned, unreadable, said = [], [], set()
        for source in discover(config.inputs, config.output):
            try:
                one = plan(source, config.columns, config.carry, config.with_text, config.unit_rows)
            except ReadError as error:
                unreadable.append(Skip(source.label, None, None, None, error.problem))
                progress.note(f"{source.label}: {error.problem}")
                continue
            planned.append(one)
            if one.notes and one.notes not in said:
                said.add(one.notes)
                progress.note(f"{source.name}: columns guessed: {', '.join(one.notes)}")
        return planned, unreadable
