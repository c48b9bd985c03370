"""`aimds graph`: the causal memory of attacks: put verdicts in, ask what is related, draw a chain, let go."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli import graph_keep
from aimds.cli.graph_file import AsJson, Graph, checked, opened, say
from aimds.printable import LINE, counted, visible

if TYPE_CHECKING:
    from aimds.record.graph import Event, GraphStore
    from aimds.record.graph_feed import Fed
    from aimds.record.marks import Marks

ROWS = 20_000
MAX_HOURS = 24 * 366

Name = Annotated[str, typer.Argument(metavar="ID", help="Request id of an attack in the graph.")]
Hours = Annotated[float, typer.Option(min=0, max=MAX_HOURS, help="How far apart in time, at most.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="The memory of attacks: related ones, and chains of variants.", no_args_is_help=True)
    for name, command in (
        ("add", add),
        ("status", status),
        ("related", related),
        ("chain", chain),
    ):
        group.command(name)(command)
    graph_keep.register(group)
    app.add_typer(group, name="graph")


def add(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="VERDICTS...", help="Parquet files or folders of verdicts, or of feedback."),
    ],
    hours: Hours = 24.0,
    graph: Graph = None,
    as_json: AsJson = False,
) -> None:
    """Put the attacks among verdicts into the graph, and what people decided about them.

    Verdicts of scan --with-text are told to be alike by their wording too. What is there already stays as it is.

    Example: aimds graph add verdicts/ feedback.parquet
    """
    from aimds.record.graph_feed import Fed

    files = checked(inputs)
    fed = Fed()
    with opened(graph, create=True) as (store, marks):
        for number, file in enumerate(files, 1):
            if len(files) > 1:
                print(f"{number} of {len(files)}: {file}", file=sys.stderr)
            fed = fed.plus(_add(store, marks, file, int(hours * 3600e6)))
    if as_json:
        typer.echo(json.dumps(asdict(fed)))
        return
    say(
        f"{counted(fed.attacks, 'attack')} added out of {counted(fed.rows, 'row')}, {fed.variants:,} of them "
        f"variants of earlier ones"
    )
    if fed.timeless:
        say(f"{counted(fed.timeless, 'attack')} left out: they have no time")


def status(graph: Graph = None, as_json: AsJson = False) -> None:
    """Show how much the graph holds."""
    with opened(graph) as (store, _):
        counts = store.counts()
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        say(", ".join(f"{count:,} {name if name.endswith('s') else name + 's'}" for name, count in counts.items()))


def related(
    name: Name,
    hours: Hours = 24.0,
    most: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 20,
    graph: Graph = None,
    as_json: AsJson = False,
) -> None:
    """Show attacks near in time that share words, session, patterns or exemplars with one: strongest first."""
    from aimds.record.graph import related as ask

    with opened(graph) as (store, _):
        _known(store, name)
        found = ask(store, name, within_us=int(hours * 3600e6), most=most)
    if as_json:
        typer.echo(json.dumps([{**_plain(one.event), "strength": one.strength} for one in found]))
        return
    if not found:
        say(f"no attack within {hours:g} hours shares anything with {name}")
    for one in found:
        typer.echo(f"{one.strength:>3}  {_line(one.event)}")


def chain(
    name: Name,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE.svg", help="Draw it.")] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="Events that are looked at, at most.")] = 500,
    graph: Graph = None,
    as_json: AsJson = False,
) -> None:
    """Show what led to an attack and what followed from where that began.

    Example: aimds graph chain r0000123 -o chain.svg
    """
    from aimds.errors import ConfigError
    from aimds.record import graph_drawing
    from aimds.record.graph import ATTACK
    from aimds.record.graph import chain as ask

    if out is not None and out.suffix != ".svg":
        raise ConfigError("--out", str(out), "a file that ends in .svg")
    with opened(graph) as (store, _):
        _known(store, name)
        found = ask(store, name, most=most)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(graph_drawing.svg(found, name), "utf-8")
        print(f"wrote {out}", file=sys.stderr)
    if as_json:
        links = [asdict(link) for link in found.links]
        typer.echo(json.dumps({"events": [_plain(one) for one in found.events], "links": links, "cut": found.cut}))
    elif out is None:
        for one in found.events:
            typer.echo(("" if one.kind == ATTACK else "  ") + _line(one))
        if found.cut:
            say(f"there is more; --limit is {most:,}")


def _known(store: GraphStore, name: str) -> None:
    from aimds.errors import ConfigError

    if name not in store.events([name]):
        raise ConfigError("ID", name, "the id of an attack in the graph; aimds graph add puts them there")


def _add(store: GraphStore, marks: Marks, file: Path, within_us: int) -> Fed:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aimds.errors import DataError
    from aimds.record.graph_feed import Fed, confirm, feed

    fed = Fed()
    try:
        with pq.ParquetFile(file) as source:
            names = source.schema_arrow.names
            if {"label", "reviewer"} <= set(names):
                return confirm(store, source.read(), marks, within_us=within_us)
            known = (
                *("request_id", "session_id", "tenant", "ts", "action", "threat_type", "score", "p_value"),
                *("evidence", "text"),
            )
            for batch in source.iter_batches(ROWS, columns=[name for name in known if name in names]):
                fed = fed.plus(feed(store, pa.Table.from_batches([batch]), marks, within_us=within_us))
    except (OSError, pa.ArrowException) as error:
        raise DataError(file, f"cannot be read as Parquet: {error}") from error
    return fed


def _plain(event: Event) -> dict[str, Any]:
    fields = asdict(event)
    del fields["marks"]
    return fields


def _line(event: Event) -> str:
    moment = datetime.fromtimestamp(event.ts / 1e6, UTC).isoformat(sep=" ", timespec="seconds")
    subject = [f"{name} {visible(value, LINE)}" for name, value in _subject(event) if value]
    return "  ".join([moment, f"{event.kind:<8}", f"{event.label:<20}", visible(event.name, LINE), *subject])


def _subject(event: Event) -> tuple[tuple[str, str | None], ...]:
    return ("session", event.session), ("tenant", event.tenant)
