"""`aimds audit`: verify an audit log, print its records, make a key."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.record.verification import Report

EXIT_PROBLEMS = 1

LogFile = Annotated[Path, typer.Argument(help="The audit log; its head is expected beside it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Verify and read audit logs.", no_args_is_help=True)
    group.command("verify")(verify)
    group.command("show")(show)
    group.command("key")(key)
    app.add_typer(group, name="audit")


def verify(
    file: LogFile,
    key: Annotated[Path | None, typer.Option(help="Key file the log was started with.")] = None,
    expect: Annotated[str, typer.Option(help="SEQ:HASH of a record, noted earlier in a safe place.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check that an audit log is whole. Exit code 0: nothing wrong; 1: changed, cut or damaged; 2: unreadable."""
    from aimds.record.keys import load_key
    from aimds.record.verification import verify as check

    report = check(file, key=load_key(key) if key else None, expect=_checkpoint(expect) if expect else None)
    if as_json:
        typer.echo(json.dumps({"ok": report.ok, **asdict(report)}))
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(EXIT_PROBLEMS)


def show(
    file: LogFile,
    last: Annotated[int, typer.Option(min=1, help="How many records, counted from the end.")] = 20,
) -> None:
    """Print the last records as JSON lines, unchecked."""
    from aimds.errors import DataError

    try:
        with file.open("rb") as lines:
            kept = deque(lines, maxlen=last)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    for line in kept:
        # Escapes keep control characters of a forged line away from the terminal.
        typer.echo(line.rstrip(b"\n").decode("ascii", "backslashreplace").translate(_CONTROLS))


_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def key(file: Annotated[Path, typer.Argument(help="Where to write the key; must not exist.")]) -> None:
    """Make a random key that only its owner may read."""
    from aimds.record.keys import create_key

    create_key(file)
    typer.echo(f"{visible(str(file), LINE)}: new key; keep it away from the machine that holds the log")


def _checkpoint(text: str) -> tuple[int, str]:
    from aimds.errors import ConfigError

    seq, _, digest = text.partition(":")
    numbered = seq.isascii() and seq.isdigit() and len(seq) < 19
    if not (numbered and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
        raise ConfigError("--expect", text, "SEQ:HASH, a record's number and its 64 hexadecimal digits")
    return int(seq), digest


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.text import Text

    def line(content: str) -> Text:
        return Text(visible(content, LINE))

    console = Console(soft_wrap=True)
    verdict = Text("ok", "bold green") if report.ok else Text(f"{report.problem_count} problems", "bold red")
    console.print(line(f"{report.path}: {report.records} records,"), verdict)
    for problem in report.problems:
        where = f"line {problem.line}" if problem.line else "log"
        console.print("  ✗", line(f"{where}: {problem.kind}: {problem.message}"))
    if report.problem_count > len(report.problems):
        console.print("  …", line(f"and {report.problem_count - len(report.problems)} more"))
    for sentence in report.proved:
        console.print("  ✓", line(sentence))
    for sentence in report.unproved:
        console.print("  –", line(f"not proved {sentence}"))
    console.print(line(f"last record {report.seq}:{report.hash}"))
