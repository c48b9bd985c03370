"""`aimds review open`: the console in a browser of this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.review_options import QueuePlace, ReviewerName, opened, reviewer

if TYPE_CHECKING:
    from aimds.respond.review import Queue


def register(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("open")(open_console)


def open_console(
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 0,
    browse: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser where there is a display.")
    ] = True,
) -> None:
    """Review in a browser of this machine, until Ctrl-C. The link that is printed lets one browser in, once."""
    with opened(queue) as found:
        asyncio.run(_serve(found, reviewer(name).name, port, browse=browse))


async def _serve(queue: Queue, name: str, port: int, *, browse: bool) -> None:
    from aimds.console.local import serve

    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def ready(link: str) -> None:
        print(f"review as {name}: {link}", file=sys.stderr, flush=True)
        if browse and _has_display():
            import webbrowser

            loop.run_in_executor(None, webbrowser.open, link)

    await serve(queue, name, port, ready, ended)
    print("stopped; every decision is kept", file=sys.stderr)


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
