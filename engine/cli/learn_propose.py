"""`aimds learn propose`: add feedback, teach a candidate, judge it on what it was not taught, record the round."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli.learn_state import AsJson, Key, Message, StateFolder, now, say, signer, state_folder
from aimds.printable import counted

if TYPE_CHECKING:
    from aimds.learn.feedback import Replay
    from aimds.learn.proposal import Benign
    from aimds.learn.rounds import Round

EXIT_NOT_PASSED = 1
MAX_BENIGN = 20_000
"""Benign texts that are judged; of more, an even sample."""


def propose(
    feedback: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FEEDBACK]...", help="Parquet with decisions of people, as review writes it."),
    ] = None,
    benign: Annotated[
        list[Path] | None,
        typer.Option(
            "--benign",
            metavar="FILE",
            help="Texts known to be benign, never taught: Parquet with a column text (verdicts of scan --with-text "
            "too: their allowed rows), or one text a line. Repeatable.",
        ),
    ] = None,
    flag_limit: Annotated[float, typer.Option(help="Share of benign texts that may be flagged anew.")] = 0.01,
    block_limit: Annotated[float, typer.Option(help="Share of benign texts that may be blocked anew.")] = 0.002,
    profile: Annotated[str, typer.Option(help="Profile to judge in: fast, cascade or full.")] = "cascade",
    policy: Annotated[
        Path | None, typer.Option(help="Policy with the thresholds.  \\[default: the shipped one]")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What aimds calibrate wrote for this traffic.")
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who proposes; kept.")] = "",
    state: StateFolder = None,
    key: Key = None,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Learn from all feedback there is and record what came of it as a round; nothing is put in force.

    Attacks are held out in turn, benign texts always. Exit code: 0 the gate lets the round through, 1 it does not,
    2 nothing could be learnt.

    Example: aimds learn propose feedback.parquet --benign allowed.parquet
    """
    from rich.console import Console
    from rich.progress import Progress

    from aimds.cli.startup import warm_up
    from aimds.errors import ConfigError
    from aimds.learn import rounds
    from aimds.learn.feedback import Replay
    from aimds.learn.gate import Limits
    from aimds.learn.lessons import lessons
    from aimds.learn.proposal import propose as made
    from aimds.respond.policy import Policy
    from aimds.screener import Screener

    folder, signing = state_folder(state), signer(key)
    found = rounds.load(folder)
    limits = Limits(flag_limit, block_limit)
    if not benign:
        raise ConfigError("--benign", "", "texts known to be benign; without them nobody knows what it would cost")
    canaries = read_benign(benign)
    replay = Replay(folder / rounds.FEEDBACK)
    for path in feedback or ():
        _add(replay, path)
    given = lessons(replay.read())
    warm_up()
    chosen = Policy.load(policy)
    detector = Screener.default(profile=profile, policy=chosen, calibration=calibration, cache_bytes=0).detector
    current = rounds.candidate(folder, found.round(found.current)) if found.current else None
    written = _levels(chosen)
    if (moved := found.moved.get(found.current)) is not None:
        chosen = chosen.moved(moved["from"], moved["to"])
    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        proposal = made(
            detector,
            given,
            canaries,
            current=current,
            levels=_levels(chosen),
            written=written,
            limits=limits,
            progress=progress,
        )
    one = rounds.record(folder, proposal, key=signing, now=now(), by=by, note=message)
    if as_json:
        document = {"round": one.number, "passed": one.passed, "candidate": one.candidate, **one.report}
        typer.echo(json.dumps(document))
    else:
        _print(one)
    if not one.passed:
        raise typer.Exit(EXIT_NOT_PASSED)


