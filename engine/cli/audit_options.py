"""What the commands of `aimds audit` share: the log, its keys, a bar, times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.record.audit import AuditLog

LogFile = Annotated[Path, typer.Argument(metavar="LOG", help="The audit log; its other files lie beside it.")]
KeyFile = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Key the log was started with.")]
Signing = Annotated[Path | None, typer.Option("--signing-key", metavar="FILE", help="Key that signs the log.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, it is only said what would be done.")]
Tell = Callable[[int, int], None]


@contextmanager
def bar(doing: str, quiet: bool) -> Iterator[Tell | None]:
    """Who tells of bytes done: a bar on a terminal, gone at the end, nobody elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def opened(file: Path, key: Path | None, signing: Path | None) -> AuditLog:
    """The log, which must be there, open for writing.

    Raises:
        DataError: it is missing, damaged, or being written.
        ConfigError: a key does not fit.
    """
    from aimds.errors import DataError
    from aimds.record.audit import AuditLog
    from aimds.record.keys import load_key, load_signing_key

    if not file.is_file():
        raise DataError(file, "no such log")
    return AuditLog(file, key=load_key(key) if key else None, signing=load_signing_key(signing) if signing else None)


def say(line: str) -> None:
    """Print ``line`` without what could move the cursor."""
    typer.echo(visible(line, LINE))
