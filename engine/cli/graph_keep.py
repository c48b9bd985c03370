"""`aimds graph erase` and `retain`: what does not stay in the memory of attacks."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.graph_file import AsJson, Graph, opened, say
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.record.graph import GraphStore

PART = 1000
MAX_DAYS = 36_500


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    group.command("erase")(erase)
    group.command("retain")(retain)


def erase(
    session: Annotated[str | None, typer.Option(help="Erase what is known of this session.")] = None,
    tenant: Annotated[str | None, typer.Option(help='Erase what is known of this tenant; "": of none.')] = None,
    graph: Graph = None,
    as_json: AsJson = False,
) -> None:
    """Take out a subject's events for good; nameless stubs stay where a chain of others leads through.

    A session id that more than one tenant has needs --tenant: clients choose such ids.
    """
    from aimds.errors import ConfigError

    if session is None and tenant is None:
        raise ConfigError("subject", None, "--session or --tenant")
    with opened(graph) as (store, _):
        _, tenants = subject_of(store, session, tenant, None)
        if tenant is None and len(tenants) > 1:
            listed = ", ".join(name or '"" (events of none)' for name in sorted(tenants))
            raise ConfigError("--tenant", None, f"one of {listed}: more than one has this session")
        gone = take_out(store, session, tenant, None)
    typer.echo(json.dumps({"erased": gone}) if as_json else f"{counted(gone, 'event')} erased")


def retain(
    days: Annotated[float, typer.Option(min=0, max=MAX_DAYS, help="Older events go.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only said what would go.")] = False,
    graph: Graph = None,
    as_json: AsJson = False,
) -> None:
    """Keep the last days only, by the time of the traffic. Says what would go, and with --yes removes it."""
    before = int((datetime.now(UTC).timestamp() - days * 86400) * 1e6)
    gone = 0
    with opened(graph) as (store, _):
        counts = store.counts()
        there = sum(count for name, count in counts.items() if name not in ("links", "marks"))
        if yes:
            while True:
                names = store.older(before, PART)
                # Also where none is left: another process may have kept the log from being cut the last time.
                store.remove(names)
                gone += len(names)
                if not names:
                    break
        else:
            gone = len(store.older(before, there))
    if as_json:
        typer.echo(json.dumps({"removed" if yes else "would_remove": gone, "events": there}))
    elif yes:
        say(f"{gone:,} of {counted(there, 'event')} removed")
    else:
        say(f"{gone:,} of {counted(there, 'event')} older than that; nothing was changed, --yes removes them")


def subject_of(
    store: GraphStore, session: str | None, tenant: str | None, request: str | None
) -> tuple[list[str], dict[str, int]]:
    """Names of the events that fit all that is given, and how many there are of each tenant ("": of none)."""
    from aimds.record.graph_feed import outcome_of, response_of

    names = [request, response_of(request), outcome_of(request)] if request is not None else None
    if session is not None or tenant is not None:
        found = store.of_subject(session, tenant)
        names = found if names is None else [name for name in names if name in set(found)]
    there = store.events(names or [])
    tenants: dict[str, int] = {}
    for event in there.values():
        tenants[event.tenant or ""] = tenants.get(event.tenant or "", 0) + 1
    return sorted(there), tenants


def take_out(store: GraphStore, session: str | None, tenant: str | None, request: str | None) -> int:
    """Erase the events that fit all that is given; how many there were."""
    from aimds.record.graph import erase as out

    names, _ = subject_of(store, session, tenant, request)
    return out(store, names, [f"erased-{secrets.token_hex(8)}" for _ in names])