def read_benign(files: list[Path]) -> Benign:
    """The texts of ``files``, at most MAX_BENIGN; of a table of verdicts the rows that were allowed.

    Raises:
        DataError: a file cannot be read or holds no text.
        SchemaError: a channel is not known.
    """
    from aimds.cli.pattern_change import read_texts
    from aimds.learn.proposal import Benign

    texts: list[str] = []
    channels: list[str] = []
    for file in files:
        if file.suffix in (".parquet", ".parq", ".pq"):
            rows = _table(file)
            texts += rows[0]
            channels += rows[1]
        else:
            lines = read_texts(file)
            texts += lines
            channels += ["user"] * len(lines)
    if len(texts) > MAX_BENIGN:
        print(f"an even sample of {MAX_BENIGN:,} of {counted(len(texts), 'benign text')} is judged", file=sys.stderr)
        chosen = [row * len(texts) // MAX_BENIGN for row in range(MAX_BENIGN)]
        texts, channels = [texts[row] for row in chosen], [channels[row] for row in chosen]
    return Benign(texts, channels)


def _table(file: Path) -> tuple[list[str], list[str]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from aimds.errors import DataError
    from aimds.schema import requests

    try:
        names = pq.read_schema(file).names
        wanted = [name for name in ("text", "channel", "action") if name in names]
        table = pq.read_table(file, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(file, f"cannot be read as Parquet: {error}") from error
    if "text" not in names:
        raise DataError(file, f"has no column text, only {', '.join(names)}; scan --with-text keeps it")
    if "action" in names:
        table = table.filter(pc.equal(table.column("action").cast(pa.string()), "allow"))
    batch = requests(table.drop_columns([name for name in ("action",) if name in names]))
    batch = batch.filter(batch.column("text").is_valid())
    if not batch.num_rows:
        raise DataError(file, "holds no text" + (" of a row that was allowed" if "action" in names else ""))
    texts = batch.column("text").cast(pa.large_binary()).to_pylist()
    return [text.decode("utf-8", "replace") for text in texts], batch.column("channel").to_pylist()


def _add(replay: Replay, path: Path) -> None:
    from aimds.learn.feedback import read_feedback

    added = replay.add(read_feedback(path))
    say_added = f"{path}: {counted(added.rows, 'decision')} added, {added.known:,} known already"
    for name, count in sorted(added.over.items()):
        say_added += f"; {count:,} refused, over the cap of one {name}"
    print(say_added, file=sys.stderr)


def _levels(policy: Any) -> Any:
    from aimds.learn.gate import Levels
    from aimds.schema import CHANNELS

    limits = policy.settings[0].thresholds[CHANNELS[0]]
    return Levels(limits.flag, limits.block)


def _print(one: Round) -> None:
    learnt, given = one.report["learnt"], one.report["lessons"]
    say(
        f"round {one.number}: {counted(given['attacks'], 'attack')} ({given['new']:,} new) and "
        f"{counted(given['benign'], 'benign text')} "
        f"taught: {counted(learnt['exemplars'], 'exemplar')}, {counted(learnt['patterns'], 'pattern')}"
    )
    for check in one.report["checks"]:
        say(f"- {'passed' if check['passed'] else 'FAILED'}, {check['name']}: {check['says']}")
    if one.report["unjudged"]:
        say(f"- {counted(one.report['unjudged'], 'text')} could not be judged")
    for name, level in one.report["thresholds"].items():
        if level["step"] is not None and level["step"] != level["now"]:
            say(
                f"- {name} threshold {level['now']:g}: by these benign texts {level['proven']:.3g} is shown to hold "
                f"that rate of false alarms; {level['step']:.3g} lies at most a factor of 2 away"
            )
    if (moved := one.report["moved"]) is not None:
        for check in moved["checks"]:
            said = "passed" if check["passed"] else "FAILED"
            say(f"- {said} with these thresholds, {check['name']}: {check['says']}")
    if one.passed:
        say(f"the gate lets it through; put it in force with: aimds learn promote {one.number} --by NAME")
        if moved is not None and all(check["passed"] for check in moved["checks"]):
            say("with these thresholds: add --thresholds")
    else:
        say("the gate does not let it through; nothing has changed")
