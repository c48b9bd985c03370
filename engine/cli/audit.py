"""`aimds audit`: verify an audit log or an export of one, print its records, make keys."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli import audit_export, audit_keep
from aimds.cli.audit_options import AsJson, KeyFile, LogFile, Quiet, bar, say
from aimds.printable import LINE, counted, visible

if TYPE_CHECKING:
    from aimds.record.verification import Report

EXIT_PROBLEMS = 1

Export = Annotated[Path, typer.Argument(metavar="FILE", help="The audit log, or an export of one.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Verify, read and export audit logs, and take subjects out of them.", no_args_is_help=True)
    group.command("verify")(verify)
    group.command("show")(show)
    audit_export.register(group)
    audit_keep.register(group)
    group.command("key")(key)
    group.command("signing-key")(signing_key)
    app.add_typer(group, name="audit")


def verify(
    file: Export,
    key: KeyFile = None,
    public: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Public half of a key that signed it. Repeatable.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A copy of its head, kept elsewhere. Repeatable.")
    ] = None,
    expect: Annotated[str, typer.Option(help="SEQ:HASH of a record, noted earlier in a safe place.")] = "",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check that an audit log is whole, over all its files; or an export of one, by itself.

    Exit code 0: nothing wrong; 1: changed, cut or damaged; 2: unreadable.
    """
    from aimds.record.export_check import is_export, verify_export
    from aimds.record.head import read_checkpoint
    from aimds.record.keys import load_key, load_public_key
    from aimds.record.verification import verify as check

    keys = [load_public_key(one) for one in public or ()]
    kept = [read_checkpoint(one).point for one in checkpoint or ()]
    noted = _checkpoint(expect) if expect else None
    with bar("verifying", quiet) as tell:
        if is_export(file):
            known = [(point.seq, point.hash, "the checkpoint that was kept") for point in kept]
            known += [(*noted, "the expected checkpoint")] if noted else []
            report = verify_export(file, public=keys, points=known, progress=tell)
        else:
            secret = load_key(key) if key else None
            report = check(file, key=secret, public=keys, expect=noted, points=kept, progress=tell)
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
    """Print the last records as JSON lines, unchecked, from the closed files too where the last one holds fewer."""
    from aimds.errors import DataError
    from aimds.record.segments import closed, lines

    kept: deque[bytes] = deque()
    try:
        for part in (file, *reversed(closed(file))):
            with part.open("rb") as opened:
                kept.extendleft(reversed(deque(lines(opened), maxlen=last - len(kept))))
            if len(kept) == last:
                break
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


def signing_key(file: Annotated[Path, typer.Argument(help="Where to write the key; must not exist.")]) -> None:
    """Make an Ed25519 key that signs a log; its public half, FILE.pub, is for those who check it."""
    from aimds.record.keys import create_signing_key

    public = create_signing_key(file)
    say(f"{file}: new signing key, for the process that writes the log")
    say(f"{public}: its public half, for those who check it")


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
    files = f" in {counted(report.files, 'file')}" if report.files > 1 else ""
    console.print(line(f"{report.path}: {counted(report.records, 'record')}{files},"), verdict)
    for problem in report.problems:
        where = f"line {problem.line}" if problem.line else "log"
        if problem.line and report.files > 1:
            where = f"{problem.file}, {where}"
        console.print("  ✗", line(f"{where}: {problem.kind}: {problem.message}"))
    if report.problem_count > len(report.problems):
        console.print("  …", line(f"and {report.problem_count - len(report.problems)} more"))
    for sentence in report.proved:
        console.print("  ✓", line(sentence))
    for sentence in report.unproved:
        console.print("  –", line(f"not proved {sentence}"))
    console.print(line(f"last record {report.seq}:{report.hash}"))
