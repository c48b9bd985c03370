"""`aimds campaigns`: families of attacks that are worded alike, over a whole history and all its tenants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.over_files import EXIT_SKIPPED, column, cpus, interruptible, print_skipped
from aimds.cli.progress import progress
from aimds.cli.startup import BACKEND
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.campaigns import Findings, Result

PAGE = "campaigns.html"
SHOWN = 12
"""Families in the table on a terminal; the page and the JSON document have more."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def campaigns(
        inputs: Annotated[
            list[str],
            typer.Argument(metavar="INPUT...", help="Verdicts with their texts (aimds scan --with-text), or raw logs."),
        ],
        output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for what is found.")],
        at: Annotated[
            str, typer.Option("--at", metavar="ACTION", help="Candidates: rows with this action or a worse one.")
        ] = "flag",
        p_value: Annotated[
            float | None,
            typer.Option("--p-value", metavar="P", help="Candidates instead: rows with at most this p-value."),
        ] = None,
        min_rows: Annotated[int, typer.Option("--min-rows", help="Rows from which a family is reported.")] = 3,
        least_tenants: Annotated[
            int, typer.Option("--min-tenants", min=1, help="Tenants from which a family is reported.")
        ] = 1,
        cut: Annotated[
            float, typer.Option("--cut", help="Mean likeness from which texts are one family; higher is stricter.")
        ] = 0.30,
        top: Annotated[int, typer.Option(min=1, help="Families that are described, largest first.")] = 50,
        signatures: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Write the drafted signatures there, a file each; nothing is installed."),
        ] = None,
        text: Annotated[
            str | None,
            typer.Option("--text-column", metavar="COLUMN", help="Column with the text; guessed if not given."),
        ] = None,
        session: Annotated[str | None, column("--session-column", "conversation id")] = None,
        tenant: Annotated[str | None, column("--tenant-column", "tenant")] = None,
        moment: Annotated[str | None, column("--time-column", "time")] = None,
        channel: Annotated[str | None, column("--channel-column", "channel or role")] = None,
        turn: Annotated[str | None, column("--turn-column", "turn number")] = None,
        ident: Annotated[str | None, column("--id-column", "request id")] = None,
        user: Annotated[
            str | None, typer.Option("--user-column", metavar="COLUMN", help="Column with the user, to count them.")
        ] = None,
        profile: Annotated[str, typer.Option(help="For raw logs: fast, cascade or full.")] = "cascade",
        most_texts: Annotated[
            int, typer.Option("--most-texts", min=1, help="Different texts compared; of more, a sample.")
        ] = 50_000,
        unmask: Annotated[
            bool, typer.Option("--unmask", help="Leave personal data and secrets in the texts shown and in drafts.")
        ] = False,
        page: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The page to write.  \\[default: DIR/campaigns.html]")
        ] = None,
        title: Annotated[str, typer.Option(help="Heading of the page.")] = "Campaigns",
        workers: Annotated[
            int | None,
            typer.Option(min=1, help="Processes for raw logs, threads after.  \\[default: the CPUs there are]"),
        ] = None,
        backend: Annotated[str, typer.Option(help=BACKEND)] = "auto",
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Screen raw logs anew where DIR holds verdicts of other settings.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    ) -> None:
        """Find families of attacks that are worded alike, across tenants and time, and draft a signature for each.

        Writes DIR/campaigns.parquet, a row for each candidate with its family, and a page. Raw logs are screened first,
        into DIR/verdicts; that work is kept when it is interrupted. Exit status: 0 done, 1 something, or all of it,
        could not be read, 2 bad input: nothing was begun, or writing failed, 130 interrupted.

        Example: aimds campaigns 'verdicts/*.parquet' -o campaigns/ --signatures drafts/
        """
        from aimds import kernels
        from aimds.analyze.campaigns import Settings
        from aimds.cli.startup import warm_up
        from aimds.jobs.campaigns import Campaigns, Options, Wanted
        from aimds.jobs.report import check
        from aimds.jobs.scan import Columns, Factory, ScanConfig

        target = page or output / PAGE
        options = Options(
            wanted=Wanted(at, p_value),
            settings=Settings(cut=cut, min_rows=min_rows),
            least_tenants=least_tenants,
            top=top,
            user=user,
            most_texts=most_texts,
            signatures=signatures,
            page=target,
            title=title,
            mask=not unmask,
            threads=workers or cpus(),
        )
        config = ScanConfig(
            inputs=tuple(inputs),
            output=output,
            columns=Columns(text, session, tenant, moment, channel, turn, ident),
            workers=workers or cpus(),
            overwrite=overwrite,
        )
        check(target)
        kernels.backend(backend)
        warm_up(quiet)
        factory = Factory("aimds.jobs.scan.shipped:screener", {"profile": profile, "backend": backend})
        with interruptible(f"what was screened is kept in {output}"):
            result = Campaigns(config, factory, options).run(progress(quiet))
        if as_json:
            print(json.dumps(result.as_dict(), ensure_ascii=True))
        else:
            _print(result, target)
        if result.findings.skipped:
            raise typer.Exit(EXIT_SKIPPED)


