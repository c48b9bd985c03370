"""`aimds hunt`: where in the logs one new pattern, signature or example was met; can be killed and run again."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.over_files import EXIT_SKIPPED, column, cpus, interruptible, print_skipped
from aimds.cli.progress import progress
from aimds.cli.startup import BACKEND
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.hunt import Result
    from aimds.jobs.hunt.findings import Holders

PAGE = "hunt.html"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def hunt(
        inputs: Annotated[
            list[str],
            typer.Argument(metavar="INPUT...", help="Files, folders, globs or URLs (file://, s3://, gs:// …)."),
        ],
        output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the hits.")],
        pattern: Annotated[
            list[Path] | None,
            typer.Option("--pattern", "-p", metavar="FILE", help="TOML file of patterns or of signatures. Repeatable."),
        ] = None,
        exemplar: Annotated[
            list[str] | None,
            typer.Option("--exemplar", "-e", metavar="TEXT", help="Find texts that say what TEXT says. Repeatable."),
        ] = None,
        exemplars: Annotated[
            Path | None, typer.Option("--exemplars", metavar="FILE", help="Text file with one exemplar a line.")
        ] = None,
        threat: Annotated[str, typer.Option(help="Threat type of the exemplars.")] = "direct_injection",
        threshold: Annotated[
            float | None,
            typer.Option(
                help="How far from a pattern a text may be, above 0 and up to 0.6.  \\[default: 0.15]",
                show_default=False,
            ),
        ] = None,
        benign: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Text file, one benign text a line, to learn the thresholds from."),
        ] = None,
        decode: Annotated[
            bool, typer.Option("--decode/--no-decode", help="Look also into what is encoded.  \\[default: --decode]")
        ] = True,
        text: Annotated[
            str | None, typer.Option("--text-column", metavar="COLUMN", help="Column to search; guessed if not given.")
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
        carry: Annotated[
            list[str] | None,
            typer.Option("--carry", metavar="COLUMN", help="Column to copy to the hits. Repeatable."),
        ] = None,
        excerpts: Annotated[
            bool,
            typer.Option("--excerpts/--no-excerpts", help="Keep the words around each hit.  \\[default: --excerpts]"),
        ] = True,
        unmask: Annotated[
            bool, typer.Option("--unmask", help="Leave personal data and secrets in the excerpts.")
        ] = False,
        page: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The page to write.  \\[default: DIR/hunt.html]")
        ] = None,
        title: Annotated[str, typer.Option(help="Heading of the page.")] = "Hunt",
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes; 1 works in this one.  \\[default: the CPUs there are]")
        ] = None,
        backend: Annotated[str, typer.Option(help=BACKEND)] = "auto",
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Replace hits of another hunt; retry what was skipped.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    ) -> None:
        """Search INPUT for new patterns, signatures or exemplars and write DIR/<input name>, one row a hit, and a page.

        Runs only the stages that these need, so it is several times as fast as a scan. A hunt that was killed goes on
        when the same command is run again, and the result is the same to the byte. Exit status: 0 all is done, 1
        something, or all of it, could not be read (listed in DIR/_skipped.json), 2 bad input: nothing was begun, or
        writing failed, 130 interrupted.

        Example: aimds hunt 'logs/*.parquet' --pattern new.toml -o hits/
        """
        from aimds import kernels
        from aimds.cli.startup import warm_up
        from aimds.jobs.hunt import LIMITS, Hunt, Options, sought
        from aimds.jobs.hunt.sought import lines
        from aimds.jobs.report import check
        from aimds.jobs.scan import Columns, ScanConfig

        target = page or output / PAGE
        config = ScanConfig(
            inputs=tuple(inputs),
            output=output,
            columns=Columns(text, session, tenant, moment, channel, turn, ident),
            carry=tuple(carry or ()),
            workers=workers or cpus(),
            overwrite=overwrite,
            unit_rows=LIMITS.batch_rows,
            limits=LIMITS,
        )
        check(target)
        kernels.backend(backend)
        warm_up(quiet)
        wanted = sought(
            pattern or (),
            [*(exemplar or ()), *(lines(exemplars) if exemplars else ())],
            threshold=threshold,
            threat=threat,
            benign=lines(benign) if benign else (),
        )
        options = Options(
            decode=decode, excerpts=excerpts, mask=not unmask, user=user, page=target, title=title, backend=backend
        )
        with interruptible(f"what is finished is kept in {output}"):
            result = Hunt(config, wanted, options).run(progress(quiet))
        if as_json:
            print(json.dumps(result.as_dict(), ensure_ascii=True))
        else:
            _print(result, target)
        if result.run.skipped:
            raise typer.Exit(EXIT_SKIPPED)


def _print(result: Result, page: Path) -> None:
    from rich.table import Table

    from aimds.cli import terminal
    from aimds.detect.patterns.similarity import MAX_REACH
    from aimds.printable import LINE, visible

    found, run = result.findings, result.run
    console = terminal.console(soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    if run.skipped and not found.rows:
        say(f"nothing could be read: nothing was searched; page {visible(str(page), LINE)}")
        print_skipped(run.skipped, f"{run.output}/_skipped.json")
        return
    if run.nothing_to_do and run.outputs:
        say(f"nothing to do: all hits are there already, in {visible(run.output, LINE)}")
    else:
        resumed = f", {run.units_resumed:,} of {run.units_total:,} units resumed" if run.units_resumed else ""
        say(f"{counted(run.rows_screened, 'row')} in {run.seconds:,.1f} s, {run.rows_per_s:,.0f} rows/s{resumed}")
    held = [("session", found.sessions), ("tenant", found.tenants), ("user", found.users)]
    among = [_some(holders, name) for name, holders in held if holders is not None and holders.count]
    share = f" ({found.rows_hit / found.rows:.3%})" if found.rows_hit else ""
    say(
        f"{found.rows_hit:,} of {counted(found.rows, 'row')} hit{share}"
        + (f", in {', '.join(among)}" if among else "")
        + (f"; first {_day(found.first)}, last {_day(found.last)} UTC" if found.first and found.last else "")
    )
    table = Table(box=None, pad_edge=False)
    for name in ("pattern", "rows", "first", "last", "text"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    # What the other columns leave: rich would narrow dates and ids before it cuts a text.
    room = max(16, console.width - 50 - max((len(visible(one.id, 40)) for one in found.patterns), default=0))
    for one in found.patterns:
        dates = (_day(one.first), _day(one.last))
        table.add_row(visible(one.id, 40), f"{one.rows:,}", *dates, visible(one.text, room))
    console.print(terminal.uncut(table), markup=False)
    reach = max((one.threshold for one in found.patterns if one.threshold is not None), default=MAX_REACH)
    if not found.rows_hit and reach < MAX_REACH:
        say(f"nothing within {reach:g} of a pattern; a higher --threshold, up to {MAX_REACH:g}, finds looser wordings")
    if found.unjudged:
        say(
            f"{counted(found.unjudged, 'row')} could not be searched: no text, too long, not readable, or a stage "
            f"broke on it"
        )
    say(f"hits in {visible(run.output, LINE)}, page {visible(str(page), LINE)}")
    print_skipped(run.skipped, f"{run.output}/_skipped.json")


def _some(holders: Holders, name: str) -> str:
    return f"{'' if holders.exact else 'over '}{holders.count:,} {name}{'s' if holders.count != 1 else ''}"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else "–"
