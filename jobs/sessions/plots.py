"""Drawings of one session: scores by turn, the way its surprise went, and which turns recur."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from aimds.jobs.report.charts import action_css, rect
from aimds.jobs.report.elements import card
from aimds.jobs.report.markup import Child, Html, h, join
from aimds.jobs.sessions.trace import Trace

NEAR: Final = 0.5
"""Surprises that differ by less recur: half a decade of p-value."""
CELLS: Final = 120
"""Turns on a side of the recurrence plot, the last ones."""


def numbered(trace: Trace, place: int) -> str:
    """The turn at ``place``, as its log numbers it; where it does not, from 1 on."""
    number = trace.turns[place].turn
    return str(place + 1 if number is None else number)


def scores(trace: Trace) -> Html:
    """Scores of turns as bars, that of the session as a line."""
    n = len(trace.turns)

    def at(place: int) -> float:
        return 1000 * (place + 0.5) / n

    bars, hovers = [], []
    for place, turn in enumerate(trace.turns):
        width = 1000 / n
        told = f"turn {numbered(trace, place)}, {turn.channel}: {turn.action}"
        if turn.score is not None:
            height = 100 * min(1.0, max(0.0, turn.score))
            css = "plain-bar a-allow" if turn.action == "allow" else action_css(turn.action)
            bars.append(rect(at(place) - 0.36 * width, 100 - height, 0.72 * width, max(height, 0.6), css))
            told += f", score {turn.score:.3f}"
        if turn.session_score is not None:
            told += f", session score {turn.session_score:.3f}"
        hovers.append(
            Html(
                f'<rect class="hover" x="{at(place) - width / 2:.2f}" y="0" width="{width:.2f}" height="100">'
                f"{h('title', told)}</rect>"
            )
        )
    points = [
        (at(k), 100 - 100 * turn.session_score) for k, turn in enumerate(trace.turns) if turn.session_score is not None
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = "fill:none;stroke:var(--ink);stroke-width:1.8;vector-effect:non-scaling-stroke"
    drawn = [Html(f'<polyline style="{style}" points="{line}"/>')] if len(points) > 1 else []
    notes: list[Child] = []
    if trace.change is not None:
        x = at(trace.change) - 500 / n
        drawn.append(Html(f'<line class="mark a-block" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="100"/>'))
        side = f"right:{100 - x / 10:.2f}%" if x > 500 else f"left:{x / 10:.2f}%"
        notes.append(h("span", "level rises", class_="note a-block", style=f"{side};top:0"))
    grid = join(
        Html(f'<line class="grid" x1="0" x2="1000" y1="{100 - level}" y2="{100 - level}"/>')
        for level in (0, 25, 50, 75, 100)
    )
    axis = h(
        "div",
        *(h("span", f"{level / 100:g}", style=f"bottom:{level}%") for level in (0, 50, 100)),
        class_="yaxis",
        aria_hidden="true",
    )
    ticks = range(0, n, max(1, math.ceil(n / 8)))
    below = h(
        "div",
        *(
            h("span", numbered(trace, k), class_=None if place % 2 == 0 else "minor", style=f"left:{at(k) / 10:.2f}%")
            for place, k in enumerate(ticks)
        ),
        class_="xaxis",
        aria_hidden="true",
    )
    plot = _svg(grid, join(bars), *drawn, join(hovers))
    box = h("div", axis, plot, below, *notes, class_="chart")
    note = "Bars: score of each turn, coloured by its action. Line: score of the session as it stood"
    return card("Score by turn", h("figure", box, role="img", aria_label="score of each turn"), note=note)


def _svg(*children: Child) -> Html:
    view = {"viewBox": "0 0 1000 100", "preserveAspectRatio": "none", "aria_hidden": "true"}
    return h("svg", *children, class_="plot bars", **view)


def _square(*children: Child, alt: str) -> Html:
    style = "width:100%;max-width:340px;aspect-ratio:1;display:block;margin:0 auto;overflow:visible"
    return h("svg", *children, viewBox="-4 -4 108 108", style=style, role="img", aria_label=alt)


def phase(values: Sequence[float]) -> Html:
    """Surprise over the surprise before it; ``values``: of the judged inputs, in order."""
    name, note = "Phase portrait", "Surprise of a turn over that of the turn before; the line is the way it went"
    if len(values) < 3:
        return card(name, h("p", "Fewer than three judged inputs.", class_="empty"), note=note)
    top = max(4.0, *values)
    spots = [(100 * a / top, 100 - 100 * b / top) for a, b in itertools.pairwise(values)]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    frame_ = Html(
        '<rect x="0" y="0" width="100" height="100" style="fill:none;stroke:var(--line)"/>'
        '<line x1="0" y1="100" x2="100" y2="0" style="stroke:var(--line);stroke-dasharray:2 2"/>'
    )
    path = Html(f'<polyline points="{way}" style="fill:none;stroke:var(--plain);stroke-width:.7;opacity:.7"/>')
    dots = join(
        Html(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.7" '
            f'style="fill:var(--block);opacity:{0.35 + 0.65 * k / len(spots):.2f}">'
            f"{h('title', f'{values[k]:.2f} then {values[k + 1]:.2f}')}</circle>"
        )
        for k, (x, y) in enumerate(spots)
    )
    legend = h("p", f"Both axes from 0 to {top:.1f}; later turns stand out more.", class_="empty")
    return card(name, _square(frame_, path, dots, alt="surprise over the surprise before"), legend, note=note)


def recurrence(values: Sequence[float]) -> Html:
    """Which of ``values``, the surprises of judged inputs in order, are near each other."""
    name, note = "Recurrence plot", "A cell is filled where two turns are about as unusual as each other"
    kept = values[-CELLS:]
    n = len(kept)
    if n < 3:
        return card(name, h("p", "Fewer than three judged inputs.", class_="empty"), note=note)
    side = 100 / n
    cells = []
    for i in range(n):
        start = None
        for j in range(n + 1):
            near = j < n and abs(kept[i] - kept[j]) < NEAR
            if near and start is None:
                start = j
            elif not near and start is not None:
                wide, y = side * (j - start), 100 - side * (i + 1)
                cells.append(f"M{side * start:.2f} {y:.2f}h{wide:.2f}v{side:.2f}h{-wide:.2f}z")
                start = None
    path = Html(f'<path d="{"".join(cells)}" style="fill:var(--plain)"/>')
    border = Html('<rect x="0" y="0" width="100" height="100" style="fill:none;stroke:var(--line)"/>')
    legend = h("p", f"Turns from left to right and from below; near means within {NEAR:g} of surprise.", class_="empty")
    return card(name, _square(path, border, alt="which turns recur"), legend, note=note)
