"""Shares with their intervals as drawings: dots with whiskers, bars, curves; words stay HTML beside them.

A plot is `aimds.jobs.report.charts.svg`: 1000 × 100 units that stretch, so a dot is a stroke that does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aimds.jobs.report.charts import percent, svg
from aimds.jobs.report.markup import Child, Html, h, join

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0)


class Share(NamedTuple):
    """A rate in [0, 1] with its interval; ``css`` colours it, ``name`` says what it is a rate of.

    A mean of rates has no interval of its own: ``n`` is 0 and both ends are the rate.
    """

    name: str
    css: str
    rate: float
    low: float
    high: float
    n: int

    @property
    def said(self) -> str:
        """The rate in words; a dash where nothing was counted."""
        return percent(self.rate, 1.0) if self.known else "–"

    @property
    def within(self) -> str:
        """The interval in words, in percent."""
        return interval(self.low, self.high) if self.n else ""

    @property
    def told(self) -> str:
        """All of it on one line."""
        return f"{self.name}: {self.said}" + (f" of {self.n:,}, 95% interval {self.within}" if self.n else "")

    @property
    def known(self) -> bool:
        """Whether there was anything to count."""
        return math.isfinite(self.rate)


def share(name: str, css: str, rate: Mapping[str, Any] | None) -> Share:
    """A rate of the evaluation (hits, n, rate, low, high) as a `Share`; None, or a rate of nothing, is not known."""
    if not rate or not rate.get("n") or rate["rate"] is None:
        return Share(name, css, math.nan, 0.0, 1.0, 0)
    return Share(name, css, float(rate["rate"]), float(rate["low"]), float(rate["high"]), int(rate["n"]))


def mean(name: str, css: str, rate: float) -> Share:
    """A rate without an interval."""
    return Share(name, css, rate, rate, rate, 0)


def rounded(rate: float) -> str:
    """A round rate, a threshold or a goal, without needless digits: 0.1 %."""
    return f"{100 * rate:g} %"


def interval(low: float, high: float) -> str:
    """An interval in percent, 78.0–85.8, with more digits where it is narrow and low."""
    digits = 1 if high >= 0.02 else 2
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f}"


def ceiling(shares: Sequence[Share]) -> float:
    """The top of an axis on which the rates of ``shares`` have room."""
    most = max((one.rate for one in shares if one.known), default=0.0)
    return next((top for top in _TOPS if top >= 1.15 * most), 1.0)


def _scale(top: float) -> list[tuple[float, str]]:
    parts = 4 if top in (1.0, 0.2, 0.4, 0.02) else 5 if top in (0.05, 0.1, 0.01) else 3
    return [(k / parts, f"{100 * top * k / parts:.3g}") for k in range(parts + 1)]


def axis(top: float = 1.0) -> Html:
    """The numbers over a column of plots, in percent."""
    steps = _scale(top)
    words = [
        h("span", f"{word} %" if k == len(steps) - 1 else word, style=f"left:{100 * at:.2f}%")
        for k, (at, word) in enumerate(steps)
    ]
    return h("div", *words, class_="scale", aria_hidden="true")


def whiskers(shares: Sequence[Share], top: float = 1.0, marks: Sequence[float] = ()) -> Html:
    """A dot with its interval for each share, one under the other; ``marks`` are rates to compare with.

    What lies beyond ``top`` is cut off at the edge.
    """
    drawn = [_line("grid", at) for at, _ in _scale(top)]
    drawn += [_line("goal", mark / top) for mark in marks if mark <= top]
    lane = 100 / max(1, len(shares))
    for k, one in enumerate(shares):
        if not one.known:
            continue
        y = lane * (k + 0.5)
        low, high, at = (min(1000.0, 1000 * value / top) for value in (one.low, one.high, one.rate))
        reach = Html(f'<path class="reach" d="M{low:.2f} {y:.2f}H{high:.2f}"/>') if one.n else None
        dot = Html(f'<path class="dot" d="M{at:.2f} {y:.2f}h.01"/>')
        area = f'x="0" y="{lane * k:.2f}" width="1000" height="{lane:.2f}"'
        hover = Html(f'<rect class="hover" {area}>{h("title", one.told)}</rect>')
        drawn.append(h("g", reach, dot, hover, class_=one.css))
    return h("div", svg(*drawn), class_="whiskers", style=f"height:{10 + 11 * len(shares)}px")


def bar(one: Share, top: float = 1.0, marks: Sequence[float] = ()) -> Html:
    """A bar from zero with its interval over it."""
    drawn = [_line("grid", at) for at, _ in _scale(top)]
    if one.known:
        low, high, at = (min(1000.0, 1000 * value / top) for value in (one.low, one.high, one.rate))
        reach = Html(f'<path class="reach over" d="M{low:.2f} 50H{high:.2f}"/>') if one.n else None
        fill = Html(f'<rect class="fill" x="0" y="22" width="{at:.2f}" height="56"/>')
        hover = Html(f'<rect class="hover" x="0" y="0" width="1000" height="100">{h("title", one.told)}</rect>')
        drawn.append(h("g", fill, reach, hover, class_=one.css))
    drawn += [_line("goal", mark / top) for mark in marks if mark <= top]
    return h("div", svg(*drawn), class_="whiskers", style="height:24px")


def curve(lines: Sequence[Sequence[Share]], labels: Sequence[str], *, alt: str) -> Html:
    """Shares over few steps, one curve each; ``labels`` name the steps, equally spaced. From 0 to 100%."""
    drawn = [
        Html(f'<line class="grid" x1="0" x2="1000" y1="{100 - 100 * at:.0f}" y2="{100 - 100 * at:.0f}"/>')
        for at in QUARTERS
    ]
    step = 1000 / max(1, len(labels))
    for line in lines:
        places = [(step * (k + 0.5), one) for k, one in enumerate(line) if one.known]
        path = " ".join(f"{x:.1f},{100 - 100 * one.rate:.2f}" for x, one in places)
        css = line[0].css if line else ""
        parts: list[Child] = [Html(f'<polyline class="line" points="{path}"/>')]
        for x, one in places:
            y, low, high = (100 - 100 * value for value in (one.rate, one.low, one.high))
            title = h("title", one.told)
            parts.append(
                Html(
                    f'<path class="reach" d="M{x:.1f} {low:.2f}V{high:.2f}"/>'
                    f'<path class="dot" d="M{x:.1f} {y:.2f}h.01">{title}</path>'
                )
            )
        drawn.append(h("g", *parts, class_=css))
    levels = [h("span", f"{100 * at:.0f}", style=f"bottom:{100 * at:.0f}%") for at in QUARTERS]
    steps = [h("span", word, style=f"left:{(k + 0.5) * step / 10:.2f}%") for k, word in enumerate(labels)]
    plot = h(
        "div",
        h("div", *levels, class_="yaxis", aria_hidden="true"),
        svg(*drawn, css="curves"),
        h("div", *steps, class_="xaxis", aria_hidden="true"),
        class_="chart curve",
    )
    return h("figure", plot, role="img", aria_label=alt)


def keys(names: Sequence[tuple[str, str]]) -> Html:
    """What the colours mean: (name, class)."""
    return h("ul", *(h("li", h("i", class_=f"key {css}"), h("span", name)) for name, css in names), class_="legend")


def rows(
    names: Sequence[tuple[str, str]], lines: Sequence[tuple[str, str, Html, Sequence[Share]]], scale: Html
) -> Html:
    """A table whose rows are plots.

    Args:
        names: title and class of the columns of figures.
        lines: title, remark, plot and figures of each row, one for each column.
        scale: the axis over the plots.
    """
    titles = [h("div", h("i", class_=f"key {css}"), h("span", name)) for name, css in names]
    top = h("li", h("div", class_="name"), scale, h("div", *titles, class_="rates titles"), class_="top-row")
    out = [top]
    for title, remark, plot, figures in lines:
        cells = [
            h("div", h("dt", h("i", class_=f"key {css}"), name), h("dd", one.said), h("small", one.within))
            for (name, css), one in zip(names, figures, strict=True)
        ]
        name = h("div", h("b", title), h("small", remark) if remark else None, class_="name")
        out.append(h("li", name, plot, h("dl", *cells, class_="rates")))
    return h("ol", join(out), class_="judged", style=f"--columns:{len(names)}")


def _line(css: str, at: float) -> Html:
    return Html(f'<line class="{css}" x1="{1000 * at:.2f}" x2="{1000 * at:.2f}" y1="0" y2="100"/>')
