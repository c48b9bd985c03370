"""A chain of the memory graph as SVG: one line an attack, what was done, what came of it; variants hang below."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final

from aimds.printable import visible
from aimds.record.graph import ATTACK, RESPONSE, VARIED, Chain, Event

LINE: Final = 46
TOP: Final = 76
LEFT: Final = 162
STEP: Final = 26
DEEPEST: Final = 14
"""Generations that are indented; later ones stand below the last."""
BOX: Final = 26
CHAR: Final = 6.9
GAP: Final = 34
MOST: Final = 200
"""Attacks that are drawn."""
LABEL: Final = 24
LINE_LENGTH: Final = 400
"""Characters of a label, and of what is said about an event."""
STYLE: Final = (
    "svg{--page:#fff;--ink:#1f2933;--soft:#5c636e;--line:#9aa3ad;--attack:#c5362e;--block:#2f78c4;--flag:#b57f00;"
    "--allow:#6c757f;--good:#2c7a4b;--bad:#a92f7c;--open:#6c757f}"
    "@media (prefers-color-scheme:dark){svg{--page:#191c20;--ink:#e7e9ec;--soft:#99a1ac;--line:#6c757f;"
    "--attack:#ec6359;--block:#5a9fe6;--flag:#e6b03c;--allow:#8b95a1;--good:#68bd8d;--bad:#db6bb0;--open:#8b95a1}}"
    "text{font:12px system-ui,sans-serif;fill:var(--ink)}.h{font:600 15px system-ui,sans-serif}.s{fill:var(--soft)}"
    ".p{fill:var(--page)}rect.b{fill:var(--page);stroke:var(--c);stroke-width:1.6}.m text{font-weight:600}"
    "rect.a{stroke-width:3.2}path{fill:none;stroke:var(--line);stroke-width:1.5}path.r{marker-end:url(#g)}"
    "#g path{fill:var(--line)}"
)
_COLOURS: Final = {
    "block": "block",
    "escalate": "block",
    "flag": "flag",
    "sandwich": "flag",
    "redact": "flag",
    "allow": "allow",
    "came back": "bad",
    "confirmed": "attack",
    "refuted": "good",
    "open": "open",
}


def svg(drawn: Chain, asked: str) -> str:
    """The drawing of ``drawn``; the line of the event ``asked`` for is set off. It follows light and dark."""
    events = {event.name: event for event in drawn.events}
    follows = {link.source: link.target for link in drawn.links if link.kind != VARIED}
    parent = {link.target: link.source for link in drawn.links if link.kind == VARIED}
    owner: dict[str, str] = {}
    for event in drawn.events:
        if event.kind == ATTACK:
            for name in _trio(event.name, follows):
                owner[name] = event.name
    lines = _lines(drawn, parent, owner)
    shown = lines[:MOST]
    body: list[str] = []
    widest = 560.0
    places: dict[str, tuple[float, float]] = {}
    for number, (name, depth) in enumerate(shown):
        x, y = float(LEFT + STEP * min(depth, DEEPEST)), float(TOP + LINE * number)
        places[name] = x, y
        body.append(f'<text class="s" x="16" y="{y + 17}">{_time(events[name].ts)}</text>')
        above = owner.get(parent.get(name, ""), "")
        if above in places:
            from_x, from_y = places[above]
            body.append(f'<path class="r" d="M{from_x + 12} {from_y + BOX}V{y + BOX / 2:.0f}H{x - 2}"/>')
        trio = [events[one] for one in _trio(name, follows) if one in events]
        part, x = _row(trio, x, y, asked in [event.name for event in trio])
        body.append(part)
        widest = max(widest, x + 16)
    height = TOP + LINE * len(shown) + 16
    rest = len(lines) - len(shown)
    title = f"{len(lines):,} attacks, from {_time(events[lines[0][0]].ts)} UTC" if lines else "no attack"
    more = f"; {rest:,} more are not drawn" if rest else ""
    more += "; the chain goes on beyond what was asked for" if drawn.cut else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {widest:.0f} {height}" width="{widest:.0f}" '
        f'height="{height}" role="img" aria-label="{escape(title, quote=True)}"><style>{STYLE}</style>'
        '<defs><marker id="g" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L10 5L0 10z"/></marker></defs>'
        f'<rect class="p" width="{widest:.0f}" height="{height}"/>'
        f'<text class="h" x="16" y="30">{escape(title + more)}</text>'
        '<text class="s" x="16" y="52">attack → what was done → what came of it; a variant hangs below the one it '
        "followed</text>"
    )
    return head + "\n".join(body) + "</svg>\n"


def _trio(name: str, follows: dict[str, str]) -> list[str]:
    """The attack ``name``, its response and its outcome, as far as they are there."""
    out = [name]
    while out[-1] in follows and len(out) < 3:
        out.append(follows[out[-1]])
    return out


def _lines(drawn: Chain, parent: dict[str, str], owner: dict[str, str]) -> list[tuple[str, int]]:
    """The attacks with their depth, each followed by its variants, the earlier first."""
    attacks = [event.name for event in drawn.events if event.kind == ATTACK]
    below: dict[str, list[str]] = {}
    roots = []
    for name in attacks:
        above = owner.get(parent.get(name, ""))
        if above is None or above == name:
            roots.append(name)
        else:
            below.setdefault(above, []).append(name)
    out: list[tuple[str, int]] = []
    waiting = [(name, 0) for name in reversed(roots)]
    while waiting:
        name, depth = waiting.pop()
        out.append((name, depth))
        waiting += [(one, depth + 1) for one in reversed(below.get(name, ()))]
    return out


def _row(trio: list[Event], x: float, y: float, asked: bool) -> tuple[str, float]:
    parts = []
    for place, event in enumerate(trio):
        words = visible(event.label, LABEL).replace("_", " ")
        width = 20 + CHAR * len(words)
        colour = "attack" if event.kind == ATTACK else _COLOURS.get(event.label, "open")
        if place:
            parts.append(f'<path class="r" d="M{x} {y + BOX / 2:.0f}h{GAP - 2}"/>')
            x += GAP
        marked = " a" if asked and event.kind == ATTACK else ""
        radius = 4 if event.kind == ATTACK else BOX // 2
        parts.append(
            f'<g style="--c:var(--{colour})"><title>{escape(_says(event))}</title>'
            f'<rect class="b{marked}" x="{x:.0f}" y="{y}" width="{width:.0f}" height="{BOX}" rx="{radius}"/>'
            f'<text x="{x + width / 2:.0f}" y="{y + 17}" text-anchor="middle">{escape(words)}</text></g>'
        )
        x = round(x + width)
    if trio and trio[0].session is not None:
        session = visible(trio[0].session, LABEL)
        parts.append(f'<text class="s" x="{x + 12:.0f}" y="{y + 17}">{escape(session)}</text>')
        x += 12 + CHAR * len(session)
    mark = ' class="m"' if asked else ""
    return f"<g{mark}>{''.join(parts)}</g>", x


def _says(event: Event) -> str:
    score = "" if event.score is None or event.kind == RESPONSE else f", score {event.score:.3f}"
    session = "" if event.session is None else f", session {event.session}"
    tenant = "" if event.tenant is None else f", tenant {event.tenant}"
    return visible(f"{event.kind} {event.name}: {event.label}{score}{session}{tenant}", LINE_LENGTH)


def _time(ts: int) -> str:
    try:
        return datetime.fromtimestamp(ts // 10**6, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(ts)
