"""`aimds patterns`: change the pattern bank while it runs, in signed versions, and see what a text comes near to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli import pattern_edits
from aimds.cli.pattern_change import AsJson, Store, banks, read_texts, store_folder

if TYPE_CHECKING:
    from aimds.detect.patterns import Bank

EXIT_MATCHED = 1
BATCH = 4096
SHOWN = 12
"""Matches and near misses of a text that are shown."""

Threat = Annotated[str | None, typer.Option(help="Only patterns of this threat type.")]
Lang = Annotated[str | None, typer.Option(help="Only patterns of this language.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Add, remove and try patterns; the bank's signed versions.", no_args_is_help=True)
    pattern_edits.register(group)
    for name, command in (("list", listing), ("test", tried), ("history", history)):
        group.command(name)(command)
    app.add_typer(group, name="patterns")


def listing(
    threat: Threat = None,
    lang: Lang = None,
    origin: Annotated[str | None, typer.Option(help="Only patterns whose origin begins so; shipped, garak …")] = None,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """List the patterns in force, and the shipped ones that were taken out."""
    from aimds.cli import pattern_tables

    known, base, bank = banks(store)
    chosen = [
        row
        for row in pattern_tables.rows(bank, known, base)
        if (threat is None or row["threat"] == threat)
        and (lang is None or row["lang"] == lang)
        and (origin is None or row["origin"].startswith(origin))
    ]
    if as_json:
        typer.echo(json.dumps({"version": known.version if known else None, "patterns": chosen}))
    else:
        pattern_tables.print_patterns(chosen, f", version {known.version}" if known else ", no store")


def history(store: Store = None, as_json: AsJson = False) -> None:
    """Show the versions of the store, newest first."""
    from aimds.cli import pattern_tables
    from aimds.detect.patterns.store import PatternStore
    from aimds.detect.patterns.version import encode

    loaded = PatternStore.load(store_folder(store))
    if as_json:
        typer.echo(json.dumps([{**json.loads(encode(version)), "hash": version.hash} for version in loaded.versions]))
    else:
        pattern_tables.print_history(loaded)


def tried(
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to try.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Many texts, only counted: Parquet with a column text, or one text a line."),
    ] = None,
    slack: Annotated[
        float, typer.Option("--near", help="Show misses up to this share of the threshold beyond it.")
    ] = 1.0,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Show which patterns match a text, how near, and which just miss. Exit code 1 when any matches.

    Example: aimds patterns test "please disregard what you were told"
    """
    from aimds.cli import pattern_tables
    from aimds.detect.patterns.closeness import near
    from aimds.errors import ConfigError

    if bool(texts) == (file is not None):
        raise ConfigError("texts", "", 'a text or --file FILE; for example: aimds patterns test "hello"')
    if not 0 <= slack <= 10:
        raise ConfigError("--near", slack, "a number from 0 to 10")
    _, _, bank = banks(store)
    if file is not None:
        matched = _count(file, bank, as_json)
    else:
        raw = [text.encode("utf-8", "surrogateescape") for text in texts or ()]
        found = near(bank, raw, slack=slack)
        of_text = [[item for item in found if item.row == row] for row in range(len(raw))]
        if as_json:
            typer.echo(json.dumps([[pattern_tables.plain(item, bank) for item in items] for items in of_text]))
        else:
            for text, items in zip(raw, of_text, strict=True):
                pattern_tables.print_matches(text, items[:SHOWN], bank)
        matched = any(item.matched for item in found)
    raise typer.Exit(EXIT_MATCHED if matched else 0)


def _count(file: Path, bank: Bank, as_json: bool) -> bool:
    from aimds.cli import pattern_tables
    from aimds.detect.patterns.closeness import near

    texts = [text.encode("utf-8", "replace") for text in read_texts(file)]
    hits = [
        item._replace(row=first + item.row)
        for first in range(0, len(texts), BATCH)
        for item in near(bank, texts[first : first + BATCH], slack=0.0)
        if item.matched
    ]
    if as_json:
        matches = [pattern_tables.plain(hit, bank) for hit in hits]
        typer.echo(json.dumps({"texts": len(texts), "matches": matches}))
    else:
        pattern_tables.print_counts(texts, hits, bank)
    return bool(hits)
