"""How far long work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.jobs.scan.progress import Progress

_SAY_EVERY_S = 5.0


def progress(quiet: bool, doing: str = "screening") -> Progress:
    """Who tells of the work: a bar on a terminal, a line now and then elsewhere, nobody where ``quiet``."""
    from aimds.jobs.scan.progress import Silent

    if quiet:
        return Silent()
    return Bar(doing) if sys.stderr.isatty() else Lines(time.monotonic)


class Bar:
    """A bar with rows/s and the time left, for a terminal."""

    def __init__(self, doing: str = "screening") -> None:
        from rich.console import Console

        self._doing = doing
        self._console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._bar: Any = None
        self._task: Any = None

    def note(self, text: str) -> None:
        """Print above the bar, with what a file's name hides written out."""
        (self._bar.console if self._bar else self._console).print(visible(text, LINE), markup=False)

    def begin(self, rows_total: int, rows_done: int) -> None:
        """Draw the bar."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed or 0:,.0f} rows/s")

        self._bar = Progress(
            TextColumn(self._doing),
            BarColumn(),
            MofNCompleteColumn(),
            Speed(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=rows_total, completed=rows_done)
        self._bar.start()

    def advance(self, rows: int) -> None:
        """Move the bar."""
        self._bar.advance(self._task, rows)

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class Lines:
    """A line on stderr every five seconds, for a log file."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._total = self._done = self._here = 0
        self._began = self._said = 0.0

    def note(self, text: str) -> None:
        """Print the note, with what a file's name hides written out."""
        print(visible(text, LINE), file=sys.stderr, flush=True)

    def begin(self, rows_total: int, rows_done: int) -> None:
        """Start the clock."""
        self._total, self._done = rows_total, rows_done
        self._began = self._said = self._clock()

    def advance(self, rows: int) -> None:
        """Count, and now and then say so."""
        self._done += rows
        self._here += rows
        now = self._clock()
        if now - self._said >= _SAY_EVERY_S:
            self._said = now
            speed = self._here / (now - self._began)
            left = f", {(self._total - self._done) / speed:,.0f} s left" if speed > 0 else ""
            self.note(f"{self._done:,} of {self._total:,} rows, {speed:,.0f} rows/s{left}")

    def end(self) -> None:
        """Nothing is held."""
