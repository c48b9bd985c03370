"""What the commands that work over files share: their columns, processes and exits, and what they say at the end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from aimds.cli.signals import terminable

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
    with terminable():
        try:
            yield
        except KeyboardInterrupt:
            print(f"interrupted; {kept}: run the same command again to go on", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def cpus() -> int:
    """The CPUs that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def print_skipped(skipped: list[Skip], listed: str, anew: str = "--overwrite") -> None:
    """Say on stderr what could not be read, that it is ``listed`` in a file, and what to do; ``anew`` makes what was
    done with gaps be done again."""
    from aimds.jobs.scan.summary import way_out
    from aimds.printable import LINE, visible

    for skip in skipped:
        where = ""
        if skip.first_row is not None and skip.rows is not None:
            where = f" rows {skip.first_row:,} to {skip.first_row + skip.rows - 1:,}"
        print(visible(f"skipped: {skip.file}{where}: {skip.error}", LINE), file=sys.stderr)
    if skipped:
        print(f"{len(skipped):,} skipped, listed in {listed}", file=sys.stderr)
        print(f"to go on: {way_out(skipped, anew)}", file=sys.stderr)


def print_timings(stages: dict[str, float], rows: int, run_s: float) -> None:
    """The seconds of each stage, all workers together, its share and its cost a row; then those of the whole run."""
    from rich.table import Table

    from aimds.cli import terminal

    total = sum(stages.values())
    if not total or not rows:
        print("no times by stage: nothing was screened in this run", file=sys.stderr)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("stage", "seconds", "share", "µs a row"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for stage, seconds in [*stages.items(), ("all", total)]:
        table.add_row(stage, f"{seconds:,.2f}", f"{seconds / total:.1%}", f"{seconds / rows * 1e6:,.1f}")
    terminal.console().print(terminal.uncut(table))
    print(f"{run_s:,.2f} s on the clock: the stages, shared by the workers, then start-up, reading and writing")
