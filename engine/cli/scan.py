"""`aimds scan`: verdicts for every row of Parquet (or JSON Lines, CSV) logs; can be killed and run again."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.over_files import EXIT_SKIPPED, column, cpus, interruptible, print_skipped, print_timings
from aimds.cli.progress import progress
from aimds.cli.startup import BACKEND, RAY, RAY_ADDRESS
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.scan import Factory, Following, ScanConfig
    from aimds.jobs.scan.progress import Progress
    from aimds.jobs.scan.summary import Summary

SHIPPED = "shipped"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def scan(
        inputs: Annotated[
            list[str],
            typer.Argument(metavar="INPUT...", help="Files, folders, globs or URLs (file://, s3://, gs:// …)."),
        ],
        output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the verdicts.")],
        text: Annotated[
            str | None, typer.Option("--text-column", metavar="COLUMN", help="Column to screen; guessed if not given.")
        ] = None,
        session: Annotated[str | None, column("--session-column", "conversation id")] = None,
        tenant: Annotated[str | None, column("--tenant-column", "tenant")] = None,
        moment: Annotated[str | None, column("--time-column", "time")] = None,
        channel: Annotated[str | None, column("--channel-column", "channel or role")] = None,
        turn: Annotated[str | None, column("--turn-column", "turn number")] = None,
        ident: Annotated[str | None, column("--id-column", "request id")] = None,
        events: Annotated[str | None, column("--events-column", "events that policies over sessions ask for")] = None,
        carry: Annotated[
            list[str] | None,
            typer.Option("--carry", metavar="COLUMN", help="Column to copy to the verdicts. Repeatable."),
        ] = None,
        with_text: Annotated[bool, typer.Option("--with-text", help="Copy the text to the verdicts.")] = False,
        workers: Annotated[
            int | None, typer.Option(min=1, help="Processes; 1 works in this one.  \\[default: the CPUs there are]")
        ] = None,
        on_ray: Annotated[bool, typer.Option("--ray", help=RAY)] = False,
        ray_address: Annotated[str | None, typer.Option("--ray-address", metavar="HOST:PORT", help=RAY_ADDRESS)] = None,
        profile: Annotated[str, typer.Option(help="fast, cascade or full.")] = "cascade",
        gray: Annotated[
            float | None, typer.Option(metavar="P", help="p-value at which the gray zone of cascade begins.")
        ] = None,
        policy: Annotated[Path | None, typer.Option(help="Policy file.  \\[default: the shipped one]")] = None,
        trace_policies: Annotated[
            str | None,
            typer.Option(
                "--trace-policies",
                metavar="FILE",
                help='Judge sessions by the policies in FILE, or by those that are "shipped", across all files.',
            ),
        ] = None,
        across_files: Annotated[
            bool, typer.Option("--across-files", help="Score sessions that run on from file to file as one.")
        ] = False,
        attractor: Annotated[
            bool, typer.Option("--attractor", help="Fill the column attractor: how sessions move, from 32 turns on.")
        ] = False,
        joined: Annotated[
            bool,
            typer.Option("--joined", help="Judge turns together with those before them too: about twice the work."),
        ] = False,
        calibration: Annotated[
            Path | None, typer.Option(metavar="DIR", help="What aimds calibrate wrote for this traffic.")
        ] = None,
        patterns: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Patterns kept by aimds patterns, beside the shipped ones.")
        ] = None,
        learned: Annotated[Path | None, typer.Option(metavar="DIR", help="What aimds learn has put in force.")] = None,
        backend: Annotated[str, typer.Option(help=BACKEND)] = "auto",
        audit: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Append each output and its SHA-256 to this audit log.")
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Replace verdicts of other settings; retry what was skipped.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        timings: Annotated[bool, typer.Option("--timings", help="Show the share of each stage in the time.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
        screener: Annotated[str | None, typer.Option(hidden=True)] = None,
    ) -> None:
        """Screen every row of INPUT and write DIR/<input name>, same rows, same order.

        Memory stays bounded whatever the files hold. A scan that was killed goes on when the same command is run again,
        and the result is the same to the byte. Exit status: 0 all is done, 1 something, or all of it, could not be read
        (listed in DIR/_skipped.json), 2 bad input: nothing was begun, or writing failed, 130 interrupted.

        Example: aimds scan 'logs/*.parquet' -o verdicts/
        """
        from aimds import kernels
        from aimds.cli.startup import warm_up
        from aimds.errors import ConfigError
        from aimds.jobs.scan import Columns, Factory, Following, Scan, ScanConfig

        columns = Columns(text, session, tenant, moment, channel, turn, ident)
        if trace_policies is not None:
            columns = replace(columns, events=events)
            trace_policies = _policies(trace_policies)
        elif events is not None:
            raise ConfigError("--events-column", events, "--trace-policies beside it")
        following = Following(trace_policies, across_files, attractor, joined)
        config = ScanConfig(
            inputs=tuple(inputs),
            output=output,
            columns=columns,
            carry=tuple(carry or ()),
            with_text=with_text,
            workers=workers or cpus(),
            overwrite=overwrite,
            told=_told(
                {
                    "--profile": profile,
                    "--gray": gray,
                    "--policy": policy,
                    "--trace-policies": trace_policies,
                    "--across-files": across_files,
                    "--attractor": attractor,
                    "--joined": joined,
                    "--calibration": calibration,
                    "--patterns": patterns,
                    "--learned": learned,
                }
            ),
        )
        spread = on_ray or ray_address is not None
        if screener is None:
            if not spread:
                kernels.backend(backend)
            warm_up(quiet)
            folders = {"policy": policy, "calibration": calibration, "patterns": patterns, "learned": learned}
            chosen = {name: str(path.resolve()) for name, path in folders.items() if path is not None}
            zone = {} if gray is None else {"gray": gray}
            arguments: dict[str, Any] = {"profile": profile, "backend": backend, **chosen, **zone}
            factory = Factory("aimds.jobs.scan.shipped:screener", arguments)
        else:
            factory = Factory(screener, {})
        with interruptible(f"what is finished is kept in {output}"):
            if spread:
                summary = _on_ray(config, factory, following, ray_address, workers, backend, progress(quiet))
            else:
                summary = Scan(config, factory, following=following).run(progress(quiet))
        if audit is not None:
            _record(audit, summary)
        if as_json:
            print(json.dumps(summary.to_json(), ensure_ascii=True))
        else:
            _print(summary)
            if timings:
                print_timings(summary.stages, summary.rows_screened, summary.seconds)
        if summary.skipped:
            raise typer.Exit(EXIT_SKIPPED)


def _told(options: dict[str, object]) -> dict[str, str]:
    """Those that were given, a switch without a value."""
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return {name: "" if value is True else str(value) for name, value in given.items()}


def _policies(file: str) -> str:
    """What `Scan` takes for the policies in ``file``; where they cannot be used the program ends with 2."""
    from aimds.cli.trace_policy import load

    path = None if file == SHIPPED else Path(file).resolve()
    load(path)
    return SHIPPED if path is None else str(path)


def _on_ray(
    config: ScanConfig,
    factory: Factory,
    following: Following,
    address: str | None,
    workers: int | None,
    backend: str,
    progress: Progress,
) -> Summary:
    """The same scan by the actors of a cluster."""
    from aimds.actors.cluster import connect
    from aimds.actors.topology import shares
    from aimds.jobs.scan import Scan
    from aimds.jobs.scan.cluster import Actors

    cluster = connect(address, cpus=workers)
    # Ray has put its own handler in the place of ours.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        count, share = shares(cluster.nodes(), backend=backend, workers=workers)
        each = f"{share.gpus:.0f} GPU and {share.cpus:.0f} CPU" if share.gpus else f"{share.cpus:.0f} CPU"
        progress.note(f"Ray: {len(cluster.nodes())} machines, {count} workers with {each} each")
        config = replace(config, workers=count)
        pool = functools.partial(Actors, output=config.output, workers=count, share=share)
        # Ray prints what befalls its workers on stdout, where only the result belongs.
        with contextlib.redirect_stdout(sys.stderr):
            return Scan(config, factory, following=following, pool=pool).run(progress)
    finally:
        cluster.close()


def _record(path: Path, summary: Summary) -> None:
    import hashlib

    from aimds.record.audit import AuditLog

    def bodies() -> Iterator[dict[str, Any]]:
        for output in summary.outputs:
            with open(output["output"], "rb") as file:
                yield {**output, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
        for skip in summary.skipped:
            yield {"skipped": asdict(skip)}

    with AuditLog(path) as log:
        log.append_many("scan", bodies())


def _print(summary: Summary) -> None:
    from rich.table import Table

    from aimds.cli import terminal

    console = terminal.console(soft_wrap=True)
    if summary.nothing_read:
        console.print(f"nothing could be read: no verdicts were written to {summary.output}", markup=False)
    elif summary.nothing_to_do and summary.outputs:
        console.print(f"nothing to do: all verdicts are there already, in {summary.output}", markup=False)
    else:
        resumed = (
            f", {summary.units_resumed:,} of {summary.units_total:,} units resumed" if summary.units_resumed else ""
        )
        console.print(
            f"{counted(summary.rows_screened, 'row')} in {summary.seconds:,.1f} s, {summary.rows_per_s:,.0f} "
            f"rows/s{resumed}; "
            f"verdicts in {summary.output}",
            markup=False,
        )
    table = Table(box=None, pad_edge=False)
    for title in ("action", "rows", "threat", "rows"):
        table.add_column(title, justify="right" if title == "rows" else "left")
    actions, threats = (sorted(d.items(), key=lambda kv: (-kv[1], kv[0])) for d in (summary.actions, summary.threats))
    for i in range(max(len(actions), len(threats))):
        left = (actions[i][0], f"{actions[i][1]:,}") if i < len(actions) else ("", "")
        right = (threats[i][0], f"{threats[i][1]:,}") if i < len(threats) else ("", "")
        table.add_row(*left, *right)
    if actions:
        console.print(terminal.uncut(table))
    if summary.violations:
        told = [f"{name} {count:,}" for name, count in summary.violations.items() if count]
        console.print(f"sessions that break a policy: {', '.join(told) or 'none'}", markup=False)
    missed = [f"{name} {count:,}" for name, count in summary.unfollowed.items() if count]
    if missed:
        console.print(f"sessions without times, not judged by these policies: {', '.join(missed)}", markup=False)
    unjudged = sum(count for status, count in summary.statuses.items() if status != "ok")
    if unjudged:
        console.print(
            f"{counted(unjudged, 'row')} could not be judged, or not in full: see the columns status and error"
        )
    print_skipped(summary.skipped, f"{summary.output}/_skipped.json")
