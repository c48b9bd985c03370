"""What the commands that work over files share: their columns, processes and exits, and what they say at the end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from aimds.jobs.scan.summary import Skip

EXIT_SKIPPED = 1
EXIT_INTERRUPTED = 130


def column(flag: str, what: str) -> Any:
    """The option that names the column with the ``what``."""
    return typer.Option(flag, metavar="COLUMN", help=f"Column with the {what}; guessed if not given, - for none.")


@contextlib.contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Ctrl-C, or a service manager's SIGTERM, ends what is inside with ``kept`` on stderr, which says what is left."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; {kept}: run the same command again to go on", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def cpus() -> int:
    """The CPUs that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def print_skipped(skipped: list[Skip], output: str) -> None:
    """Say on stderr what could not be read, and where the list of it is."""
    for skip in skipped:
        where = ""
        if skip.first_row is not None and skip.rows is not None:
            where = f" rows {skip.first_row:,} to {skip.first_row + skip.rows - 1:,}"
        print(f"skipped: {skip.file}{where}: {skip.error}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} skipped, listed in {output}/_skipped.json", file=sys.stderr)


def print_timings(stages: dict[str, float], rows: int, run_s: float) -> None:
    """The seconds of each stage, all workers together, its share and its cost a row; then those of the whole run."""
    from rich.console import Console
    from rich.table import Table

    total = sum(stages.values())
    if not total or not rows:
        print("no times by stage: nothing was screened in this run", file=sys.stderr)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("stage", "seconds", "share", "µs a row"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for stage, seconds in [*stages.items(), ("all", total)]:
        table.add_row(stage, f"{seconds:,.2f}", f"{seconds / total:.1%}", f"{seconds / rows * 1e6:,.1f}")
    Console(highlight=False).print(table)
    print(f"{run_s:,.2f} s on the clock: the stages, shared by the workers, then start-up, reading and writing")
