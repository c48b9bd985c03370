"""`aimds learn`: from confirmed feedback to a candidate, through the gate, into force and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli import learn_actions, learn_propose
from aimds.cli.learn_state import AsJson, By, Key, Message, StateFolder, key_file, now, say, signer, state_folder
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.learn.rounds import Round, State

EXIT_NOT_PASSED = 1


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Learn from confirmed feedback: propose, promote, roll back.", no_args_is_help=True)
    for name, command in (
        ("keygen", keygen),
        ("status", status),
        ("propose", learn_propose.propose),
        ("actions", learn_actions.actions),
        ("promote", promote),
        ("rollback", rollback),
        ("history", history),
        ("erase", erase),
    ):
        group.command(name)(command)
    app.add_typer(group, name="learn")


def keygen(state: StateFolder = None, key: Key = None) -> None:
    """Make the state's signing key, and the state if there is none yet; an existing key is kept."""
    import secrets

    from aimds.detect.patterns import keys
    from aimds.learn import events

    file, folder = key_file(key), state_folder(state)
    fresh = not file.exists()
    signing = keys.create(file, secrets.token_bytes(32)) if fresh else keys.load(file)
    say(f"{file}: {'new key' if fresh else 'key'} {signing.public.id}; keep it away from where texts are screened")
    if events.stamp(folder) is not None:
        say(f"{folder}: a state already")
        return
    events.create(folder, key=signing, name=secrets.token_hex(16), now=now())
    say(f"{folder}: new state, trusts key {signing.public.id}")


def status(state: StateFolder = None, as_json: AsJson = False) -> None:
    """Show what is in force, what is on trial, the last round, and how much feedback waits."""
    from aimds.learn import rounds
    from aimds.learn.feedback import Replay
    from aimds.learn.lessons import lessons

    folder = state_folder(state)
    found = rounds.load(folder)
    given = lessons(Replay(folder / rounds.FEEDBACK).read())
    last = found.rounds[-1] if found.rounds else None
    waiting = len(given.attacks) - (last.report["lessons"]["attacks"] if last else 0)
    if as_json:
        document = {
            "current": found.current,
            "trial": found.trial,
            "share": found.share,
            **_moved(found),
            "rounds": len(found.rounds),
            "last": _plain(last) if last else None,
            "feedback": {
                "attacks": len(given.attacks),
                "benign": len(given.benign),
                "disputed": given.disputed,
                "without_text": given.textless,
            },
        }
        typer.echo(json.dumps(document))
        return
    say(f"in force: {_name(found.current)}")
    if found.trial:
        say(f"on trial: {_name(found.trial)}, on {found.share:.1%} of the sessions")
    _say_moved(found)
    say(
        f"feedback: {counted(len(given.attacks), 'attack')} and {counted(len(given.benign), 'benign text')}; "
        f"{counted(given.disputed, 'text')} "
        f"disputed, {counted(given.textless, 'row')} without a text"
    )
    if last is None:
        say("no round has been proposed yet; see aimds learn propose --help")
        return
    outcome = "passed the gate" if last.passed else "did not pass the gate"
    say(f"last: round {last.number} of {last.time}, {outcome}; {counted(max(waiting, 0), 'attack')} confirmed since")


