"""`aimds review prune` and `erase`: what does not stay in the queue."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated

import typer

from aimds.cli.review_options import AsJson, QueuePlace, ReviewerName, now, opened, reviewer
from aimds.printable import counted


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    group.command("prune")(prune)
    group.command("erase")(erase)


def prune(
    days: Annotated[int, typer.Option(min=0, max=36_500, help="Texts that are older go.")],
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Remove the texts of items that were queued more than DAYS days ago, decided or not; decisions stay."""
    from aimds.respond.review.retention import remove_texts

    with opened(queue) as found:
        at = now()
        n = remove_texts(found.store, at - timedelta(days), at, reviewer(name).name)
    print(json.dumps({"items": n}) if as_json else f"{counted(n, 'text')} removed")


def erase(
    session: Annotated[str | None, typer.Option(help="A session id.")] = None,
    request: Annotated[str | None, typer.Option(help="A request id.")] = None,
    tenant: Annotated[str | None, typer.Option(help='A tenant; "": items of none.')] = None,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Erase a subject: texts, ids, tenant, evidence and reasons of all items that fit everything given. For good.

    An id that more than one tenant has needs --tenant: clients choose such ids.
    """
    from aimds.errors import ConfigError
    from aimds.record.subject import Subject
    from aimds.respond.review.retention import erase as erase_subject
    from aimds.respond.review.retention import tenants

    subject = Subject(session, tenant, request)
    with opened(queue) as found:
        whose = sorted(tenants(found.store, subject)) if tenant is None else []
        if len(whose) > 1:
            listed = ", ".join(one or '"" (items of none)' for one in whose)
            raise ConfigError("--tenant", None, f"one of {listed}: more than one has such an id")
        n = erase_subject(found.store, subject, now(), reviewer(name).name)
    print(json.dumps({"items": n}) if as_json else f"{counted(n, 'item')} erased")
