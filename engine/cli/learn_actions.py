"""`aimds learn actions`: the next probabilities of a policy that draws its actions, and what they would have earned."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli.learn_state import AsJson, say

if TYPE_CHECKING:
    from aimds.learn.follow_ups import FollowUps
    from aimds.learn.responses import Estimate

LogFile = Annotated[Path, typer.Argument(metavar="LOG", help="The audit log, with the draws.")]
FeedbackFile = Annotated[Path, typer.Argument(metavar="FEEDBACK", help="What people decided, as review exports it.")]


def actions(
    log: LogFile,
    feedback: FeedbackFile,
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The policy file whose actions are drawn.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where the new table of actions goes.")
    ] = None,
    follow_ups: Annotated[
        bool,
        typer.Option("--follow-ups/--no-follow-ups", help="Learn from what followed draws that nobody decided, too."),
    ] = True,
    appeals: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Parquet with appeals of users: request_id, source, tenant.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling; not that of the draws.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Say what drawn actions were worth, and what the next probabilities would have been worth. Changes no policy.

    Example: aimds learn actions audit.log feedback.parquet --policy policy.toml -o actions.toml
    """
    from aimds.errors import ConfigError, DataError
    from aimds.learn import draws, responses
    from aimds.learn import follow_ups as following
    from aimds.learn.feedback import read_feedback
    from aimds.record import disk
    from aimds.respond.policy import Policy

    learned = Policy.load(policy).learned
    if learned is None:
        raise ConfigError("actions.learn", None, "a policy file with [actions] and learn = true")
    if appeals is not None and not follow_ups:
        raise ConfigError("--appeals", str(appeals), "--follow-ups, of which appeals are one kind")
    appealed = None if appeals is None else following.appeals(appeals)
    drawn = draws.read(log, say=lambda line: typer.echo(line, err=True))
    said = responses.decided(drawn, read_feedback(feedback))
    found = responses.outcomes(drawn, said)
    beside = following.rewards(drawn, said, appealed) if follow_ups else None
    after = responses.learnt(found, learned, seed=seed, beside=beside)
    values = {
        name: {
            "ips": responses.inverse_propensity(found, chances),
            "snips": responses.self_normalised(found, chances),
        }
        for name, chances in (("before", learned.chances), ("after", after))
    }
    table = responses.written(after, learned)
    if output is not None:
        try:
            disk.replace(output, table.encode(), mode=0o644)
        except OSError as error:
            raise DataError(output, f"cannot be written: {error.strerror}") from error
    if as_json:
        shown = {name: {kind: _finite(one) for kind, one in both.items()} for name, both in values.items()}
        followed = None if beside is None else _told(beside)
        typer.echo(json.dumps({"rows": len(found.action), "follow_ups": followed, "values": shown, "actions": table}))
        return
    say(f"{len(found.action):,} drawn actions about which people have decided")
    if beside is not None and (len(beside.action) or beside.unknown):
        weight = float(beside.weight.sum())
        say(
            f"{len(beside.action):,} other draws count by what followed, like {weight:,.1f} decisions; "
            f"{sum(beside.over.values()):,} are over the cap of their source, of {beside.unknown:,} it is not known "
            "what the follow-up means"
        )
    for name, both in values.items():
        for kind, one in both.items():
            told = (
                "nothing can be said" if math.isnan(one.value) else f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
            )
            say(f"{name:6} {kind:5} reward {told}, {one.effective:,.0f} effective rows")
    if len(found.action) and values["after"]["snips"].effective < responses.FEW:
        say(f"under {responses.FEW:g} effective rows: the intervals say little yet")
    if output is None:
        typer.echo(table)
    else:
        say(f"{output}: the table to put in place of [actions]; try the policy with aimds replay first")


def _finite(one: Estimate) -> dict[str, float | int | None]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(one).items()
    }


def _told(beside: FollowUps) -> dict[str, object]:
    return {
        "rows": len(beside.action),
        "weight": float(beside.weight.sum()),
        "over": dict(beside.over),
        "unknown": beside.unknown,
        "meanings": {f"{kind} after {action}": share for (kind, action), share in sorted(beside.meanings.items())},
    }
