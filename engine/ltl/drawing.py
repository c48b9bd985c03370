"""An automaton as SVG: states in columns by their distance from the start, one row each, conditions on the edges."""

from __future__ import annotations

from html import escape
from typing import Final

from aimds.ltl.automaton import VERDICTS, Automaton
from aimds.ltl.graph import FILL, Edge, edges

RADIUS: Final = 24
ROW: Final = 150
TOP: Final = 170
CHAR: Final = 6.6
LINE: Final = 15
MAX_LINES: Final = 5
SHARE: Final = (0.4096, 0.4608, 0.1296)
"""What the points of a curve count for at 0.36 of its way."""
WIDTH: Final = 34
"""Characters of a line of a condition."""
STYLE: Final = (
    "svg{--page:#fff;--ink:#1f2933;--line:#52606d;--rim:#323f4b}"
    "@media (prefers-color-scheme:dark){svg{--page:#191c20;--ink:#e7e9ec;--line:#99a1ac;--rim:#cbd2d9}}"
    "text{font:12px ui-monospace,monospace;fill:var(--ink)}.t{font:600 15px system-ui,sans-serif}"
    ".l{paint-order:stroke;stroke:var(--page);stroke-width:5px;stroke-linejoin:round}"
    ".e{fill:none;stroke:var(--line);stroke-width:1.4;marker-end:url(#a)}.s{stroke:var(--rim);stroke-width:1.6}"
    ".i{stroke:#323f4b;fill:none}.n{fill:#1f2933}.k{font:12px system-ui,sans-serif}"
    ".p{fill:var(--page)}#a path{fill:var(--line)}"
)
WORDS: Final = {
    "false": "broken for good",
    "presumably_false": "broken if the session ended here",
    "presumably_true": "kept if the session ended here",
    "true": "kept for good",
}


def svg(made: Automaton, title: str) -> str:
    """The drawing, with ``title`` above it and what the colours mean below."""
    found = edges(made)
    columns = _columns(made)
    longest = [0.0] * (max(columns) + 1)
    for edge in found:
        first = columns[edge.source]
        for k in range(first, max(columns[edge.target], first + 1)):
            longest[k] = max(longest[k], _width(edge))
    left = [110.0]
    for k in range(max(columns)):
        left.append(left[-1] + 2 * RADIUS + 70 + max(longest[k], 60))
    members: dict[int, list[int]] = {}
    for state, column in enumerate(columns):
        members.setdefault(column, []).append(state)
    rows = max(map(len, members.values()))
    places = {}
    for column, states in members.items():
        for n, state in enumerate(states):
            # A column of fewer states stands lower, and one column a little lower than the next, to keep edges apart.
            places[state] = left[column], TOP + n * ROW + (rows - len(states)) * ROW / 2 + (column % 2) * 26
    width = max(left[-1] + RADIUS + 60 + longest[max(columns)], 560, 40 + len(title) * 9)
    body = [f'<text class="t" x="24" y="34">{escape(title)}</text>']
    labels: list[str] = []
    lowest = TOP + (rows - 1) * ROW + 50.0
    body.append(f'<path class="e" d="M{left[0] - 62} {places[made.start][1]}h{62 - RADIUS - 4}"/>')
    for edge in found:
        path, at = _path(edge, places, columns)
        body.append(f'<path class="e" d="{path}"/>')
        labels += _label(edge, at)
        lowest = max(lowest, at[1] + len(_lines(edge)) * LINE)
    for state, (x, y) in places.items():
        name = VERDICTS[made.verdicts[state]]
        body.append(f'<circle class="s" cx="{x:.0f}" cy="{y:.0f}" r="{RADIUS}" fill="{FILL[name]}"/>')
        if name.endswith("true"):
            body.append(f'<circle class="s i" cx="{x:.0f}" cy="{y:.0f}" r="{RADIUS - 4}"/>')
        body.append(f'<text class="n" x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{state}</text>')
    body += labels
    x, legend = 24.0, lowest + 50
    for name in dict.fromkeys(VERDICTS[code] for code in made.verdicts.tolist()):
        body.append(f'<rect class="s" x="{x:.0f}" y="{legend - 11:.0f}" width="14" height="14" fill="{FILL[name]}"/>')
        body.append(f'<text class="k" x="{x + 20:.0f}" y="{legend:.0f}">{WORDS[name]}</text>')
        x += 48 + 6.4 * len(WORDS[name])
    width, height = max(width, x), legend + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
        f"<style>{STYLE}</style><defs>"
        '<marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L10 5L0 10z"/></marker></defs>'
        f'<rect class="p" width="{width:.0f}" height="{height:.0f}"/>'
    )
    return head + "\n".join(body) + "</svg>\n"


