"""`aimds policy test`, `explain` and `graph`: policies over sessions, tried, explained and drawn."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.printable import LINE, counted, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from aimds.errors import AimdsError
    from aimds.ltl.examples import Steps
    from aimds.ltl.formula import Formula
    from aimds.ltl.policies import Example, TracePolicies, TracePolicy
    from aimds.ltl.sessions import Flags, Sessions

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
COLUMNS = ("session_id", "turn", "tenant", "ts", "channel", "action", "session_action", "threat_type", "spans")
MORE_COLUMNS = ("mitigated_text", "status")
GOOD = {"says": "any", "formula": "a", "holds": ["a"], "fails": ["b"]}
"""A policy that can be read."""

File = Annotated[
    Path | None, typer.Option("--file", "-f", metavar="FILE", help="Policies over sessions.  \\[default: shipped]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(group: typer.Typer) -> None:
    """Add the commands to ``group``."""
    group.command("test")(examples)
    group.command("explain")(explain)
    group.command("graph")(graph)


def examples(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Policies over sessions; without one, the shipped ones.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try each policy on its examples. Exit code 0: all come out as they say; 1: some do not; 2: bad file."""
    policies = load(file)
    for policy in policies.policies:
        for example in policy.examples:
            _strangers(policies, example.key, example.steps)
    wrong = {example.key for policy in policies.policies for example in policy.wrong()}
    rows = [
        {"policy": policy.name, "example": example.text, "expected": example.holds, "ok": example.key not in wrong}
        for policy in policies.policies
        for example in policy.examples
    ]
    if as_json:
        typer.echo(json.dumps({"version": policies.version, "ok": not wrong, "examples": rows}))
    else:
        for row in rows:
            mark, kind = "ok " if row["ok"] else "NOT", "holds" if row["expected"] else "fails"
            typer.echo(visible(f"{mark} {row['policy']} {kind} on: {row['example']}", LINE))
        typer.echo(f"{len(rows) - len(wrong)} of {len(rows)} examples come out as they say")
    if wrong:
        raise typer.Exit(EXIT_FAILED)


