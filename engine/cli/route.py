"""`aimds route`: which model each prompt should go to, why, and what that costs."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.over_files import EXIT_INTERRUPTED, column
from aimds.cli.progress import progress
from aimds.cli.startup import BACKEND
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.routing import Routing, Totals
    from aimds.route.tiers import Tiers

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def route(
        texts: Annotated[list[str] | None, typer.Argument(help="Prompts to route; - reads one from stdin.")] = None,
        files: Annotated[
            list[Path] | None, typer.Option("--file", "-f", help="A file that holds one prompt. Repeatable.")
        ] = None,
        inputs: Annotated[
            list[str] | None,
            typer.Option(
                "--input",
                "-i",
                metavar="PATH",
                help="Parquet: verdicts with their texts (aimds scan --with-text), or logs, which are screened here. "
                "Files, folders, globs. Repeatable.",
            ),
        ] = None,
        output: Annotated[
            Path | None, typer.Option("--output", "-o", metavar="FILE", help="Parquet file for the choices of --input.")
        ] = None,
        tiers: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Tiers, prices, budgets (TOML); the shipped example if not given."),
        ] = None,
        tenant: Annotated[str | None, typer.Option(help="Tenant of the TEXTS.")] = None,
        private: Annotated[bool, typer.Option("--private", help="The TEXTS are private: local tiers only.")] = False,
        cache: Annotated[
            bool, typer.Option("--cache", help="With --input: count what the cache of answers would have served.")
        ] = False,
        text: Annotated[str | None, column("--text-column", "text of logs")] = None,
        tenants: Annotated[str | None, column("--tenant-column", "tenant of logs")] = None,
        session: Annotated[str | None, column("--session-column", "conversation id of logs")] = None,
        profile: Annotated[str, typer.Option(help="Profile to screen in: fast, cascade or full.")] = "cascade",
        backend: Annotated[str, typer.Option(help=BACKEND)] = "auto",
        show: Annotated[bool, typer.Option("--show-tiers", help="Check the tiers, print them, and end.")] = False,
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    ) -> None:
        """Choose a model for each prompt: local for what is private, cheap for what is simple, strong for the rest.

        Nothing is sent anywhere. Exit status: 0 done, 2 bad input, 130 interrupted (then no file is written).

        Example: aimds route -i verdicts/ --tiers tiers.toml -o choices.parquet
        """
        from aimds.cli.startup import notice
        from aimds.errors import ConfigError
        from aimds.jobs.routing import Routing, route_files
        from aimds.jobs.scan import Columns
        from aimds.route.cache import AnswerCache
        from aimds.route.router import Router
        from aimds.route.tiers import Tiers

        settings = Tiers.load(tiers)
        if show:
            _print_tiers(settings, as_json)
            return
        if bool(inputs) == bool(texts or files):
            raise ConfigError("texts, --input", None if not inputs else "both", "either TEXTS (or --file), or --input")
        if not inputs and (output is not None or cache):
            given = "--output" if output is not None else "--cache"
            raise ConfigError(given, "without --input", "--input PATH; of TEXTS the choices are printed")

        def screener() -> Any:
            from aimds.screener import Screener

            with notice(quiet):
                return Screener.default(profile=profile, backend=backend)

        held = None
        if cache:
            from aimds.detect.embedding import Embedding

            held = AnswerCache(Embedding.load(), settings.cache, secrets.token_bytes(32))
        routing = Routing(Router(settings), held, now=time.time())
        started, rows = time.perf_counter(), []
        try:
            if inputs:
                wanted = Columns(text=text, tenant=tenants, session_id=session)
                route_files(inputs, routing, screener, columns=wanted, out=output, progress=progress(quiet, "routing"))
            else:
                rows = _texts(routing, screener(), texts or [], files or [], tenant, private)
        except KeyboardInterrupt:
            typer.echo("interrupted; nothing was written", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        seconds = time.perf_counter() - started
        if as_json:
            whole = {**routing.totals.as_dict(), "seconds": seconds, "example_prices": tiers is None}
            if not inputs:
                whole["choices"] = rows
            print(json.dumps(whole, ensure_ascii=True))
            return
        for row in rows:
            print(_line(row))
        _print(routing.totals, settings, seconds if inputs else None, output)
        if tiers is None:
            print("prices and tiers are those of the shipped example; --tiers FILE has your own")


def _texts(
    routing: Routing, screener: Any, texts: list[str], files: list[Path], tenant: str | None, private: bool
) -> list[dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    from aimds.cli.check import read_inputs
    from aimds.jobs.routing import screened
    from aimds.printable import visible
    from aimds.route.choices import explain
    from aimds.schema import requests

    raw = read_inputs(texts, files)
    table = pa.table({"text": pa.array(raw, pa.large_binary()), "tenant": pa.array([tenant] * len(raw), pa.string())})
    verdicts = screened(screener, requests(table))
    standing = routing.router.standing(verdicts, private=np.full(len(raw), private))
    choices = routing.router.route(verdicts, now=time.time(), standing=standing)
    routing.totals.add(choices)
    rows: list[dict[str, Any]] = choices.to_pylist()
    for row, text in zip(rows, raw, strict=True):
        row["why"] = explain(row, routing.router.tiers)
        row["excerpt"] = visible(text.decode("utf-8", "replace"), 60)
    return rows


def _line(row: dict[str, Any]) -> str:
    return f"{row['excerpt']}\n    {row['why']}"


def _print(totals: Totals, tiers: Tiers, seconds: float | None, output: Path | None) -> None:
    from rich.table import Table

    from aimds.cli import terminal
    from aimds.printable import LINE, visible
    from aimds.route.choices import ANSWERED, money

    console = terminal.console(soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    whole = totals.whole
    if seconds is not None:
        say(f"{counted(whole.rows, 'row')} in {seconds:,.1f} s, {whole.rows / max(seconds, 1e-9):,.0f} rows/s")
    table = Table(box=None, pad_edge=False)
    for name in ("tier", "rows", "share", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
    for tier in tiers.tiers:
        group = totals.tiers.get(tier.name)
        if group is not None:
            share = f"{group.rows / whole.rows:.1%}"
            tokens = (f"{group.input_tokens:,}", f"{group.output_tokens:,}")
            table.add_row(visible(tier.name, 24), f"{group.rows:,}", share, *tokens, money(group.cost))
    if totals.reasons.get("cache"):
        hits = totals.reasons["cache"]
        table.add_row("(cache)", f"{hits:,}", f"{hits / whole.rows:.1%}", "0", "0", "0.00")
    nowhere = whole.rows - totals.answered
    if nowhere:
        table.add_row("(nowhere)", f"{nowhere:,}", f"{nowhere / whole.rows:.1%}", "0", "0", "0.00")
    console.print(terminal.uncut(table), markup=False)
    if len(totals.cache) > 1:
        exact, near = totals.cache.get("exact", 0), totals.cache.get("near", 0)
        asked = exact + near + totals.cache.get("miss", 0)
        say(f"cache: {exact:,} exact and {near:,} near hits of {counted(asked, 'row')} that may be cached")
    lost = {name: count for name, count in totals.reasons.items() if name not in ANSWERED}
    if lost:
        say("nowhere: " + ", ".join(f"{count:,} {name}" for name, count in sorted(lost.items())))
    if totals.private:
        say(f"{totals.private:,} private: local tiers only")
    strongest = visible(tiers.tiers[tiers.strongest].name, 24)
    if totals.answered:
        say(
            f"cost {money(whole.cost)}; all {totals.answered:,} answered rows on {strongest}: "
            f"{money(whole.strongest)}; saved {totals.saved:.1%}"
        )
    if len(totals.tenants) > 1:
        dear = sorted(totals.tenants.items(), key=lambda item: (-item[1].cost, item[0]))
        listed = (f"{visible(name or '(none)', 24)} {money(group.cost)}" for name, group in dear[:SHOWN])
        more = f", and {len(dear) - SHOWN:,} more" if len(dear) > SHOWN else ""
        say("by tenant: " + ", ".join(listed) + more)
    if output is not None:
        say(f"choices in {visible(str(output), LINE)}")


def _print_tiers(tiers: Tiers, as_json: bool) -> None:
    import dataclasses

    from rich.table import Table

    from aimds.cli import terminal
    from aimds.printable import visible

    if as_json:
        print(json.dumps({"tiers": [dataclasses.asdict(tier) for tier in tiers.tiers]}, ensure_ascii=True))
        return
    table = Table(box=None, pad_edge=False)
    names = ("tier", "model", "place", "in / 1M", "out / 1M", "context", "capability", "adapter")
    for place, name in enumerate(names):
        table.add_column(name, justify="right" if 3 <= place <= 6 else "left", no_wrap=place != 1)
    for tier in tiers.tiers:
        place_ = "local" if tier.local else "remote"
        prices = (f"{tier.input_price:g}", f"{tier.output_price:g}")
        named = (visible(tier.name, 24), visible(tier.model, 40))
        table.add_row(*named, place_, *prices, f"{tier.context:,}", f"{tier.capability:.2f}", tier.adapter)
    terminal.console(soft_wrap=True).print(terminal.uncut(table), markup=False)
