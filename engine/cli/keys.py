"""`aimds keys`: make and list API keys for the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aimds.printable import LINE, visible

KeyFile = Annotated[Path, typer.Option("--file", "-f", help="The key file (TOML); made if it does not exist.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Make and list API keys for the gateway.", no_args_is_help=True)
    group.command("new")(new)
    group.command("list")(show)
    app.add_typer(group, name="keys")


def new(
    name: Annotated[str, typer.Argument(help="Who the key is for.")],
    tenant: Annotated[str, typer.Option(help="Tenant its rows belong to; * may name any.")],
    role: Annotated[list[str], typer.Option(help="screen, review, admin or metrics. Repeatable.")],
    file: KeyFile = Path("keys.toml"),
    days: Annotated[int | None, typer.Option(min=1, help="Days it is valid for; without, it does not expire.")] = None,
) -> None:
    """Make a key, print it once, and add its SHA-256 to the file. A running gateway reads the file on SIGHUP.

    Where the name has a key already, that one stays valid beside the new one, and stderr says so.
    """
    import sys
    from datetime import UTC, datetime, timedelta

    from aimds.gateway import keys

    expires = None if days is None else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    key, entry = keys.new(name, tenant, tuple(dict.fromkeys(role)), expires)
    entry.identity()
    now = datetime.now(UTC)
    known = keys.read(file) if file.exists() else ()
    before = [one.ident for one in known if one.name == name and (one.expires is None or one.expires > now)]
    keys.append(file, entry)
    typer.echo(key)
    if before:
        told = f"{name} has {len(before) + 1} valid keys now: {', '.join([*before, entry.ident])}"
        way = f"to withdraw one, delete its entry from {file} and reload the gateway"
        print(f"{visible(told, LINE)}; {visible(way, LINE)}", file=sys.stderr)


def show(file: KeyFile = Path("keys.toml")) -> None:
    """List the keys of a file: id, name, tenant, roles, end. The keys themselves are not in it."""
    from aimds.gateway import keys

    for entry in keys.read(file):
        until = f", until {entry.expires:%Y-%m-%d}" if entry.expires else ""
        line = f"{entry.ident}  {entry.name}  tenant {entry.tenant}  {', '.join(entry.roles)}{until}"
        typer.echo(visible(line, LINE))
