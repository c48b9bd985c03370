"""The offline scan: verdicts for every row of many files, restartable at any moment, the same bytes however it went.

A unit of work is up to 2,048 rows of one row group. Each finished unit is a part file; the parts of a file are
assembled into one output in row order. Workers decide nothing but what becomes of a row, so their number and their
deaths leave no trace in the output. `Files` does this for any `Work`; a scan is the one whose work are verdicts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aimds.jobs.scan import screening
from aimds.jobs.scan.columns import Columns
from aimds.jobs.scan.files import Files
from aimds.jobs.scan.pool import Pool
from aimds.jobs.scan.progress import Progress, Silent
from aimds.jobs.scan.screening import Following
from aimds.jobs.scan.settings import ScanConfig
from aimds.jobs.scan.summary import Skip, Summary
from aimds.jobs.scan.tasks import Factory, Limits
from aimds.jobs.scan.work import Counts, Kind, Work

__all__ = [
    "Columns",
    "Counts",
    "Factory",
    "Files",
    "Following",
    "Kind",
    "Limits",
    "Progress",
    "Scan",
    "ScanConfig",
    "Silent",
    "Skip",
    "Summary",
    "Work",
]


class Scan:
    """One run of ``aimds scan``; ``pool`` makes the workers, where they are not processes of this machine.

    ``following`` says what is made of sessions beside their scores.
    """

    def __init__(
        self,
        config: ScanConfig,
        make_screener: Factory,
        *,
        following: Following | None = None,
        clock: Callable[[], float] = time.monotonic,
        pool: Callable[[Factory], Pool] | None = None,
    ) -> None:
        following = following or Following()
        work = screening.factory(make_screener, following)
        self._files = Files(config, screening.kind(following, make_screener), work, clock=clock, pool=pool)

    def run(self, progress: Progress | None = None) -> Summary:
        """Do what is left to do and describe the whole.

        Raises:
            DataError: no input, the output belongs to another scan, another scan is at work there, or writing fails.
            SchemaError: a column is missing or does not fit.
            ConfigError: a setting, or the screener's own, cannot be used.
        """
        summary, counts = self._files.run(progress)
        summary.actions = counts.get("actions", {})
        summary.threats = counts.get("threats", {})
        summary.statuses = counts.get("statuses", {})
        summary.violations = counts.get("violations", {})
        summary.unfollowed = counts.get("unfollowed", {})
        return summary
