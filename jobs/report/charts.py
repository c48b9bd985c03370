"""Hand-written SVG charts. Shapes stretch with the page; words stay HTML beside them, so that they never stretch.

Every chart is a fixed-height box: an SVG of 1000 × 100 units without aspect ratio, labels placed by percentage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from aimds.jobs.report.markup import Html, h, join

_ACTION_CLASS = {"flag", "redact", "sandwich", "block", "escalate", "allow"}


class Series(NamedTuple):
    """One colour of a chart: ``css`` is the class that carries it."""

    name: str
    css: str
    values: Sequence[int]


def number(n: int) -> str:
    """1,234,567."""
    return f"{n:,}"


def short(n: float) -> str:
    """For axes: 950, 1.2k, 30k, 4M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= limit:
            return f"{n / limit:.1f}".rstrip("0").rstrip(".") + unit
    return f"{n:.0f}"


def percent(part: float, whole: float) -> str:
    """A share with two significant digits, never rounded to 0 % or 100 % when it is neither; a dash without a whole."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if not part or part == whole:
        return f"{share:.0f} %"
    if share < 0.01:
        return "< 0.01 %"
    if share > 99.9:
        return "> 99.9 %"
    return f"{share:.2f} %" if share < 1 else f"{share:.1f} %"


_CEILINGS = ((1, 4), (1.2, 4), (1.6, 4), (2, 4), (2.5, 5), (3, 3), (4, 4), (5, 5), (6, 3), (8, 4), (10, 4))


def nice_ceiling(value: float) -> tuple[int, int]:
    """The top of an axis for counts up to ``value`` and the number of equal steps below it, all at whole counts."""
    if value <= 4:
        return 4, 4
    if value <= 10:
        return (6, 3) if value <= 6 else (10, 5) if value > 8 else (8, 4)
    scale = 10 ** math.floor(math.log10(value))
    return next(
        (round(step * scale), parts)
        for step, parts in _CEILINGS
        if round(step * scale) >= value and not round(step * scale) % parts
    )


def action_css(action: str) -> str:
    """The class that colours ``action``; unknown ones look like escalate."""
    return f"a-{action}" if action in _ACTION_CLASS else "a-escalate"


def legend(series: Sequence[Series]) -> Html:
    """Colour, name and total of every series."""
    items = [
        h("li", h("i", class_=f"key {one.css}"), h("span", one.name), h("b", number(sum(one.values)))) for one in series
    ]
    return h("ul", *items, class_="legend")


def svg(*children: Html, css: str = "") -> Html:
    """A plot of 1000 × 100 units that stretches with its box."""
    view = {"viewBox": "0 0 1000 100", "preserveAspectRatio": "none", "aria_hidden": "true"}
    return h("svg", *children, class_=f"plot {css}".strip(), **view)


def rect(x: float, y: float, width: float, height: float, css: str) -> Html:
    """A bar, in units of the plot, coloured by the class ``css``."""
    return Html(f'<rect class="{css}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>')


def _grid(levels: Sequence[tuple[float, str]]) -> tuple[Html, Html]:
    """Lines and their labels; a level is (share of the height, text)."""
    lines = join(
        Html(f'<line class="grid" x1="0" x2="1000" y1="{100 - 100 * at:.2f}" y2="{100 - 100 * at:.2f}"/>')
        for at, _ in levels
    )
    words = join(h("span", word, style=f"bottom:{100 * at:.2f}%") for at, word in levels)
    return lines, h("div", words, class_="yaxis", aria_hidden="true")


def _xaxis(marks: Sequence[tuple[float, str, bool]]) -> Html:
    """Labels under a plot; a mark is (share of the width, text, shown on narrow screens too)."""
    words = [
        h("span", word, class_=None if major else "minor", style=f"left:{100 * at:.2f}%") for at, word, major in marks
    ]
    return h("div", *words, class_="xaxis", aria_hidden="true")


def columns(
    series: Sequence[Series], labels: Sequence[str], ticks: Sequence[tuple[int, str, bool]], *, alt: str, css: str = ""
) -> Html:
    """Stacked columns, the first series at the bottom; each column's counts appear on hover.

    ``labels`` name the columns, ``ticks`` (index, text, major) those labelled under the plot.
    """
    n = len(labels)
    totals = [sum(one.values[i] for one in series) for i in range(n)]
    top, steps = nice_ceiling(max(totals, default=0))
    slot = 1000 / max(1, n)
    width = slot * (0.82 if n > 40 else 0.72)
    bars, hovers = [], []
    for i in range(n):
        below = 0.0
        told = [f"{one.name} {number(one.values[i])}" for one in series if one.values[i]]
        for one in series:
            if one.values[i]:
                height = 100 * one.values[i] / top
                bars.append(rect(i * slot + (slot - width) / 2, 100 - below - height, width, height, one.css))
                below += height
        title = h("title", f"{labels[i]}: " + (", ".join(told) if told else "none"))
        hovers.append(
            Html(f'<rect class="hover" x="{i * slot:.2f}" y="0" width="{slot:.2f}" height="100">{title}</rect>')
        )
    shown = range(0, steps + 1, steps if css else 1)
    lines, words = _grid([(k / steps, short(top * k / steps)) for k in shown])
    axis = _xaxis([((i + 0.5) / n, word, major) for i, word, major in ticks])
    plot = h("div", words, svg(lines, join(bars), join(hovers), css="bars"), axis, class_=f"chart {css}".strip())
    return h("figure", plot, role="img", aria_label=alt)


def histogram(
    every: Sequence[int], caught: Sequence[int], markers: Sequence[tuple[float, str, str]], *, alt: str
) -> Html:
    """Counts of a score in [0, 1] on a log scale: all rows behind, caught rows in front, both from the base line.

    ``markers`` (score, text, class) are vertical lines with a label.
    """
    n, most = len(every), max(1, *every)
    floor = 0.35
    reach = math.log10(most) + floor
    slot = 1000 / n

    def height(count: int) -> float:
        return 100 * (math.log10(count) + floor) / reach if count else 0.0

    bars, hovers = [], []
    for i, (whole, part) in enumerate(zip(every, caught, strict=True)):
        for count, css in ((whole, "a-allow"), (part, "caught")):
            if count:
                bars.append(rect(i * slot + slot * 0.08, 100 - height(count), slot * 0.84, height(count), css))
        title = h("title", f"score {i / n:.2f}–{(i + 1) / n:.2f}: {number(whole)} rows, {number(part)} caught")
        hovers.append(
            Html(f'<rect class="hover" x="{i * slot:.2f}" y="0" width="{slot:.2f}" height="100">{title}</rect>')
        )
    exponents = range(math.floor(math.log10(most)) + 1)
    step = 2 if len(exponents) > 6 else 1
    lines, words = _grid([((e + floor) / reach, short(10.0**e)) for e in exponents[::step]])
    rules, notes = [], []
    for place, (score, word, css) in enumerate(markers):
        rules.append(
            Html(f'<line class="mark {css}" x1="{1000 * score:.2f}" x2="{1000 * score:.2f}" y1="0" y2="100"/>')
        )
        side = f"right:{100 - 100 * score:.2f}%" if score > 0.5 else f"left:{100 * score:.2f}%"
        notes.append(h("span", word, class_=f"note {css}", style=f"{side};top:{1.45 * place:.2f}em"))
    axis = _xaxis([(at / 5, f"{at / 5:.1f}", True) for at in range(6)])
    plot = svg(lines, join(bars), join(rules), join(hovers), css="bars")
    return h("figure", h("div", words, plot, axis, *notes, class_="chart histogram"), role="img", aria_label=alt)


def split_bar(parts: Sequence[tuple[str, str, int]], scale: int) -> Html:
    """A thin horizontal bar: (name, class, count) parts side by side, ``scale`` being the full width."""
    inside = [
        h("i", class_=css, style=f"width:{100 * n / max(1, scale):.3f}%", title=f"{name} {number(n)}")
        for name, css, n in parts
        if n
    ]
    return h("div", *inside, class_="split")


def sparkline(scores: Sequence[float | None], actions: Sequence[str], *, alt: str) -> Html:
    """Score per turn, 0 at the bottom and 1 at the top; turns that were not allowed carry a coloured dot."""
    width, height, pad = 260, 44, 6
    step = (width - 2 * pad) / max(1, len(scores) - 1)

    def place(i: int, score: float) -> tuple[float, float]:
        x = width / 2 if len(scores) == 1 else pad + i * step
        return x, height - pad - (height - 2 * pad) * min(1.0, max(0.0, score))

    runs: list[list[tuple[float, float]]] = [[]]
    dots = []
    for i, score in enumerate(scores):
        if score is None:
            runs.append([])
            continue
        x, y = place(i, score)
        runs[-1].append((x, y))
        if actions[i] != "allow":
            title = h("title", f"turn {i + 1}: {actions[i]}, score {score:.2f}")
            dots.append(
                Html(f'<circle class="{action_css(actions[i])}" cx="{x:.1f}" cy="{y:.1f}" r="3.4">{title}</circle>')
            )
    lines = [
        Html(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in run)}"/>') for run in runs if len(run) > 1
    ]
    frame = Html(
        f'<line class="grid" x1="0" x2="{width}" y1="{height - pad}" y2="{height - pad}"/>'
        f'<line class="grid" x1="0" x2="{width}" y1="{pad}" y2="{pad}"/>'
    )
    box = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria_label": alt}
    return h("svg", frame, *lines, *dots, class_="spark", **box)
