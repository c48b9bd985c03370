"""The history of learning as tables on a terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from aimds.cli import terminal
from aimds.learn.rounds import OPENED, PROPOSED, State
from aimds.printable import visible

NOTE = 60


def print_rounds(found: State) -> None:
    """Every round: lessons, held-out attacks caught before and after, benign texts bothered anew, gate."""
    table = _table(
        "round", "time", "attacks", "new", "caught held out", "gain", "benign flagged anew", "blocked", "gate"
    )
    for one in found.rounds:
        held, benign, given = one.report["held_out"], one.report["canary"], one.report["lessons"]
        anew = [f"{benign[name]['added']:,} (≤ {benign[name]['added_bound']:.2%})" for name in ("flag", "block")]
        mark = " ← in force" if one.number == found.current else f" ← trial {found.share:.0%}"
        here = mark if one.number in (found.current, found.trial) else ""
        table.add_row(
            str(one.number),
            one.time,
            f"{given['attacks']:,}",
            f"{given['new']:,}",
            f"{held['before']:,} → {held['after']:,} of {held['attacks']:,}",
            f"{held['gain']:+.1%}",
            f"{anew[0]} of {benign['texts']:,}",
            anew[1],
            ("passed" if one.passed else "not passed") + here,
        )
    _console().print(table if found.rounds else "no round has been proposed yet")


def print_events(found: State) -> None:
    """Who put what in force, and when."""
    table = _table("time", "what", "round", "share", "by", "why")
    for event in found.events:
        if event.kind in (OPENED, PROPOSED):
            continue
        body = event.body
        share = f"{body['share']:.1%}" if "share" in body else ""
        texts = [visible(text, NOTE) for text in (event.by, event.note)]
        table.add_row(event.time, event.kind.replace("_", " "), str(body["round"]), share, *texts)
    if table.row_count:
        _console().print(table)


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=title != "why")
    return table


def _console() -> Console:
    return terminal.console(markup=False)
