"""What a load gave as a page of its own: a table, and latency against offered load as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from aimds.gateway.load import QUANTILES, Result

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 380, 84, 44, 56
LINES = (2.2, 2.2, 4.5, 1.8)
"""Widths of the lines: the last lies on the one before it where both are the same, and leaves it to be seen."""
APART = 44
"""Least distance of two labels under the plot."""
STYLE = (
    ":root{color-scheme:light dark;--page:#fff;--ink:#1b1d21;--soft:#5c636e;--line:#e3e3dd;"
    "--k0:#2b6cb0;--k1:#2f855a;--k2:#dd9f0b;--k3:#c53030}"
    "@media (prefers-color-scheme:dark){:root{--page:#111316;--ink:#e7e9ec;--soft:#99a1ac;--line:#2b3036;"
    "--k0:#6a9ee6;--k1:#68bd8d;--k2:#e6b03c;--k3:#ec6359}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;background:var(--page);"
    "color:var(--ink);font-variant-numeric:tabular-nums}"
    "h1{font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}p{color:var(--soft)}"
    "table{border-collapse:collapse;margin:1rem 0;font-size:14px}td,th{padding:.25rem .7rem;text-align:right}"
    "th{font-weight:500;color:var(--soft);vertical-align:bottom}td{white-space:nowrap}"
    "td,th{border-bottom:1px solid var(--line)}td:first-child,th:first-child{padding-left:0}.wide{overflow-x:auto}"
    "svg{width:100%;height:auto;display:block}text{font-size:13px;fill:var(--soft)}.g{stroke:var(--line)}"
    "@media (max-width:600px){text{font-size:22px}}"
)
COLUMNS = (
    ("rate", "offered a second", "g"),
    ("seconds", "for s", "g"),
    ("sent", "sent", ",d"),
    ("verdicts", "verdicts", ",d"),
    ("refused", "refused", ",d"),
    ("failed", "failed", ",d"),
    ("unjudged", "not judged", ",d"),
    ("verdicts_per_s", "verdicts a second", ",.1f"),
    ("p50_ms", "p50, ms", ",.1f"),
    ("p90_ms", "p90, ms", ",.1f"),
    ("p99_ms", "p99, ms", ",.1f"),
    ("p99_9_ms", "p99.9, ms", ",.1f"),
    ("max_ms", "most, ms", ",.1f"),
)


def page(results: Sequence[Result], title: str) -> str:
    """A self-contained HTML page; ``title`` says what was measured."""
    meta = '<meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
    head = f"{meta}<title>{html.escape(title)}</title><style>{STYLE}</style>"
    note = "<p>Latency of a verdict from when its request was due, by offered load; both as measured by the sender.</p>"
    body = f"<h1>{html.escape(title)}</h1>{note}{_plot(results)}{_table(results)}"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>"


def _table(results: Sequence[Result]) -> str:
    heads = "".join(f"<th>{name}</th>" for _, name, _ in COLUMNS)
    rows = []
    for one in results:
        found = one.document()
        cells = ("–" if found[key] is None else format(found[key], how) for key, _, how in COLUMNS)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        f"<div class=wide tabindex=0 role=group aria-label=figures><table><tr>{heads}</tr>{''.join(rows)}</table></div>"
    )


def _plot(results: Sequence[Result]) -> str:
    points = [(one.rate, share, one.quantile(share) * 1e3) for one in results for share in QUANTILES if one.latencies]
    if not points:
        return "<p>No verdicts.</p>"
    most = max(rate for rate, _, _ in points) * 1.05
    low = math.floor(math.log10(max(min(value for _, _, value in points), 1e-3)))
    high = max(math.ceil(math.log10(max(value for _, _, value in points))), low + 1)
    floor = HEIGHT - BOTTOM

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * rate / most

    def y(value: float) -> float:
        return TOP + (floor - TOP) * (high - math.log10(max(value, 1e-3))) / (high - low)

    parts = []
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<line class=g x1="{LEFT}" x2="{WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 5:.1f}" text-anchor="end">{_time(power)}</text>')
    taken = -math.inf
    for rate in sorted({rate for rate, _, _ in points}):
        if x(rate) - taken >= APART:
            taken = x(rate)
            parts.append(f'<text x="{taken:.1f}" y="{floor + 20}" text-anchor="middle">{rate:,g}</text>')
    for k, share in enumerate(QUANTILES):
        line = sorted((rate, value) for rate, one, value in points if one == share)
        path = " ".join(f"{x(rate):.1f},{y(value):.1f}" for rate, value in line)
        colour = f"var(--k{k})"
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{LINES[k]}"/>')
        parts += [
            f'<circle cx="{x(rate):.1f}" cy="{y(value):.1f}" r="{1.5 + LINES[k] / 2}" fill="{colour}">'
            f"<title>p{share * 100:g} at {rate:,g} a second: {value:,.1f} ms</title></circle>"
            for rate, value in line
        ]
        at = LEFT + 130 * k
        parts.append(f'<rect x="{at}" y="12" width="14" height="14" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{at + 20}" y="25">p{share * 100:g}</text>')
    middle = (LEFT + WIDTH - 20) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">offered requests a second</text>')
    label = "latency against offered load"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _time(power: int) -> str:
    """10 to the ``power`` ms: 0.1 ms, 100 ms, 10 s."""
    return f"{10.0**power:g} ms" if power < 3 else f"{10.0 ** (power - 3):,g} s"