def _columns(made: Automaton) -> list[int]:
    # The longest way from the start, ways that lead back left out.
    after = [
        sorted({*made.table[state].tolist(), *made.lapses[state].tolist()} - {state})
        for state in range(len(made.table))
    ]
    order: list[int] = []
    back: set[tuple[int, int]] = set()
    entered, done = {made.start}, set()
    waiting = [(made.start, iter(after[made.start]))]
    while waiting:
        state, rest = waiting[-1]
        target = next(rest, None)
        if target is None:
            waiting.pop()
            done.add(state)
            order.append(state)
        elif target not in entered:
            entered.add(target)
            waiting.append((target, iter(after[target])))
        elif target not in done:
            back.add((state, target))
    column = dict.fromkeys(order, 0)
    for state in reversed(order):
        for target in after[state]:
            if (state, target) not in back:
                column[target] = max(column[target], column[state] + 1)
    return [column[state] for state in range(len(made.table))]


def _lines(edge: Edge) -> list[str]:
    lines: list[str] = []
    for n, condition in enumerate(edge.conditions):
        words = (("| " if n else "") + condition).split(" ")
        line = ""
        for word in words:
            if line and len(line) + 1 + len(word) > WIDTH:
                lines.append(line)
                line = "  " + word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], f"… {len(lines) - MAX_LINES + 1} more lines"]


def _width(edge: Edge) -> float:
    return max(map(len, _lines(edge))) * CHAR


def _path(
    edge: Edge, places: dict[int, tuple[float, float]], columns: list[int]
) -> tuple[str, tuple[float, float, str]]:
    (x0, y0), (x1, y1) = places[edge.source], places[edge.target]
    if edge.source == edge.target:
        top = y0 - 74
        path = (
            f"M{x0 - 12:.0f} {y0 - 22:.0f}C{x0 - 40:.0f} {top:.0f} {x0 + 40:.0f} {top:.0f} {x0 + 13:.0f} {y0 - 23:.0f}"
        )
        return path, (x0, y0 - 68, "middle")
    apart = columns[edge.target] - columns[edge.source]
    if apart == 0:
        sign = 1 if y1 > y0 else -1
        side = sign * (20 + abs(y1 - y0) / 6)
        start, end = (x0 + sign * 10, y0 + sign * 22), (x1 + sign * 10, y1 - sign * 23)
        bend = f"{x0 + side:.0f} {(y0 + y1) / 2:.0f}"
        anchor = "start" if side > 0 else "end"
        return f"M{start[0]:.0f} {start[1]:.0f}Q{bend} {end[0]:.0f} {end[1]:.0f}", (x0 + side, (y0 + y1) / 2, anchor)
    # Forward edges bend up, those back bend down, the more columns they pass the further.
    forward = apart > 0
    lift = (-14 if forward else 30) * (2 * abs(apart) - 1) - (40 if forward and abs(apart) > 1 else 0)
    sign = 1 if forward else -1
    start = x0 + sign * 22, y0 + (-9 if forward else 11)
    end = x1 - sign * 23, y1 + (-9 if forward else 11)
    middle = (x0 + x1) / 2, (y0 + y1) / 2 + 2 * lift
    path = f"M{start[0]:.0f} {start[1]:.0f}Q{middle[0]:.0f} {middle[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    # Not in the middle, where edges cross.
    x, y = (SHARE[0] * a + SHARE[1] * b + SHARE[2] * c for a, b, c in zip(start, middle, end, strict=True))
    half = _width(edge) / 2
    # A label as wide as its line is steep would be crossed by it.
    t = SHARE[2] ** 0.5
    dx, dy = ((1 - t) * (b - a) + t * (c - b) for a, b, c in zip(start, middle, end, strict=True))
    rise = min(2 * LINE, half * abs(dy / dx)) if dx else 0.0
    if forward:
        # Clear of the arrow of the loop at its state.
        x = max(x, min(x0 + 32 + half, x1 - 32 - half))
    return path, (x, y + (-6 - rise if forward else LINE + 2), "middle" if forward else "below")


def _label(edge: Edge, at: tuple[float, float, str]) -> list[str]:
    lines = _lines(edge)
    x, y, anchor = at
    # "below" hangs from its place, the others stand on it.
    first = y if anchor == "below" else y - (len(lines) - 1) * LINE / (2 if anchor in ("start", "end") else 1)
    anchor = "middle" if anchor == "below" else anchor
    return [
        f'<text class="l" x="{x:.0f}" y="{first + n * LINE:.0f}" text-anchor="{anchor}" xml:space="preserve">'
        f"{escape(line)}</text>"
        for n, line in enumerate(lines)
    ]
