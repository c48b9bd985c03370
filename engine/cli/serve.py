"""`aimds serve`: live screening over the network."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.over_files import cpus
from aimds.cli.startup import BACKEND, RAY, RAY_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aimds.gateway.settings import Settings

MOST = 8
"""Processes that judge by default."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def serve(
        config: Annotated[Path | None, typer.Option("--config", "-c", help="Settings (TOML).")] = None,
        host: Annotated[str | None, typer.Option(help="Address to listen on.  \\[default: 127.0.0.1]")] = None,
        port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
        certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate of the server.")] = None,
        key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
        api_keys: Annotated[Path | None, typer.Option(metavar="FILE", help="API keys, see aimds keys.")] = None,
        profile: Annotated[str | None, typer.Option(help="fast, cascade or full.")] = None,
        policy: Annotated[Path | None, typer.Option(help="Policy file.")] = None,
        patterns: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Patterns kept by aimds patterns, beside the shipped ones.")
        ] = None,
        learned: Annotated[Path | None, typer.Option(metavar="DIR", help="What aimds learn has put in force.")] = None,
        review: Annotated[
            str | None,
            typer.Option(
                metavar="FILE|URL",
                help="Queue what is to be reviewed here, and serve /console to reviewers: a file, or "
                "postgresql://HOST/DATABASE.",
            ),
        ] = None,
        tiers: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Model tiers: a request with ?route=any is told which one may answer it."
            ),
        ] = None,
        workers: Annotated[
            int | None,
            typer.Option(min=0, max=256, help="Processes that judge; 0: a thread does.  \\[default: by the cores]"),
        ] = None,
        processes: Annotated[
            int | None,
            typer.Option(min=0, max=64, help="Processes that speak QUIC; 0: this one does.  \\[default: 0]"),
        ] = None,
        backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
        on_ray: Annotated[bool, typer.Option("--ray", help=RAY)] = False,
        ray_address: Annotated[str | None, typer.Option("--ray-address", metavar="HOST:PORT", help=RAY_ADDRESS)] = None,
        insecure_local: Annotated[
            bool, typer.Option("--insecure-local", help="Ask nobody who they are; listens on loopback alone.")
        ] = False,
    ) -> None:
        """Screen requests as they come, until SIGTERM or Ctrl-C; what is under way then is finished.

        SIGHUP takes up changed certificates, keys, policy, patterns and what was learnt. Options go before the settings
        file.

        Example: aimds serve --insecure-local --port 8080
        """
        from aimds.gateway.settings import Ray, Review, load
        from aimds.respond.review.store import place

        screening = {
            "profile": profile,
            "policy": policy,
            "patterns": patterns,
            "learned": learned,
            "workers": workers,
            "backend": backend,
        }
        check(screening)

        def settings() -> Settings:
            found = load(config)
            given: dict[str, Any] = {
                "host": host,
                "port": port,
                "certificate": certificate,
                "key": key,
                "keys": api_keys,
                "tiers": tiers,
                "processes": processes,
            }
            if on_ray or ray_address is not None:
                before = found.ray or Ray()
                given["ray"] = replace(before, **changed({"address": ray_address, "least": workers or None}))
            if review is not None:
                given["review"] = Review(place(review), None if found.review is None else found.review.keep_days)
            return replace(screened(found, screening), insecure=insecure_local, **changed(given))

        run(settings)


def check(screening: dict[str, Any]) -> None:
    """Whether the options ``screening`` can be served.

    Raises:
        ConfigError: an unknown profile.
        BackendError: the backend is not here.
    """
    from aimds import kernels
    from aimds.errors import ConfigError
    from aimds.schema import PROFILES

    profile, backend = screening["profile"], screening["backend"]
    if profile is not None and profile not in PROFILES:
        raise ConfigError("profile", profile, "one of " + ", ".join(PROFILES))
    if backend is not None:
        kernels.backend(backend)


def screened(found: Settings, screening: dict[str, Any]) -> Settings:
    """``found`` with those of the options ``screening`` that were given, and a number of workers in any case."""
    made = replace(found.screening, **changed(screening))
    return replace(found, screening=made if made.workers is not None else replace(made, workers=workers(cpus())))


def workers(cores: int) -> int:
    """How many processes judge where nobody says: a core is left to the network, and one loop feeds no more than MOST.
    On two cores a process of its own judges no faster than a thread, and takes memory and a start of its own."""
    return 0 if cores <= 2 else min(cores - 1, MOST)


def changed(options: dict[str, Any]) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def run(settings: Callable[[], Settings], front: Callable[[Any, Any], Any] | None = None) -> None:
    """Serve until a signal comes. ``settings`` is called now and on every reload; ``front`` as `Gateway` takes it."""
    import asyncio

    asyncio.run(_serve(settings, front))


async def _serve(settings: Callable[[], Settings], front: Callable[[Any, Any], Any] | None) -> None:
    import asyncio
    import signal

    from aimds.gateway.settings import present

    loop, early = asyncio.get_running_loop(), asyncio.Event()
    # Or a reload that is asked for before there is a gateway would end it.
    loop.add_signal_handler(signal.SIGHUP, early.set)
    found = settings().check()
    present.check(found)
    say("starting: reads models and warms up; listens when that is done")
    from aimds.app import Gateway
    from aimds.cli.startup import TEXTS, notice
    from aimds.gateway.garbage import settle

    with notice():
        gateway = Gateway(found, reread=settings, warm=TEXTS, front=front, say=say)
        gateway.worker.screener.screen(list(TEXTS))
        await gateway.start()
    settle()
    ended = asyncio.Event()
    reloads = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def reload() -> None:
        task = asyncio.ensure_future(gateway.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    scheme = "http" if gateway.settings.insecure else "https"
    say(f"listening on {scheme}://{gateway.settings.host}:{gateway.port}")
    if gateway.settings.review is not None and front is None:
        say(f"review at {scheme}://{gateway.settings.host}:{gateway.port}/console/")
    if early.is_set():
        reload()
    await ended.wait()
    say("draining")
    await gateway.stop()
    say("stopped")


def say(line: str) -> None:
    """A line on stderr."""
    from aimds.printable import LINE, visible

    print(visible(line, LINE), file=sys.stderr, flush=True)
