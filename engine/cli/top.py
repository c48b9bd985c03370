"""`aimds top`: a running gateway, watched in the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from aimds.cli.top_watch import Shown, Watch

PATIENCE_S = 5.0
Show = Callable[["Shown"], None]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def top(
        url: Annotated[str, typer.Argument(help="The gateway, such as https://127.0.0.1:8443.")],
        interval: Annotated[float, typer.Option(min=0.2, max=3600.0, help="Seconds between two readings.")] = 2.0,
        once: Annotated[
            bool, typer.Option("--once", help="Print one snapshot, of two readings one interval apart, and end.")
        ] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="Print one JSON document a line for each reading.")
        ] = False,
        token: Annotated[
            str | None, typer.Option(envvar="AIMDS_TOKEN", help="API key or JWT.", show_default=False)
        ] = None,
        ca: Annotated[Path | None, typer.Option(metavar="PEM", help="CA of the gateway's certificate.")] = None,
        certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate of the client.")] = None,
        key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
    ) -> None:
        """Watch a gateway: rows by action and threat, latency, queue, batches, what is refused, and what the alert
        rules would object to.

        All rates and quantiles are of the time between two readings. Asks over TCP, as Prometheus does, with the role
        metrics. Ends with Ctrl-C or SIGTERM (exit code 130).

        Example: aimds top https://127.0.0.1:8443 --ca certs/ca.pem
        """
        import time
        from datetime import UTC, datetime

        from aimds.cli.signals import terminable
        from aimds.cli.top_watch import Watch
        from aimds.gateway.client import Client, Options

        options = Options(token, ca, certificate, key, http=1, attempts=2, timeout_s=PATIENCE_S)
        with terminable(), Client(url, options) as client:
            watch = Watch(_plain(url), client, time.monotonic)
            with _showing(as_json=as_json, once=once, wall=lambda: datetime.now(UTC)) as show:
                run(watch, interval, show, once=once, clock=time.monotonic, sleep=time.sleep)


def run(
    watch: Watch,
    interval: float,
    show: Show,
    *,
    once: bool,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Poll ``watch`` every ``interval`` seconds and ``show`` what it says; without end unless ``once``.

    Raises:
        AimdsError: see `Watch.poll`; with ``once`` also where the second answer does not come.
    """
    from aimds.gateway.client import ServerError

    while True:
        began = clock()
        found = watch.poll()
        if once and found.lost is not None:
            raise ServerError(0, {"title": "No second answer", "detail": found.lost})
        if not once or found.figures is not None:
            show(found)
        if once and found.figures is not None:
            return
        sleep(max(0.0, interval - (clock() - began)))


@contextmanager
def _showing(*, as_json: bool, once: bool, wall: Callable[[], datetime]) -> Iterator[Show]:
    """How readings are shown: as lines of JSON, on the whole screen of a terminal, or one below the other."""
    if as_json:
        yield lambda shown: _print_json(shown, wall())
        return
    from rich.console import Console
    from rich.live import Live

    from aimds.cli.top_view import view

    console = Console(highlight=False)

    def drawn(shown: Shown) -> Any:
        return view(shown, wall(), console.width, ascii_only=console.options.ascii_only)

    if once or not console.is_terminal:
        first = True

        def show(shown: Shown) -> None:
            nonlocal first
            if shown.figures is None and shown.lost is None:
                return
            if not first:
                console.print()
            first = False
            console.print(drawn(shown))

        yield show
        return
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:
        yield lambda shown: live.update(drawn(shown), refresh=True)


def _print_json(shown: Shown, at: datetime) -> None:
    state = {"at": at.isoformat(timespec="milliseconds"), "url": shown.url, "version": shown.version}
    if shown.lost is not None:
        found: dict[str, Any] = {**state, "state": "lost", "error": shown.lost, "lost_s": shown.lost_s}
    elif shown.figures is not None:
        told = [asdict(one) for one in shown.alerts]
        found = {**state, "state": shown.state, **shown.figures.document(), "alerts": told}
    else:
        return
    print(json.dumps(found, ensure_ascii=True), flush=True)


def _plain(url: str) -> str:
    """``url`` without a name or password that may stand in it, and without the slash at its end."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}"
