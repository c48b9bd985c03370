"""`aimds audit erase` and `retain`: what does not stay in an audit log, and in what else holds a subject."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.audit_options import AsJson, KeyFile, LogFile, Quiet, Signing, Yes, bar, opened, say
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.cli.audit_stores import Holding
    from aimds.record.erasure import Found

MAX_DAYS = 36_500


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    group.command("erase")(erase)
    group.command("retain")(retain)


def erase(
    log: LogFile,
    session: Annotated[str | None, typer.Option(help="A session id.")] = None,
    tenant: Annotated[str | None, typer.Option(help='A tenant; "": rows of no tenant.')] = None,
    request: Annotated[str | None, typer.Option(help="A request id.")] = None,
    identity: Annotated[str | None, typer.Option(help="Who sent it; only the audit log knows.")] = None,
    review: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="The review queue, to be erased from too.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(metavar="FILE", help="The memory graph, likewise.")] = None,
    learning: Annotated[Path | None, typer.Option(metavar="DIR", help="The state of learning, likewise.")] = None,
    key: KeyFile = None,
    signing_key: Signing = None,
    yes: Yes = False,
    as_json: AsJson = False,
    wait: Annotated[float, typer.Option(min=0, metavar="S", help="How long a writer at work may take.")] = 600.0,
    quiet: Quiet = False,
) -> None:
    """Take out whom records are about, for good; the chain still verifies. Says what goes, and with --yes does it.

    All that is given has to fit. Where a gateway writes the log, it is asked to do it, in a file that --key seals. What
    review, graph and learning keep of the subject is named, and erased where its store is given.

    Example: aimds audit erase audit.log --session s-11b6f9329c16 --tenant acme --review review.db
    """
    from aimds.cli.audit_asked import asked
    from aimds.cli.audit_stores import holdings, one_tenant
    from aimds.record.erasure import erase as take_out
    from aimds.record.erasure import find
    from aimds.record.journal import InUse
    from aimds.record.subject import Subject

    subject = Subject(session, tenant, request, identity)
    with bar("looking", quiet) as tell:
        found = find(log, subject, tell)
    held = holdings(subject, review=review, graph=graph, learning=learning)
    one_tenant(subject, [found.tenants, *(one.tenants for one in held)])
    erased: dict[str, int] = {}
    if yes:
        try:
            writing = opened(log, key, signing_key)
        except InUse:
            writing = None
        # The log is locked first and erased from last: while it knows the subject, a run that broke off can be seen.
        with writing or contextlib.nullcontext(), bar("erasing", quiet) as tell:
            for one in held:
                if one.given:
                    erased[one.name] = one.erase()
            if writing is None:
                erased["audit"] = asked(log, subject, key, wait)
            else:
                erased["audit"] = take_out(writing, subject, tell).records
    result = _result(found, held, erased, done=yes)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _print(result)


def retain(
    log: LogFile,
    days: Annotated[int, typer.Option(min=0, max=MAX_DAYS, help="Files whose last record is older go.")],
    key: KeyFile = None,
    signing_key: Signing = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let go of closed files that are old. Says which, and with --yes does it; a record of the log says so for ever.

    In the gateway `keep_days` in its settings does the same.
    """
    from aimds.errors import DataError
    from aimds.record.erasure import old
    from aimds.record.erasure import retain as let_go

    if not log.is_file():
        raise DataError(log, "no such log")
    before = datetime.now(UTC) - timedelta(days=days)
    files = old(log, before)
    if yes:
        with opened(log, key, signing_key) as writing:
            files = let_go(writing, before)
    gone = [one.file for one in files]
    through = files[-1].last if files else None
    if as_json:
        typer.echo(json.dumps({"done": yes, "files": gone, "through": through}))
        return
    if not files:
        say(f"no closed file is older than {days} days")
        return
    say(
        f"{'removed' if yes else 'would be removed'}: {counted(len(gone), 'file')}, records {files[0].first} to "
        f"{through}"
    )
    if not yes:
        say("nothing was changed; --yes does it")


def _result(found: Found, held: list[Holding], erased: dict[str, int], *, done: bool) -> dict[str, Any]:
    audit = {"records": found.records, "kinds": found.kinds, "since": found.since, "until": found.until}
    remains = ["audit: kind, time, verdict and place of each record; not whom it is about"] if found.records else []
    if found.unowned:
        unowned = f"{counted(found.unowned, 'record')} that would fit but have no tenant, such as denials"
        remains.append(f'audit: {unowned}; --tenant "" takes them out')
    for one in held:
        if not one.given and one.count:
            remains.append(f"{one.name}: {one.count} {one.what} in {one.where}; {one.way}")
        elif one.given and one.count and one.left:
            remains.append(f"{one.name}: {one.left}")
        elif one.unknown:
            remains.append(f"{one.name}: {one.unknown}")
    remains.append("not looked at: exports, verdict files, notify files, and copies and backups of all of these")
    stores = {one.name: {"found": one.count, "where": str(one.where), "given": one.given} for one in held}
    return {"done": done, "audit": audit, "stores": stores, "erased": erased, "remains": remains}


def _print(result: dict[str, Any]) -> None:
    audit, done = result["audit"], result["done"]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(audit["kinds"].items()))
    span = f" ({kinds}; {audit['since'][:19]} to {audit['until'][:19]})" if audit["records"] else ""
    say(f"audit: {counted(audit['records'], 'record')} {'erased' if done else 'would be erased'}{span}")
    for name, one in result["stores"].items():
        if one["given"]:
            say(f"{name}: {result['erased'].get(name, one['found']):,} {'erased' if done else 'would be erased'}")
    for sentence in result["remains"]:
        say(f"  – remains: {sentence}")
    if not done:
        say("nothing was changed; --yes does it")
