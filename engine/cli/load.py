"""`aimds load`: how fast a gateway answers under an open load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aimds.gateway.client import AsyncClient
    from aimds.gateway.load import Result


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def load(
        url: Annotated[str, typer.Argument(help="The gateway, such as https://127.0.0.1:8443.")],
        rate: Annotated[list[float], typer.Option(help="Requests a second. Repeatable: one measurement each.")],
        seconds: Annotated[float, typer.Option(help="How long each rate is kept up.")] = 10.0,
        single: Annotated[
            bool, typer.Option("--single", help="A request of its own for each text, not one long stream.")
        ] = False,
        deadline_ms: Annotated[float | None, typer.Option(help="Deadline asked for.")] = None,
        token: Annotated[str | None, typer.Option(envvar="AIMDS_TOKEN", help="API key or JWT.")] = None,
        ca: Annotated[Path | None, typer.Option(metavar="PEM", help="CA of the gateway's certificate.")] = None,
        certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate of the client.")] = None,
        key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
        http: Annotated[int, typer.Option(help="HTTP version: 3, or 1 over TCP (with --single).")] = 3,
        seed: Annotated[int, typer.Option(help="Seed of texts and times.")] = 0,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
        page: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with a plot.")] = None,
    ) -> None:
        """Send texts at each rate, whether or not earlier ones were answered, and tell how long verdicts took.

        A request's latency begins when it was due: a stall of the gateway counts for every request it delayed.
        Exit code: 0, or 1 when requests failed.
        """
        import asyncio

        from aimds.gateway.client import AsyncClient
        from aimds.gateway.load import check as possible
        from aimds.gateway.load_page import page as page_of
        from aimds.jobs.report import check, write

        for one in rate:
            possible(one, seconds)
        if page is not None:
            check(page)
        client = AsyncClient(
            url, token=token, ca=ca, certificate=certificate, key=key, http=http, deadline_ms=deadline_ms, attempts=1
        )
        results = asyncio.run(_all(client, rate, seconds, seed, single=single or not client.is_quic))
        if page is not None:
            write(page, page_of(results, f"Load on {url}"))
        if as_json:
            typer.echo(json.dumps([one.document() for one in results]))
        else:
            show(results)
        raise typer.Exit(1 if any(one.failed for one in results) else 0)


async def _all(client: AsyncClient, rates: list[float], seconds: float, seed: int, *, single: bool) -> list[Result]:
    import time
    from random import Random

    from aimds.gateway.load import measure

    async with client:
        await client.screen("warm up")
        return [
            await measure(client, rate, seconds, Random(seed + i), single=single, clock=time.monotonic)
            for i, rate in enumerate(rates)
        ]


def show(results: list[Result]) -> None:
    """Print a table."""
    from rich.table import Table

    from aimds.cli import terminal

    table = Table(box=None, pad_edge=False)
    for name in ("offered/s", "verdicts/s", "refused", "failed", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"):
        table.add_column(name, justify="right")
    for one in results:
        found = one.document()
        times = [found[name] for name in ("p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")]
        cells = [f"{one.rate:,.0f}", f"{found['verdicts_per_s']:,.0f}", f"{one.refused:,}", f"{one.failed:,}"]
        table.add_row(*cells, *("–" if value is None else f"{value:,.1f}" for value in times))
    terminal.console().print(terminal.uncut(table))
