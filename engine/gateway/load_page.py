"""What a load gave as a page of its own: a table, and latency against offered load as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from aimds.gateway.load import QUANTILES, Result

WIDTH, HEIGHT, LEFT, BOTTOM = 720, 360, 60, 40
COLOURS = ("#2b6cb0", "#2f855a", "#b7791f", "#c53030")
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a202c}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right}"
    "td,th{border-bottom:1px solid #ddd}.wide{overflow-x:auto}"
    "svg{width:100%;height:auto}text{font-size:12px;fill:#4a5568}"
)


def page(results: Sequence[Result], title: str) -> str:
    """A self-contained HTML page; ``title`` says what was measured."""
    meta = '<meta charset=utf-8><meta name=viewport content="width=device-width,initial-scale=1">'
    head = f"{meta}<title>{html.escape(title)}</title><style>{STYLE}</style>"
    body = f"<h1>{html.escape(title)}</h1>{_plot(results)}{_table(results)}"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>"


def _table(results: Sequence[Result]) -> str:
    names = list(results[0].document()) if results else []
    heads = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{'–' if value is None else value}</td>" for value in one.document().values()) + "</tr>"
        for one in results
    )
    return f"<div class=wide><table><tr>{heads}</tr>{rows}</table></div>"


def _plot(results: Sequence[Result]) -> str:
    points = [(one.rate, share, one.quantile(share) * 1e3) for one in results for share in QUANTILES if one.latencies]
    if not points:
        return "<p>No verdicts.</p>"
    most = max(rate for rate, _, _ in points) * 1.05
    low = math.floor(math.log10(max(min(value for _, _, value in points), 1e-3)))
    high = max(math.ceil(math.log10(max(value for _, _, value in points))), low + 1)

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - 20) * rate / most

    def y(value: float) -> float:
        return 10 + (HEIGHT - BOTTOM - 10) * (high - math.log10(max(value, 1e-3))) / (high - low)

    parts = []
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e2e8f0"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**power:g} ms</text>')
    rates = sorted({rate for rate, _, _ in points})
    parts += [f'<text x="{x(one):.1f}" y="{HEIGHT - 18}" text-anchor="middle">{one:g}</text>' for one in rates]
    for k, share in enumerate(QUANTILES):
        line = sorted((rate, value) for rate, one, value in points if one == share)
        path = " ".join(f"{x(rate):.1f},{y(value):.1f}" for rate, value in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[k]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(rate):.1f}" cy="{y(value):.1f}" r="3" fill="{COLOURS[k]}"/>' for rate, value in line]
        parts.append(f'<text x="{LEFT + 10 + 70 * k}" y="22" style="fill:{COLOURS[k]}">p{share * 100:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 2}" text-anchor="middle">offered requests a second</text>')
    label = "latency against offered load"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
