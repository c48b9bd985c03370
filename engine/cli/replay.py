"""`aimds replay`: what a candidate policy would change of recorded verdicts."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.over_files import EXIT_INTERRUPTED, EXIT_SKIPPED, column, cpus, interruptible, print_skipped
from aimds.cli.progress import progress
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.replay.findings import Findings, Group

EXIT_TOO_MANY = 1
SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def replay(
        policy: Annotated[Path, typer.Argument(metavar="POLICY", help="The candidate policy (TOML).")],
        inputs: Annotated[
            list[str], typer.Argument(metavar="INPUT...", help="Verdicts: files, folders, globs; or logs, see below.")
        ],
        out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Page to write (HTML).")] = None,
        title: Annotated[str, typer.Option(help="Heading of the page.")] = "Policy replay",
        fail_if_released: Annotated[
            int | None, typer.Option(min=0, metavar="N", help="Exit code 1 where more than N rows are released.")
        ] = None,
        fail_if_blocked: Annotated[
            int | None, typer.Option(min=0, metavar="N", help="Exit code 1 where more than N rows are newly blocked.")
        ] = None,
        fail_if_changed: Annotated[
            int | None, typer.Option(min=0, metavar="N", help="Exit code 1 where more than N rows change at all.")
        ] = None,
        on: Annotated[
            datetime | None,
            typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Day for the allowlist.  \\[default: today, UTC]"),
        ] = None,
        samples: Annotated[int, typer.Option(min=0, max=1000, help="Rows of each kind of change to show.")] = 12,
        requests: Annotated[
            list[str] | None,
            typer.Option("--requests", help="The original logs, for texts that the verdicts do not carry. Repeatable."),
        ] = None,
        unmask: Annotated[
            bool, typer.Option("--unmask", help="Show personal data and secrets in the excerpts.")
        ] = False,
        screen_to: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="INPUT are logs: screen them into DIR first, and replay that."),
        ] = None,
        current: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Policy to screen logs with.  \\[default: the shipped one]"),
        ] = None,
        profile: Annotated[str, typer.Option(help="Profile to screen logs in: fast, cascade or full.")] = "cascade",
        text: Annotated[str | None, column("--text-column", "text of logs")] = None,
        session: Annotated[str | None, column("--session-column", "conversation id")] = None,
        tenant: Annotated[str | None, column("--tenant-column", "tenant")] = None,
        moment: Annotated[str | None, column("--time-column", "time")] = None,
        channel: Annotated[str | None, column("--channel-column", "channel or role")] = None,
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes that screen logs.  \\[default: the CPUs there are]")
        ] = None,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    ) -> None:
        """Decide recorded verdicts anew by POLICY and show what would newly be blocked, released or otherwise changed.

        Verdicts hold all that a policy asks for, so nothing is screened again. Logs are screened first, with
        --screen-to. Exit status: 0 done, 1 more changes than a --fail-if option allows, 2 bad input, 130 interrupted.

        Example: aimds replay candidate.toml verdicts/ -o replay.html --fail-if-released 0
        """
        from aimds.errors import DataError
        from aimds.jobs.replay import replay as run
        from aimds.jobs.replay import source
        from aimds.jobs.report import check
        from aimds.respond.policy import Policy

        if out is not None:
            check(out)
        candidate = Policy.load(policy)
        day = datetime.now(UTC).date() if on is None else on.date()
        skipped = False
        if screen_to is not None:
            if source.are_verdicts(inputs):
                raise DataError(inputs[0], "holds verdicts already; leave --screen-to out")
            names = (text, session, tenant, moment, channel)
            paths, skipped = _screen(inputs, screen_to, names, current, profile, workers or cpus(), quiet)
            if not paths:
                raise DataError(inputs[0], "could not be read, and no other log: nothing to replay")
        elif source.are_verdicts(inputs):
            paths = inputs
        else:
            raise _no_verdicts(inputs)
        started = time.perf_counter()
        try:
            findings = run(
                paths,
                candidate,
                today=day,
                samples=samples,
                requests=requests or (),
                mask=not unmask,
                progress=progress(quiet, "replaying"),
            )
        except KeyboardInterrupt:
            print("interrupted; nothing was written", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        seconds = time.perf_counter() - started
        if out is not None:
            _write(findings, out, title)
        if as_json:
            print(json.dumps({**findings.as_dict(), "on": day.isoformat(), "seconds": seconds}, ensure_ascii=True))
        else:
            _print(findings, day, seconds, out)
        limits = (fail_if_blocked, fail_if_released, fail_if_changed)
        if _too_many(findings, limits):
            raise typer.Exit(EXIT_TOO_MANY)
        if skipped:
            raise typer.Exit(EXIT_SKIPPED)


def _no_verdicts(inputs: list[str]) -> Exception:
    from aimds.errors import AimdsError, DataError
    from aimds.jobs.replay import source

    try:
        source.open_verdicts(inputs)
    except AimdsError as error:
        return DataError(inputs[0], f"cannot be replayed ({error}); --screen-to DIR screens logs first")
    return DataError(inputs[0], "cannot be replayed; --screen-to DIR screens logs first")


def _screen(
    inputs: list[str],
    folder: Path,
    names: tuple[str | None, ...],
    current: Path | None,
    profile: str,
    workers: int,
    quiet: bool,
) -> tuple[list[str], bool]:
    """Screen logs into ``folder``; their verdicts, which lie there beside those of earlier runs, and whether something
    had to be skipped. Goes on where it was interrupted."""
    from aimds.cli.startup import warm_up
    from aimds.jobs.scan import Columns, Factory, Scan, ScanConfig

    config = ScanConfig(tuple(inputs), folder, columns=Columns(*names), with_text=True, workers=workers)
    warm_up(quiet)
    policy = {} if current is None else {"policy": str(current.resolve())}
    factory = Factory("aimds.jobs.scan.shipped:screener", {"profile": profile, **policy})
    with interruptible(f"what is finished is kept in {folder}"):
        summary = Scan(config, factory).run(progress(quiet))
    print_skipped(summary.skipped, f"{summary.output}/_skipped.json", "another folder for --screen-to")
    return [str(one["output"]) for one in summary.outputs], bool(summary.skipped)


def _write(findings: Findings, out: Path, title: str) -> None:
    from aimds import __version__
    from aimds.jobs.replay.page import render
    from aimds.jobs.report import write

    write(out, render(findings, title=title, made_at=datetime.now(UTC), engine_version=__version__))


def _too_many(findings: Findings, limits: tuple[int | None, int | None, int | None]) -> bool:
    from aimds.jobs.replay.findings import BLOCKED, RELEASED

    whole = findings.whole
    counts = (whole.kinds[BLOCKED], whole.kinds[RELEASED], whole.changed)
    found = False
    for name, count, limit in zip(("newly blocked", "newly released", "changed"), counts, limits, strict=True):
        if limit is not None and count > limit:
            found = True
            print(f"{counted(count, 'row')} {name}, more than the {limit:,} that are allowed", file=sys.stderr)
    return found


def _print(findings: Findings, day: date, seconds: float, out: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from aimds.cli import terminal
    from aimds.jobs.replay.findings import BLOCKED, OTHERWISE, RELEASED
    from aimds.jobs.report.charts import percent
    from aimds.printable import LINE, visible

    console = terminal.console(soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    speed = findings.rows / seconds if seconds else 0.0
    version = visible(findings.policy, LINE)
    say(f"{counted(findings.rows, 'row')} in {seconds:,.1f} s, {speed:,.0f} rows/s, by policy {version} on {day}")
    whole = findings.whole
    for word, kind in (("newly blocked", BLOCKED), ("newly released", RELEASED), ("otherwise changed", OTHERWISE)):
        share = whole.share(kind)
        low, high = share.bounds
        say(f"{share.rows:>12,} {word:<18} {percent(share.rows, share.of):>8}, 95% interval {low} to {high}")
    moved = [(pair, n) for pair, n in findings.transitions.items() if pair[0] != pair[1]]
    for (before, after), n in moved[:SHOWN]:
        say(f"{n:>12,} {before} → {after}")
    for (before, after), n in findings.session_transitions.items():
        if before != after:
            say(f"{n:>12,} session: {before} → {after}")

    def listing(name: str, groups: list[Group]) -> None:
        groups = [group for group in groups if group.changed]
        if not groups:
            return
        table = Table(box=None, pad_edge=False)
        for title in (name, "rows", "blocked", "95% interval", "released", "95% interval", "otherwise"):
            # Names are folded where there is no room; figures stay whole.
            table.add_column(
                title, justify="left" if title == name else "right", overflow="fold", no_wrap=title != name
            )
        for group in groups[:SHOWN]:
            cells: list[str | Text] = [Text(visible(group.name, 40)), f"{group.rows:,}"]
            for kind in (BLOCKED, RELEASED):
                share = group.share(kind)
                cells += [f"{share.rows:,}", "–".join((share.bounds[0].removesuffix(" %"), share.bounds[1]))]
            table.add_row(*cells, f"{group.kinds[OTHERWISE]:,}")
        console.print(terminal.uncut(table), markup=False)
        if len(groups) > SHOWN:
            say(f"and {len(groups) - SHOWN:,} more, see --json")

    listing("tenant", findings.tenants)
    listing("threat type", findings.threats)
    listing("channel", findings.channels)
    for note in findings.notes:
        say(f"note: {note}")
    if out is not None:
        say(f"page {visible(str(out), LINE)}")