def _print(result: Result, page: Path) -> None:
    from rich.table import Table

    from aimds.cli import terminal
    from aimds.printable import LINE, visible

    found = result.findings
    console = terminal.console(soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    if found.skipped and not found.rows:
        say(f"nothing could be read: nothing was compared; page {visible(str(page), LINE)}")
        print_skipped(found.skipped, str(page))
        return
    for line in _summary(found):
        say(line)
    if found.families:
        table = Table(box=None, pad_edge=False)
        for name in ("", "rows", "tenants", "sessions", "texts", "first", "last", "threat"):
            table.add_column(name, justify="left" if name in ("first", "last", "threat") else "right", no_wrap=True)
        for place, one in enumerate(found.families[:SHOWN], 1):
            figures = (one.rows, one.tenants, one.sessions, one.texts)
            threat = visible(one.threat, 24)
            table.add_row(str(place), *(f"{n:,}" for n in figures), _day(one.first), _day(one.last), threat)
        console.print(terminal.uncut(table), markup=False)
        if found.n_families > SHOWN:
            say(f"and {found.n_families - SHOWN:,} more: see the page or --json")
    drafted = [one for one in found.families if one.draft is not None]
    for place, one in enumerate(found.families[:SHOWN], 1):
        say(f"{place:>3}  {visible(one.medoid or '(not shown)', max(40, console.width - 5))}")
        if one.draft is not None:
            spared = f", none of {one.draft.spared:,} allowed" if one.draft.spared else ""
            words = " | ".join(pattern.text for pattern in one.draft.patterns)
            draft = f"draft finds {one.draft.reached} of {one.draft.tried}{spared}: {words}"
            say(f"     {visible(draft, max(40, console.width - 5))}")
    say(f"rows in {visible(str(result.output), LINE)}, page {visible(str(page), LINE)}")
    if result.written:
        folder = visible(str(result.written[0].parent), LINE)
        say(
            f"{counted(len(result.written), 'draft')} in {folder}: try one with aimds hunt --pattern FILE; nothing "
            f"was installed"
        )
    elif drafted:
        say("--signatures DIR writes the drafts; nothing was installed")
    print_skipped(found.skipped, str(page))


def _summary(found: Findings) -> Iterator[str]:
    rows = counted(found.rows, "row")
    if not found.candidates:
        yield f"{rows}; none is an attack with {found.chosen_by}: nothing to compare"
        return
    candidates = f"{counted(found.candidates, 'candidate')} (attacks with {found.chosen_by})"
    yield f"{rows}; {candidates}, {counted(found.texts, 'different text')} among them"
    if found.left_out:
        yield f"not compared: {counted(found.left_out, 'candidate')}, more texts than --most-texts"
    tenants = f" and {found.least_tenants:,} tenants" if found.least_tenants > 1 else ""
    least = f"{counted(found.min_rows, 'row')}{tenants}"
    if found.n_families:
        families = f"{counted(found.n_families, 'family', 'families')} of at least {least}"
        yield f"{families} {'holds' if found.n_families == 1 else 'hold'} {found.in_families:,} of the candidates"
    else:
        yield f"no family: no texts are worded alike in {least} or more"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else "–"
