"""`aimds redteam`: attacks of garak, PyRIT and our own against the engine, and what got through."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aimds.cli.startup import BACKEND
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.jobs.redteam.findings import Findings, Probe

PAGE = "redteam.html"
SHOWN = 12
"""Probes in the table on a terminal; the page and the JSON document have all."""
EXIT_INCOMPLETE, EXIT_INTERRUPTED = 1, 130


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def redteam(
        output: Annotated[
            Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for attempts, drafts and the page.")
        ],
        garak_python: Annotated[
            Path | None,
            typer.Option(metavar="PATH", help="Python, or environment, with garak.  \\[default: .venv-redteam-garak]"),
        ] = None,
        pyrit_python: Annotated[
            Path | None,
            typer.Option(metavar="PATH", help="Python, or environment, with PyRIT.  \\[default: .venv-redteam-pyrit]"),
        ] = None,
        only: Annotated[
            list[str] | None, typer.Option("--only", metavar="TOOL", help="own, garak or pyrit. Repeatable.")
        ] = None,
        probe: Annotated[
            list[str] | None,
            typer.Option("--probe", metavar="NAME", help="Only this probe, or module of garak. Repeatable."),
        ] = None,
        target: Annotated[
            str | None,
            typer.Option(metavar="URL", help="A proxy that stands already, instead of one started here."),
        ] = None,
        profile: Annotated[str | None, typer.Option(help="fast, cascade or full.")] = None,
        policy: Annotated[Path | None, typer.Option(help="Policy file.")] = None,
        patterns: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Patterns kept by aimds patterns, beside the shipped ones.")
        ] = None,
        learned: Annotated[Path | None, typer.Option(metavar="DIR", help="What aimds learn has put in force.")] = None,
        backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
        prompts: Annotated[int, typer.Option(min=1, help="Prompts of one probe of garak, where it heeds that.")] = 25,
        texts: Annotated[int, typer.Option(min=1, max=1000, help="Attacks of our own that are disguised.")] = 20,
        turns: Annotated[int, typer.Option(min=1, max=50, help="Turns of a conversation of PyRIT.")] = 10,
        concurrent: Annotated[int, typer.Option(min=1, max=64, help="Conversations at a time.")] = 10,
        limit: Annotated[float, typer.Option("--limit", min=1, help="Seconds of one tool.")] = 300.0,
        seed: Annotated[int, typer.Option(help="Draws attacks and prompts.")] = 0,
        benign: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", help="Harmless texts that no draft may find.  \\[default: look-alikes of our own]"
            ),
        ] = None,
        unmask: Annotated[
            bool, typer.Option("--unmask", help="Leave personal data and secrets in examples and drafts.")
        ] = False,
        page: Annotated[
            Path | None, typer.Option(metavar="FILE", help="The page to write.  \\[default: DIR/redteam.html]")
        ] = None,
        title: Annotated[str, typer.Option(help="Heading of the page.")] = "Red team",
        quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the result.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
    ) -> None:
        """Attack the engine in front of a stub model that decodes and obeys, and rank what gets through.

        Our own attacks in disguise need nothing else; garak and PyRIT are used where they are installed in an
        environment of their own. Nothing leaves this machine. Writes DIR/attempts.jsonl, DIR/drafts with patterns,
        DIR/attacks.parquet for aimds learn propose, and a page. Exit status: 0 done, 1 a tool ended early, 2 nothing
        could be done, 130 interrupted.

        Example: aimds redteam -o redteam/ --garak-python .venv-redteam-garak
        """
        from aimds import __version__
        from aimds.cli.pattern_change import lookalikes, read_texts
        from aimds.cli.serve import check
        from aimds.detect.pii import Pii
        from aimds.jobs.redteam.page import render
        from aimds.jobs.redteam.run import Options, Run
        from aimds.jobs.report import check as check_page
        from aimds.jobs.report import write

        screening = {"profile": profile, "policy": policy, "patterns": patterns, "learned": learned, "backend": backend}
        check(screening)
        where = page or output / PAGE
        check_page(where)
        _unused(target, screening)
        tools = _tools(only)
        pythons = _pythons(tools, {"garak": garak_python, "pyrit": pyrit_python}, asked=bool(only), quiet=quiet)
        options = Options(
            output=output,
            pythons=pythons,
            own="own" in tools,
            target=_address(target) if target else "",
            proxy=tuple(
                word for name, value in screening.items() if value is not None for word in _option(name, value)
            ),
            probes=tuple(probe or ()),
            prompts=prompts,
            texts=texts,
            turns=turns,
            concurrent=concurrent,
            limit_s=limit,
            seed=seed,
            ordinary=tuple(lookalikes({"en"}) if benign is None else read_texts(benign)),
            pii=None if unmask else Pii.load(),
        )
        now = datetime.now(UTC)
        with _ended_by_signals():
            found = Run(options, now=now, say=_quiet if quiet else _progress).run()
        write(where, render(found, title=title, made_at=now, engine_version=__version__))
        if as_json:
            print(json.dumps(found.as_dict(), ensure_ascii=True))
        else:
            _print(found, output, where)
        if found.stopped:
            raise typer.Exit(EXIT_INTERRUPTED)
        if any(tool.problem for tool in found.tools):
            raise typer.Exit(EXIT_INCOMPLETE)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM is taken for Ctrl-C: the proxy and the tools end with this process, and what was done is kept."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unused(target: str | None, screening: dict[str, Any]) -> None:
    from aimds.errors import ConfigError

    given = next((name for name, value in screening.items() if value is not None), None)
    if target is not None and given is not None:
        raise ConfigError(f"--{given}", screening[given], "none of these beside --target: that proxy has its own")


def _tools(only: list[str] | None) -> tuple[str, ...]:
    from aimds.errors import ConfigError
    from aimds.jobs.redteam.run import TOOLS

    for name in only or ():
        if name not in TOOLS:
            raise ConfigError("--only", name, "one of " + ", ".join(TOOLS))
    return tuple(name for name in TOOLS if not only or name in only)


def _pythons(tools: tuple[str, ...], given: dict[str, Path | None], *, asked: bool, quiet: bool) -> dict[str, Path]:
    """The Python of each of ``tools`` beside our own; one that is nowhere is an error where it was ``asked`` for."""
    from aimds.errors import DataError
    from aimds.jobs.redteam import others

    found = {}
    for tool in tools:
        if tool == "own":
            continue
        python = others.find(tool, given[tool])
        if python is None:
            where = others.VENV.format(tool=tool)
            if asked:
                raise DataError(where, f"is not there; --{tool}-python names a Python with {tool} (docs/redteam.md)")
            if not quiet:
                _progress(f"{tool} is left out: no {where} here, and no --{tool}-python")
            continue
        release = others.version(tool, python)
        if release != others.TESTED[tool] and not quiet:
            _progress(f"{tool} {release} was not tried with this; {others.TESTED[tool]} was")
        found[tool] = python
    return found


def _address(target: str) -> str:
    from urllib.parse import urlsplit

    from aimds.errors import ConfigError
    from aimds.jobs.redteam.wire import LOOPBACK

    expected = "an address of this machine such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(target)
        sound = parts.scheme in ("http", "https") and parts.hostname in LOOPBACK and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError("--target", target, expected)
    return target.rstrip("/").removesuffix("/v1")


def _option(name: str, value: object) -> tuple[str, str]:
    return f"--{name}", str(value.absolute() if isinstance(value, Path) else value)


def _progress(line: str) -> None:
    from aimds.printable import LINE, visible

    print(visible(line, LINE), file=sys.stderr, flush=True)


def _quiet(line: str) -> None:
    pass


def _print(found: Findings, output: Path, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from aimds.jobs.redteam.run import ATTEMPTS, DRAFTS
    from aimds.printable import LINE, visible

    console = Console(highlight=False, soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    held, through, passed = (found.share(name) for name in ("held", "through", "passed"))
    say(
        f"{counted(len(found.probes), 'probe')}, {counted(found.n, 'attempt')} in {found.seconds:,.0f} s: "
        f"{_share(held.hits, held.n)} "
        f"held back ({100 * held.low:.1f}–{100 * held.high:.1f} %), {through.hits:,} got through, {passed.hits:,} of "
        "them unseen"
    )
    some = [probe for probe in found.probes if probe.through.hits]
    if some:
        table = Table(box=None, pad_edge=False)
        for name in ("", "probe", "attempts", "held", "flagged", "unseen", "works/without"):
            # Names are folded where there is no room; figures stay whole.
            folded, least = name == "probe", max(len(name), 2)
            justify: Literal["left", "right"] = "left" if folded else "right"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=not folded, min_width=least)
        for place, probe in enumerate(some[:SHOWN], 1):
            table.add_row(str(place), *_row(probe))
        console.print(table, markup=False)
        if len(some) > SHOWN:
            say(f"and {len(some) - SHOWN:,} more: see the page or --json")
    for tool in found.tools:
        if tool.problem:
            say(f"{tool.name} ended early: {visible(tool.problem, 300)}")
        if tool.refused:
            hosts = ", ".join(visible(host, 80) for host in tool.refused)
            say(f"{tool.name} would have asked, and was kept from it: {hosts}")
    if found.failed:
        say(f"{counted(found.failed, 'attempt')} without a verdict, counted nowhere")
    if found.left_out:
        say(f"{counted(len(found.left_out), 'probe')} left out: see the page or --json")
    drafted = sum(len(probe.draft.patterns) for probe in found.probes if probe.draft)
    say(f"{visible(str(output / ATTEMPTS), LINE)}, page {visible(str(page), LINE)}")
    if drafted:
        say(
            f"{counted(drafted, 'pattern')} drafted in {visible(str(output / DRAFTS), LINE)}: read them; nothing "
            f"was installed"
        )


def _row(probe: Probe) -> tuple[str, ...]:
    from aimds.printable import visible

    works = f"{probe.works}/{probe.bare}" if probe.judged else "–"
    counts = (probe.n, probe.counts["held"], probe.counts["flagged"], probe.counts["passed"])
    return (visible(f"{probe.tool} {probe.name}", 60), *(f"{n:,}" for n in counts), works)


def _share(hits: int, n: int) -> str:
    return f"{100 * hits / n:.1f} %" if n else "none"
