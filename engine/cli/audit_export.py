"""`aimds audit export`: an audit log, or a part of it, as Parquet that verifies by itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from aimds.cli.audit_options import AsJson, LogFile, Quiet, bar, say


def register(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("export")(export)


def export(
    log: LogFile,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Parquet file to write; must not exist.")],
    since: Annotated[str, typer.Option(metavar="TIME", help="From this time on (ISO 8601; UTC without a zone).")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this time.")] = "",
    tenant: Annotated[
        str | None, typer.Option(help='Content of this tenant\'s records only; "": of those without one.')
    ] = None,
    private: Annotated[bool, typer.Option(help="Ids, tenant, identity and digest of the text too.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write records as Parquet, with the chain: `aimds audit verify FILE` checks it without the log.

    Records that were not asked for, but lie between, have a row without content, so that the chain holds.

    Example: aimds audit export audit.log -o march.parquet --since 2026-03-01 --until 2026-04-01 --tenant acme
    """
    from aimds.record.export import Choice, moment
    from aimds.record.export import export as write

    begin, end = moment(since, "--since") if since else None, moment(until, "--until") if until else None
    choice = Choice(begin, end, tenant, private)
    with bar("exporting", quiet) as tell:
        done = write(log, out, choice, tell)
    if as_json:
        typer.echo(json.dumps({"file": str(out), **asdict(done)}))
        return
    say(
        f"{out}: records {done.first} to {done.last}, {done.rows - done.hidden:,} with content, {done.hidden:,} without"
    )
    if not done.signed:
        say("  – it does not end with a signed checkpoint: nothing shows who wrote its last records")
