"""`aimds report`: one self-contained HTML page from verdicts."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from aimds.printable import counted

DEFAULT_OUT = Path("report.html")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def report(
        verdicts: Annotated[list[str], typer.Argument(help="Verdict files, folders of them, or globs.")],
        out: Annotated[
            Path | None, typer.Option("--out", "-o", help="The page to write.  \\[default: report.html]")
        ] = None,
        requests: Annotated[
            list[str] | None,
            typer.Option(
                "--requests", help="The original logs, for excerpts where the verdicts carry no text. Repeatable."
            ),
        ] = None,
        title: Annotated[str, typer.Option(help="Heading of the page.")] = "Screening report",
        unmask: Annotated[
            bool, typer.Option("--unmask", help="Show personal data and secrets in the excerpts.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print the figures as JSON; writes a page only with --out.")
        ] = False,
        browse: Annotated[
            bool, typer.Option("--open", help="Open the page in a browser where there is a display.")
        ] = False,
    ) -> None:
        """Draw verdicts as one HTML page: counts over time, threats, patterns, scores, sessions at risk, evidence.

        The page needs no network and runs no script. Personal data and secrets are left out of its excerpts.
        """
        from aimds.jobs.report import report as write_report
        from aimds.printable import LINE, visible

        target = out if out is not None or as_json else DEFAULT_OUT
        findings = write_report(
            verdicts, made_at=datetime.now(UTC), out=target, requests=requests or (), title=title, mask=not unmask
        )
        if as_json:
            print(json.dumps(findings.as_dict(), ensure_ascii=True))
        if target is not None:
            size = target.stat().st_size / 1000
            name = visible(str(target), LINE)
            print(
                f"{name} ({size:,.0f} KB): {counted(findings.rows, 'request')}, {findings.caught:,} caught, "
                f"{findings.unjudged:,} not fully judged",
                file=sys.stderr if as_json else sys.stdout,
            )
            if browse:
                show(target)


def show(page: Path) -> None:
    """Open ``page`` in the browser, or say where it is when there is no display."""
    import webbrowser

    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or not webbrowser.open(page.resolve().as_uri()):
        print(f"no display here; open {page.resolve().as_uri()} in a browser", file=sys.stderr)
