"""`aimds review`: the queue of verdicts for people, in the terminal."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from aimds.cli import review_allow, review_keep, review_open
from aimds.cli.review_options import AsJson, ItemId, QueuePlace, Reason, ReviewerName, now, opened, reviewer
from aimds.printable import counted

EXIT_NOTHING = 1
DEFAULT_ACTIONS = "escalate"


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Decide on verdicts: queue, claim, decide, undo, let pass, export.", no_args_is_help=True)
    for command in (add, show, claim, release, decide, undo, stats, export):
        group.command(command.__name__)(command)
    group.command("list")(listed)
    review_allow.register(group)
    review_keep.register(group)
    review_open.register(group)
    app.add_typer(group, name="review")


def add(
    verdicts: Annotated[list[str], typer.Argument(help="Verdict files, folders of them, or globs.")],
    action: Annotated[str, typer.Option(help="Actions whose rows are queued, separated by commas.")] = DEFAULT_ACTIONS,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Queue verdicts of `aimds scan --with-text`, each once for ever; makes the file where it is missing.

    Example: aimds review add verdicts/ --action escalate,block
    """
    from aimds.jobs.report.verdict_files import open_all
    from aimds.jobs.review import add as add_files
    from aimds.jobs.review import check_actions
    from aimds.printable import LINE, visible

    actions = {part.strip() for part in action.split(",") if part.strip()} or {""}
    # What cannot be read must not leave an empty queue behind.
    check_actions(actions)
    open_all(verdicts)

    def say(line: str) -> None:
        print(visible(line, LINE), file=sys.stderr)

    with opened(queue, create=True) as found:
        done = add_files(found, verdicts, actions, now(), reviewer(name).name, say)
    if as_json:
        print(json.dumps(asdict(done)))
        return
    before = f"{done.known:,} stood there before"
    print(
        f"{done.new:,} queued of {counted(done.rows, 'verdict')} ({before}), {counted(done.turns, 'turn')} beside them"
    )
    if done.without_text:
        print("no text in some of them: scan with --with-text to see what is decided on", file=sys.stderr)


def listed(
    state: Annotated[str, typer.Option(help="open, decided or all.")] = "open",
    severity: Annotated[str | None, typer.Option(help="critical, high, medium or low.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    threat: Annotated[str | None, typer.Option(help="Of this threat type alone.")] = None,
    label: Annotated[str | None, typer.Option(help="attack or benign.")] = None,
    search: Annotated[str | None, typer.Option(help="Part of the text, or an id of a request or session.")] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Held or decided by you.")] = False,
    overdue: Annotated[bool, typer.Option("--overdue", help="Past the time they were due.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 30,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """List items, those that are due first before the others."""
    from aimds.respond.review import Filter, document

    wanted = Filter(state, severity, tenant, threat, label, search, mine=mine, overdue=overdue)
    with opened(queue) as found:
        who, at = reviewer(name), now()
        items, total = found.page(who, at, wanted, limit=limit), found.matching(who, at, wanted)
    if as_json:
        print(json.dumps({"total": total, "items": [document.item(one, at) for one in items]}))
        return
    from aimds.cli.review_show import table

    table(items, total, at)


def show(item: ItemId, queue: QueuePlace = "review.db", name: ReviewerName = None, as_json: AsJson = False) -> None:
    """Show an item: the verdict with its evidence marked, its session, its history."""
    from aimds.respond.review import document
    from aimds.respond.review.allow import Proposals

    with opened(queue) as found:
        who, at = reviewer(name), now()
        one, past = found.get(who, item), found.history(who, item)
        turns, proposals = found.session(who, item), Proposals(found.store).listed(who, item=item)
    if as_json:
        more = {
            "session": [document.turn(each) for each in turns],
            "history": [document.event(each) for each in past],
            "proposals": [document.proposal(each) for each in proposals],
        }
        print(json.dumps(document.item(one, at, whole=True) | more))
        return
    from aimds.cli.review_show import whole

    whole(one, past, turns, at)


def claim(
    item: Annotated[int | None, typer.Argument(help="Its number.  \\[default: the first that is due and free]")] = None,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Hold an item for 15 minutes, so that nobody else decides it meanwhile. Exit code 1: there is none to hold."""
    with opened(queue) as found:
        one = found.claim(reviewer(name), now(), item)
    if one is None:
        print(json.dumps(None) if as_json else "nothing is waiting")
        raise typer.Exit(EXIT_NOTHING)
    _told(one, as_json, "is yours until {claimed_until:%H:%M} UTC")


def release(item: ItemId, queue: QueuePlace = "review.db", name: ReviewerName = None, as_json: AsJson = False) -> None:
    """Give an item back that you hold."""
    with opened(queue) as found:
        _told(found.release(reviewer(name), item, now()), as_json, "is free again")


def decide(
    item: ItemId,
    label: Annotated[str, typer.Argument(help="attack or benign.")],
    reason: Reason,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Say that an item is an attack, or benign, and why.

    Example: aimds review decide 7 attack --reason "orders the model to drop its rules"
    """
    with opened(queue) as found:
        _told(found.decide(reviewer(name), item, label, reason, now()), as_json, "is decided: {label}")


def undo(
    item: ItemId,
    reason: Reason,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Take a decision back; what was said before stays in the history."""
    with opened(queue) as found:
        _told(found.undo(reviewer(name), item, reason, now()), as_json, "is open again")


def stats(queue: QueuePlace = "review.db", name: ReviewerName = None, as_json: AsJson = False) -> None:
    """Count what waits, is overdue, is decided."""
    from aimds.respond.review import document

    with opened(queue) as found:
        counts = document.counts(found.counts(reviewer(name), now()))
    if as_json:
        print(json.dumps(counts))
        return
    bands = ", ".join(f"{n:,} {band}" for band, n in reversed(counts["bands"].items()) if n)
    print(f"open     {counts['open']:>9,}" + (f"   {bands}" if bands else ""))
    for key, what in (("overdue", ""), ("claimed", f"   {counts['mine']:,} by you"), ("attack", ""), ("benign", "")):
        print(f"{key:9}{counts[key]:>9,}{what}")
    if counts["proposals"]:
        print(f"waiting for a second person: {counted(counts['proposals'], 'proposal')}: aimds review allow list")


def export(
    out: Annotated[Path, typer.Argument(help="Parquet file to write, in place of what stands there.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Decided at that time or later, UTC."),
    ] = None,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Write what was decided as Parquet (aimds.schema.FEEDBACK), which learning reads."""
    from aimds.printable import LINE, visible
    from aimds.respond.review import feedback

    with opened(queue) as found:
        decided = feedback.table(found.store, reviewer(name), None if since is None else since.replace(tzinfo=UTC))
    feedback.write(decided, out)
    labels = decided.column("label").to_pylist()
    rows: dict[str, Any] = {"rows": len(labels), "attack": labels.count("attack"), "benign": labels.count("benign")}
    if as_json:
        print(json.dumps({"out": str(out), **rows}))
    else:
        kinds = f"{counted(rows['attack'], 'attack')}, {rows['benign']:,} benign"
        print(f"{visible(str(out), LINE)}: {counted(rows['rows'], 'decision')}, {kinds}")


def _told(item: Any, as_json: bool, sentence: str) -> None:
    from aimds.respond.review import document

    if as_json:
        print(json.dumps(document.item(item, now())))
    else:
        print(f"item {item.id} " + sentence.format(claimed_until=item.claimed_until, label=item.label))