def promote(
    number: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="The round, one that passed the gate.")],
    by: By,
    share: Annotated[float, typer.Option(help="Share of the sessions to try it on; 1 puts it in force.")] = 1.0,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Move the policy's thresholds too, by the step that the round names.")
    ] = False,
    state: StateFolder = None,
    key: Key = None,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Put a round in force, or on trial for a share of the sessions. A person must name themselves with --by.

    Example: aimds learn promote 3 --by "who answers for it" --share 0.1
    """
    from aimds.learn import rounds

    after = rounds.promote(
        state_folder(state),
        number,
        share=share,
        thresholds=thresholds,
        key=signer(key),
        now=now(),
        by=by,
        note=message,
    )
    _say_force(after, as_json)


def rollback(
    by: By,
    number: Annotated[
        int | None, typer.Argument(metavar="[ROUND]", min=0, help="A round that was in force; 0 for nothing learnt.")
    ] = None,
    state: StateFolder = None,
    key: Key = None,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """End a trial, or go back to what was in force before."""
    from aimds.learn import rounds

    after = rounds.rollback(state_folder(state), number, key=signer(key), now=now(), by=by, note=message)
    _say_force(after, as_json)


def history(
    state: StateFolder = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Draw the gains: .html a page, .svg a picture.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every round with what it gained on held-out attacks, and who put what in force."""
    from aimds.learn import rounds

    found = rounds.load(state_folder(state))
    if out is not None:
        _draw(found, out)
    if as_json:
        happened = [
            {"number": e.number, "time": e.time, "kind": e.kind, "by": e.by, "note": e.note, "hash": e.hash}
            | {name: value for name, value in e.body.items() if name != "report"}
            for e in found.events
        ]
        typer.echo(json.dumps({"rounds": [_plain(one) for one in found.rounds], "events": happened}))
        return
    from aimds.cli.learn_tables import print_events, print_rounds

    print_rounds(found)
    print_events(found)


def erase(
    session: Annotated[str | None, typer.Option(help="Erase what came from this session.")] = None,
    tenant: Annotated[str | None, typer.Option(help='Erase what came from this tenant; "": of none.')] = None,
    state: StateFolder = None,
) -> None:
    """Take a subject's rows out of the feedback; what was learnt from them stays in force until another round is.

    A session id that more than one tenant has needs --tenant: clients choose such ids.
    """
    from aimds.errors import ConfigError
    from aimds.learn import rounds
    from aimds.learn.feedback import Replay

    folder = state_folder(state)
    rounds.load(folder)
    replay = Replay(folder / rounds.FEEDBACK)
    tenants = replay.tenants(session=session) if session is not None and tenant is None else {}
    if len(tenants) > 1:
        listed = ", ".join(name or '"" (rows of none)' for name in sorted(tenants))
        raise ConfigError("--tenant", None, f"one of {listed}: more than one has this session")
    gone = replay.erase(session=session, tenant=tenant)
    say(f"{counted(gone, 'row')} erased; propose and promote a round to take what they taught out of force")


def _draw(found: State, out: Path) -> None:
    from aimds.errors import ConfigError
    from aimds.learn import gain_plot

    if out.suffix not in (".html", ".svg"):
        raise ConfigError("--out", str(out), "a file that ends in .html or .svg")
    points = gain_plot.points(found)
    content = gain_plot.page(points) if out.suffix == ".html" else gain_plot.svg(points)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(content, "utf-8")
    typer.echo(f"wrote {out}" + ("" if points else "; it is empty: no round has been proposed yet"), err=True)


def _say_force(found: State, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"current": found.current, "trial": found.trial, "share": found.share, **_moved(found)}))
        return
    trial = f"; on trial: {_name(found.trial)}, on {found.share:.1%} of the sessions" if found.trial else ""
    say(f"in force: {_name(found.current)}{trial}")
    _say_moved(found)


def _moved(found: State) -> dict[str, Any]:
    pair = {"current": found.moved.get(found.current), "trial": found.moved.get(found.trial)}
    return {"thresholds": {name: None if one is None else one["to"] for name, one in pair.items()}}


def _say_moved(found: State) -> None:
    for number in (found.current, found.trial):
        if (moved := found.moved.get(number)) is not None:
            steps = (f"{name} {moved['from'][name]:g} to {moved['to'][name]:.3g}" for name in ("flag", "block"))
            say(f"{_name(number)} moves the thresholds of the policy: {', '.join(steps)}")


def _name(number: int) -> str:
    return f"round {number}" if number else "nothing learnt"


def _plain(one: Round) -> dict[str, Any]:
    return {
        "round": one.number,
        "time": one.time,
        "by": one.by,
        "note": one.note,
        "candidate": one.candidate,
        "passed": one.passed,
        **one.report,
    }
