"""`aimds review allow`: what two people agree to let pass."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.review_options import AsJson, ItemId, QueuePlace, Reason, ReviewerName, now, opened, reviewer

if TYPE_CHECKING:
    from aimds.respond.review.allow import Proposal

ProposalId = Annotated[int, typer.Argument(help="Number of the proposal.")]
DAYS = 90


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Let findings pass: one person proposes, another one approves.", no_args_is_help=True)
    for command in (propose, approve, reject, export):
        group.command(command.__name__)(command)
    group.command("list")(listed)
    app.add_typer(group, name="allow")


def propose(
    item: ItemId,
    reason: Reason,
    scope: Annotated[str, typer.Option(help="What passes: this text, its pattern, or its threat type.")] = "text",
    pattern: Annotated[
        str | None, typer.Option(metavar="ID", help="Which pattern, where it was caught by several.")
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help=f"Last day of it.  \\[default: in {DAYS} days]"),
    ] = None,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Propose that findings like that of an item pass; it must be decided as benign."""
    from aimds.respond.review.allow import Proposals

    with opened(queue) as found:
        at = now()
        last = at.date() + timedelta(DAYS) if expires is None else expires.date()
        one = Proposals(found.store).propose(reviewer(name), item, scope, reason, last, at, pattern_id=pattern)
    _told(one, as_json, "waits for another person")


def approve(
    proposal: ProposalId,
    reason: Reason,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Agree to what another person proposed."""
    from aimds.respond.review.allow import Proposals

    with opened(queue) as found:
        one = Proposals(found.store).approve(reviewer(name), proposal, reason, now())
    _told(one, as_json, "is approved; aimds review allow export prints it for the policy")


def reject(
    proposal: ProposalId,
    reason: Reason,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """Disagree with a proposal, or take your own back."""
    from aimds.respond.review.allow import Proposals

    with opened(queue) as found:
        one = Proposals(found.store).reject(reviewer(name), proposal, reason, now())
    _told(one, as_json, f"is {one.state}")


def listed(
    state: Annotated[str | None, typer.Option(help="open, approved, rejected or withdrawn.  \\[default: all]")] = None,
    queue: QueuePlace = "review.db",
    name: ReviewerName = None,
    as_json: AsJson = False,
) -> None:
    """List proposals."""
    from aimds.respond.review import document
    from aimds.respond.review.allow import Proposals

    with opened(queue) as found:
        listed = Proposals(found.store).listed(reviewer(name), state)
    if as_json:
        print(json.dumps([document.proposal(one) for one in listed]))
        return
    from aimds.cli.review_show import proposals

    proposals(listed)


def export(queue: QueuePlace = "review.db", name: ReviewerName = None) -> None:
    """Print what was approved and has not expired as tables of the policy's allowlist."""
    from aimds.respond.review.allow import Proposals, toml

    with opened(queue) as found:
        listed = Proposals(found.store).listed(reviewer(name), "approved")
    print(toml(one for one in listed if one.expires >= now().date()), end="")


def _told(proposal: Proposal, as_json: bool, sentence: str) -> None:
    from aimds.respond.review import document

    print(json.dumps(document.proposal(proposal)) if as_json else f"proposal {proposal.id} {sentence}")