def explain(
    name: Annotated[str, typer.Argument(help="Name of the policy.")],
    file: File = None,
    steps: Annotated[
        str, typer.Option(metavar="TEXT", help="A session in the text form: 'threat_detected @0; allowed @2s'.")
    ] = "",
    verdicts: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Verdicts: a file, folder or glob; their column events is used where there is one."
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events-column",
            metavar="COLUMN",
            help="Column of the verdicts with the events, where scan carried another.",
        ),
    ] = None,
    session: Annotated[str, typer.Option(metavar="ID", help="Only this session of the verdicts.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most sessions to explain.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say in words why sessions break a policy, with their turns; --json gives certificates. Exit code 1: some do."""
    from aimds.ltl.certificate import certificate
    from aimds.ltl.explain import explain as words

    policies = load(file)
    policy = policies[name]
    if bool(steps) == (verdicts is not None):
        raise typer.BadParameter("give either --steps or --verdicts")
    if events is not None and verdicts is None:
        raise typer.BadParameter("--events-column is of --verdicts")
    found: list[dict[str, Any]] = []
    count = 0
    for who, trace, turns in _typed(policies, steps) if steps else _read(policy, verdicts, session, events):
        count += 1
        if len(found) < limit:
            proof = certificate(policy.formula, trace, turns)
            said = words(policy.name, policy.says, proof, trace, turns) if proof["kind"] == "violation" else []
            found.append({**who, "certificate": proof, "words": said})
    broken = [one for one in found if one["certificate"]["kind"] == "violation"]
    if as_json:
        typer.echo(json.dumps(found))
    for one in () if as_json else found:
        place = ", ".join(f"{key} {one[key]}" for key in ("tenant", "session") if one[key] is not None)
        said = one["words"] or [f"{policy.name} is kept. {policy.says}"]
        start = visible(place, LINE) + ": " if place else ""
        typer.echo(start + "\n  ".join(visible(line, LINE) for line in said))
    if verdicts is not None and not as_json:
        typer.echo(
            f"{counted(count, 'session')} {'breaks' if count == 1 else 'break'} {policy.name}"
            + (f", the first {limit} shown" if count > limit else "")
        )
    if broken:
        raise typer.Exit(EXIT_FAILED)


def graph(
    name: Annotated[str, typer.Argument(help="Name of the policy; leave it out with --formula.")] = "",
    file: File = None,
    formula: Annotated[str, typer.Option(metavar="TEXT", help="A formula instead of a policy.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="SVG or DOT, by its ending .svg or .dot; else DOT is printed."
        ),
    ] = None,
) -> None:
    """Draw the automaton of a policy: states, and the events that lead from one to the next."""
    from aimds.errors import ConfigError, DataError
    from aimds.ltl.automaton import automaton
    from aimds.ltl.drawing import svg
    from aimds.ltl.graph import dot

    if bool(name) == bool(formula):
        raise typer.BadParameter("give either a policy or --formula")
    if output is not None and output.suffix not in (".svg", ".dot"):
        raise ConfigError("--output", str(output), "a file that ends in .svg or .dot")
    asked = read(formula) if formula else load(file)[name].formula
    made, title = automaton(asked), f"{name}: {asked}" if name else str(asked)
    if output is None:
        typer.echo(visible_lines(dot(made, title)), nl=False)
        return
    drawn = dot(made, title) if output.suffix == ".dot" else svg(made, title)
    try:
        output.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise DataError(output, f"cannot be written: {error.strerror or error}") from error
    typer.echo(visible(f"{output}: {counted(len(made.table), 'state')}", LINE))


def visible_lines(text: str) -> str:
    """``text`` made safe to print, line by line."""
    return "".join(visible(line, LINE) + "\n" for line in text.splitlines())


def is_about_sessions(file: Path) -> bool:
    """Whether ``file`` holds policies over sessions; False where it cannot be read at all."""
    try:
        return "policies" in tomllib.loads(file.read_bytes().decode())
    except (OSError, ValueError, RecursionError):
        return False


def check(file: Path, as_json: bool) -> None:
    """Check a file of policies over sessions and say what is in it; an example that comes out otherwise is an error."""
    from aimds.cli import policy_faults

    policy_faults.told(file, _faults(file))
    policies = load(file)
    policy_faults.told(file, [_other(policy, example) for policy in policies.policies for example in policy.wrong()])
    states = {p.name: None if p.automaton is None else len(p.automaton.table) for p in policies.policies}
    if as_json:
        typer.echo(json.dumps({"version": policies.version, "events": policies.names, "states": states}))
    else:
        typer.echo(visible(f"{file}: ok, version {policies.version}, policies over sessions: {len(states)}", LINE))


def _faults(file: Path) -> list[AimdsError]:
    """What is wrong in the values of ``file``, which can be read."""
    from aimds.cli import policy_faults
    from aimds.ltl.policies import TracePolicies

    values = tomllib.loads(file.read_bytes().decode())
    named = values["policies"]
    good = {"format": 1, "version": "1", "policies": dict.fromkeys(named if isinstance(named, dict) else "a", GOOD)}
    try:
        return policy_faults.faults(TracePolicies.of, values, good)
    except RecursionError:
        return []


def _other(policy: TracePolicy, example: Example) -> AimdsError:
    """That ``example`` comes out otherwise than it says."""
    from aimds.errors import ConfigError

    expected = f"a session on which {policy.name} {'holds' if example.holds else 'fails'}"
    return ConfigError(example.key, example.text, expected)


def load(file: Path | None) -> TracePolicies:
    """The policies in ``file``; a formula that cannot be read is shown with its place, and the program ends with 2."""
    from aimds.ltl.policies import PolicyError, TracePolicies

    try:
        return TracePolicies.load(file)
    except PolicyError as error:
        if not show(error):
            raise
        raise typer.Exit(EXIT_BAD_INPUT) from None


def show(error: AimdsError) -> bool:
    """Show a formula that cannot be read with its place; False, and nothing shown, where ``error`` is another."""
    from aimds.ltl.formula import FormulaError
    from aimds.ltl.policies import PolicyError

    if not isinstance(error, PolicyError) or not isinstance(error.cause, FormulaError):
        return False
    _show(f"policies.{error.name}.formula", error.cause)
    return True


def read(text: str) -> Formula:
    """The formula ``text``; one that cannot be read is shown with its place, and the program ends with 2."""
    from aimds.ltl.formula import FormulaError
    from aimds.ltl.parser import parse

    try:
        return parse(text)
    except FormulaError as error:
        _show("--formula", error)
        raise typer.Exit(EXIT_BAD_INPUT) from None


def _show(where: str, error: Any) -> None:
    typer.echo(visible(f"error: {where}: {error.expected}", LINE), err=True)
    line, caret = error.shown.split("\n")
    # The caret keeps its place only where nothing in the line has to be written out.
    shown = visible(line.strip(), LINE)
    typer.echo("  " + shown, err=True)
    if shown == line.strip():
        typer.echo("  " + caret[len(line) - len(line.lstrip()) :], err=True)


def _strangers(policies: TracePolicies, where: str, steps: Steps) -> None:
    """Say which events at ``where`` nothing else knows: misspelt, they leave every policy kept."""
    from aimds.ltl.sessions import EVENTS

    for name in sorted({name for _, events in steps for name in events} - {*policies.names, *EVENTS}):
        said = f"note: {where}: {name} stands in no formula of these policies and is no event of a verdict"
        typer.echo(visible(said, LINE), err=True)


def _typed(policies: TracePolicies, steps: str) -> Iterator[tuple[dict[str, Any], Steps, list[int]]]:
    from aimds.errors import ConfigError
    from aimds.ltl.examples import read_steps
    from aimds.ltl.traces import TraceError

    try:
        trace = read_steps(steps)
    except TraceError as error:
        raise ConfigError(
            "--steps", steps, f"steps as in 'threat_detected @0; allowed @2s' ({error.problem})"
        ) from None
    _strangers(policies, "--steps", trace)
    yield {"tenant": None, "session": None}, trace, list(range(len(trace)))


def _read(
    policy: TracePolicy, file: str | None, wanted: str, named: str | None
) -> Iterator[tuple[dict[str, Any], Steps, list[int]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from aimds.errors import DataError
    from aimds.jobs.report.verdict_files import find
    from aimds.ltl.judge import Judge
    from aimds.ltl.policies import TracePolicies
    from aimds.ltl.sessions import sessions

    parts = find([] if file is None else [file])
    tables = []
    for part in parts:
        try:
            columns = set(pq.read_schema(part).names)
            missing = [one for one in (*COLUMNS, *MORE_COLUMNS) if one not in columns]
            if missing:
                raise DataError(part, f"has no column {missing[0]}; it is no file of verdicts")
            if named is not None and named not in columns:
                raise DataError(part, f"has no column {named}")
            events = named or "events"
            more = [name for name in (events, "error", "p_value", "violations") if name in columns]
            read = dict.fromkeys((*COLUMNS, *MORE_COLUMNS, *more))
            tables.append(_with_lists(part, pq.read_table(part, columns=list(read)), events))
        except (OSError, ValueError) as error:
            raise DataError(part, f"cannot be read: {error}") from error
    table = pa.concat_tables(tables, promote_options="default")
    judge = Judge(TracePolicies((policy,), ""))
    found = sessions(table, judge.names, table.column("events") if "events" in table.column_names else None)
    broken = judge.judge(found)[0]
    _without_events(policy, parts, tables, found, {one.session for one in broken}, wanted)
    for one in broken:
        if not wanted or found.ids[one.session] == wanted:
            begin, end = found.traces.offsets[one.session : one.session + 2].tolist()
            trace = [(time or 0, events) for time, events in found.traces.steps(one.session)]
            who = {"tenant": found.tenants[one.session], "session": found.ids[one.session]}
            yield who, trace, found.turns[begin:end].tolist()


def _with_lists(part: Path, table: pa.Table, events: str) -> pa.Table:
    """``table`` with its column ``events``, as a scan copies it from any log, as lists of names in a column events."""
    from aimds.errors import DataError
    from aimds.jobs.scan.columns import is_events
    from aimds.jobs.scan.convert import as_events, plain

    if events not in table.column_names:
        return table
    column = plain(table.column(events).combine_chunks())
    if not is_events(column.type):
        raise DataError(part, f"has a column {events} of type {column.type}, expected lists of names or text")
    others = table.drop_columns("events") if events == "events" else table
    return others.append_column("events", as_events(column))


def _without_events(
    policy: TracePolicy,
    parts: Sequence[Path],
    tables: Sequence[pa.Table],
    found: Sessions,
    broken: set[int],
    wanted: str,
) -> None:
    """Say which events of ``policy`` files lack; a session that a scan, which saw them, found broken is not kept."""
    import numpy as np

    from aimds.errors import DataError
    from aimds.ltl.sessions import EVENTS

    foreign = ", ".join(name for name in found.traces.names if name not in EVENTS)
    lacks = ["events" not in table.column_names for table in tables]
    if not foreign or not any(lacks):
        return
    first = parts[lacks.index(True)]
    problem = (
        f"has no column events (--events-column names another), and {policy.name} speaks of {foreign}; "
        "aimds scan --carry keeps them"
    )
    lacking = np.repeat(lacks, [table.num_rows for table in tables])[found.rows]
    named = np.concatenate([_naming(policy, table) for table in tables])[found.rows]
    session = np.repeat(np.arange(len(found.traces)), np.diff(found.traces.offsets))
    for one in sorted({*session[lacking].tolist()} & {*session[named].tolist()} - broken):
        if not wanted or found.ids[one] == wanted:
            raise DataError(first, f"{problem}: session {found.ids[one]}, recorded as broken, cannot be explained")
    typer.echo(visible(f"note: {first} {problem}, here they never happened", LINE), err=True)


def _naming(policy: TracePolicy, table: pa.Table) -> Flags:
    """Which rows name ``policy`` among their violations, bool (N,)."""
    import numpy as np

    from aimds.ltl.sessions import given

    if "violations" not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    return given(table.column("violations"), [policy.name]) > 0
