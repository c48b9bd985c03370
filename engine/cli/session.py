"""`aimds session`: one conversation out of verdicts, in the terminal, as JSON, or as a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aimds.jobs.sessions.trace import Trace

_BAR = 16
_SHOWN = 60


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def session(
        ident: Annotated[str, typer.Argument(metavar="ID", help="Session id.")],
        verdicts: Annotated[list[str], typer.Argument(help="Verdict files, folders of them, or globs.")],
        tenant: Annotated[str | None, typer.Option(help="Whose, where several tenants have this id.")] = None,
        out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write a page to this file.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    ) -> None:
        """Show one session: score by turn, where its level rises, how it moves, what it shows against benign sessions.

        Page and JSON hold the texts that the scan kept (--with-text), without personal data and secrets.

        Example: aimds session s000042 verdicts/ -o session.html
        """
        from aimds import __version__
        from aimds.errors import ConfigError
        from aimds.jobs.report import check, write
        from aimds.jobs.sessions import page, trace
        from aimds.printable import LINE, visible

        if not ident.strip():
            raise ConfigError("ID", ident, "the id of a session; aimds report lists sessions at risk")
        if out is not None:
            check(out)
        found = trace.find(verdicts, ident, tenant)
        if out is not None:
            write(out, page.render(found, engine_version=__version__))
        if as_json:
            print(json.dumps(found.as_dict(), ensure_ascii=True))
        else:
            _print(found)
        if out is not None:
            print(f"wrote {visible(str(out), LINE)}", file=sys.stderr)


def _print(found: Trace) -> None:
    from rich.table import Table

    from aimds.cli import terminal
    from aimds.jobs.sessions.trace import share
    from aimds.printable import counted, visible
    from aimds.respond.session_findings import told
    from aimds.verdicts import SESSIONS

    console = terminal.console(soft_wrap=True)

    def say(line: str) -> None:
        console.print(line, markup=False)

    whose = f" of {visible(found.tenant, 60)}" if found.tenant else ""
    score = "none" if found.session_score is None else f"{found.session_score:.3f}"
    say(
        f"session {visible(found.session_id, 80)}{whose}: {counted(len(found.turns), 'turn')}, session score {score} "
        f"(p = 0.01 at {found.threshold:.3f}), session action {found.session_action}"
    )
    shown = found.turns[-_SHOWN:]
    first = len(found.turns) - len(shown)
    if first:
        say(f"the last {len(shown)} of {len(found.turns):,} turns{'' if found.whole else ' that are followed'}")
    table = Table(box=None, pad_edge=False)
    for name in ("turn", "channel", "score", "", "session", "action", "threat", " "):
        table.add_column(name, justify="right" if name in ("turn", "score", "session") else "left")
    for place, turn in enumerate(shown, first):
        bar = "" if turn.score is None else "█" * round(_BAR * turn.score)
        mark = "level rises" if place == found.change else ""
        cells = (
            str(place + 1 if turn.turn is None else turn.turn),
            turn.channel,
            "–" if turn.score is None else f"{turn.score:.3f}",
            bar,
            "–" if turn.session_score is None else f"{turn.session_score:.3f}",
            turn.action,
            "" if turn.threat_type == "none" else turn.threat_type,
            mark,
        )
        table.add_row(*(visible(cell, 60) for cell in cells))
    console.print(terminal.uncut(table), markup=False)
    for place, turn in enumerate(found.turns):
        for name in turn.violations:
            say(f"turn {place + 1 if turn.turn is None else turn.turn} violates {visible(name, 80)}")
    raised: dict[str, list[str]] = {}
    for place, turn in enumerate(found.turns):
        for one in turn.evidence:
            if one["detector"] == SESSIONS:
                said = told(one["pattern_id"]) or visible(one["pattern_id"], 60)
                raised.setdefault(said, []).append(str(place + 1 if turn.turn is None else turn.turn))
    for said, numbers in raised.items():
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        say(f"raised by the session up to there: {', '.join(numbers[:_SHOWN])}{more}: {said}")
    motion = found.motion
    if motion.kind == "insufficient_data":
        say("motion: too few judged inputs to tell")
    else:
        beats = "" if motion.beats is None else f", {'beats' if motion.beats else 'does not beat'} its surrogates"
        say(f"motion: {motion.kind.replace('_', ' ')}, say {100 * motion.share:.0f} % of the trees{beats}")
    telling = sorted(found.p_values.items(), key=lambda one: one[1])[:3]
    if any(turn.surprise is not None for turn in found.turns):
        shown_by = ", ".join(f"{name} {share(p)}" for name, p in telling)
        say(f"share of benign sessions that show as much: {shown_by}")
