"""Items of the review queue in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aimds.cli.rendering import render_verdict
from aimds.detect.meanings import meanings_as_shipped
from aimds.detect.readings import readings
from aimds.printable import LINE, visible
from aimds.respond.review import Event, Item, Turn, document
from aimds.respond.review.allow import Proposal
from aimds.respond.review.items import moment_of
from aimds.verdicts import Verdict

_BAND_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "dim"}
_COLUMNS = ("item", "severity", "due", "state", "threat", "score", "tenant", "text")
_FIRST_LEFT_OUT = ("tenant", "score", "state")
_LEAST_WORDS = 20
_LABEL_STYLES = {"attack": "bold red", "benign": "bold green"}


def _cell(content: str | None, limit: int = 40, style: str = "") -> Text:
    return Text(visible(content or "", limit), style=style)


def _beginning(raw: bytes | None) -> str | None:
    return document.words(raw if raw is None else raw[:800])


def table(items: Sequence[Item], total: int, now: datetime) -> None:
    """Print ``items``, one a line."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not items:
        console.print("nothing fits")
        return
    lines = [[Text(name, style="bold") for name in _COLUMNS]]
    for item in items:
        due = "" if item.state != "open" else span(item.due_at - now)
        missing = "(removed)" if item.text_removed else "(no text)"
        cells = (
            Text(str(item.id)),
            Text(item.band, style=_BAND_STYLES[item.band]),
            Text(due, style="bold red" if item.is_overdue(now) else ""),
            _state(item, now),
            _cell(item.case.threat_type, 18),
            Text("" if item.case.score is None else f"{item.case.score:.2f}"),
            _cell(item.case.tenant, 16),
            _cell(_beginning(item.case.text) or missing, 200),
        )
        lines.append(list(cells))
    widths = [max(line[k].cell_len for line in lines) for k in range(len(_COLUMNS))]
    kept = list(range(len(_COLUMNS) - 1))
    for column in _FIRST_LEFT_OUT:
        # Nothing is cut where something less needed can be left out.
        if sum(widths[k] + 2 for k in kept) + _LEAST_WORDS > console.width:
            kept.remove(_COLUMNS.index(column))
    room = max(_LEAST_WORDS, console.width - sum(widths[k] + 2 for k in kept))
    for line in lines:
        out = Text()
        for k in kept:
            out.append_text(line[k]).append(" " * (widths[k] + 2 - line[k].cell_len))
        text = line[-1]
        text.truncate(room, overflow="ellipsis")
        console.print(out.append_text(text), no_wrap=True, overflow="ignore", crop=False)
    if total > len(items):
        console.print(f"{len(items):,} of {total:,}; --limit shows more")


def _state(item: Item, now: datetime) -> Text:
    if item.label is not None:
        return Text(item.label, style=_LABEL_STYLES[item.label])
    holder = item.holder(now)
    return Text("free", style="dim") if holder is None else _cell(f"held by {holder}", 16)


def span(left: timedelta) -> str:
    """A time to go, or past, in words."""
    minutes = int(abs(left).total_seconds() // 60)
    size = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
    return f"in {size}" if left > timedelta() else f"{size} late"


def whole(item: Item, history: Sequence[Event], turns: Sequence[Turn], now: datetime) -> None:
    """Print ``item`` with everything around it."""
    console = Console(highlight=False, markup=False, emoji=False)
    head = Text(f"item {item.id}", style="bold")
    head.append(f"  {item.band}", style=_BAND_STYLES[item.band])
    if item.state == "open":
        head.append(f"  due {span(item.due_at - now)}", style="bold red" if item.is_overdue(now) else "")
    head.append("  ").append_text(_state(item, now))
    ids = (("request", item.case.request_id), ("session", item.case.session_id), ("tenant", item.case.tenant))
    console.print(head, _cell(" · ".join(f"{name} {value}" for name, value in ids if value is not None), LINE))
    console.print()
    raw = item.case.text
    if raw is None:
        console.print(Text("The text was removed." if item.text_removed else "There is no text.", style="bold"))
    verdict = _verdict(item)
    ways = readings(raw) if raw and verdict.evidence else ()
    render_verdict(verdict, raw or b"", console, ways, meanings_as_shipped(verdict.evidence, raw or b"", ways))
    if len(turns) > 1:
        console.print()
        console.print(Text("Session", style="bold"))
        grid = Table.grid(padding=(0, 2))
        for one in turns:
            here = one.request_id == item.case.request_id and one.turn == item.case.turn
            grid.add_row(
                Text("→" if here else " "),
                "" if one.turn is None else str(one.turn),
                "" if one.score is None else f"{one.score:.2f}",
                _bar(one.score),
                _cell(one.action, 12),
                _cell(_beginning(one.text), 60, "" if here else "dim"),
            )
        console.print(grid)
    console.print()
    console.print(Text("History", style="bold"))
    for event in history:
        what = event.what + (f" {event.label}" if event.label else "")
        told = f": {event.reason}" if event.reason else ""
        console.print(_cell(f"  {event.at:%Y-%m-%d %H:%M} UTC  {event.who} {what}{told}", LINE))


def _bar(score: float | None) -> Text:
    full = 0 if score is None else round(min(max(score, 0.0), 1.0) * 10)
    return Text("█" * full + "·" * (10 - full), style="red" if full >= 7 else "yellow" if full >= 4 else "dim")


def _verdict(item: Item) -> Verdict:
    case, detail = item.case, item.case.detail
    shown = document.ts(case.ts)
    return Verdict(
        request_id=case.request_id,
        session_id=case.session_id,
        turn=case.turn,
        tenant=case.tenant,
        ts=None if shown is None or case.ts is None else moment_of(case.ts),
        channel=case.channel,
        action=case.action,
        session_action=detail.get("session_action") or "none",
        threat_type=case.threat_type,
        scores={},
        score=case.score,
        p_value=case.p_value,
        harmful_score=None,
        severity=case.severity,
        evidence=detail.get("evidence") or [],
        spans=detail.get("spans") or [],
        mitigated_text=None,
        session_score=detail.get("session_score"),
        attractor=detail.get("attractor"),
        violations=detail.get("violations") or [],
        status=detail.get("status") or "ok",
        error=detail.get("error"),
        **{
            name: str(detail.get(name) or "?")
            for name in ("profile", "backend", "engine_version", "model_version", "signature_version", "policy_version")
        },
    )


def proposals(found: Sequence[Proposal]) -> None:
    """Print proposals, one a line."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not found:
        console.print("no proposals")
        return
    grid = Table(
        "proposal", "item", "state", "passes", "until", "proposed by", "answered by", "reason", box=None, pad_edge=False
    )
    for one in found:
        scope = one.pattern_id or one.threat or f"text {(one.sha256 or '')[:12]}"
        tenant = f" of {one.tenant}" if one.tenant else ""
        cells = (scope + tenant, one.expires.isoformat(), one.proposed_by, one.answered_by, one.reason)
        grid.add_row(str(one.id), str(one.item), one.state, *(_cell(cell, 60) for cell in cells))
    console.print(grid)
