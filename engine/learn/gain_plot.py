"""Held-out gain by round as SVG, alone or on a page: caught before and after, with intervals, and what is in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from aimds.learn import bounds
from aimds.learn.rounds import State

WIDTH: Final = 860
HEIGHT: Final = 380
LEFT: Final = 58
RIGHT: Final = 24
TOP: Final = 64
BOTTOM: Final = 92
MOST: Final = 25
"""Rounds that are drawn; the newest."""
TWO_SIDED: Final = 0.975
STYLE: Final = (
    "svg{--page:#fff;--ink:#1f2933;--soft:#5c636e;--line:#e3e3dd;--old:#9aa3ad;--new:#2f78c4;--bad:#c5362e}"
    "@media (prefers-color-scheme:dark){svg{--page:#191c20;--ink:#e7e9ec;--soft:#99a1ac;--line:#2b3036;--old:#6c757f;"
    "--new:#5a9fe6;--bad:#ec6359}}"
    "text{font:12px system-ui,sans-serif;fill:var(--soft)}.t{font:600 15px system-ui,sans-serif;fill:var(--ink)}"
    ".b{fill:var(--page)}.g{stroke:var(--line)}.o{fill:var(--old)}.n{fill:var(--new)}.x{fill:var(--bad)}"
    ".c{stroke:var(--old);stroke-width:1.5}.w{stroke:var(--new);stroke-width:1.5}.f{fill:none;stroke:var(--ink);stroke-width:1.6}"
)


@dataclass(frozen=True, slots=True)
class Point:
    """One round: of ``attacks`` held out, ``before`` and ``after`` were caught; ``force`` names where it stands now."""

    number: int
    attacks: int
    before: int
    after: int
    passed: bool
    force: str
    title: str


def points(found: State) -> list[Point]:
    """The last MOST rounds of ``found``."""
    out = []
    for one in found.rounds[-MOST:]:
        held, benign = one.report["held_out"], one.report["canary"]
        force = "in force" if one.number == found.current else "on trial" if one.number == found.trial else ""
        title = (
            f"round {one.number}, {one.time}: {held['before']} → {held['after']} of {held['attacks']} attacks; "
            f"{benign['flag']['added']} of {benign['texts']} benign texts flagged anew"
        )
        out.append(Point(one.number, held["attacks"], held["before"], held["after"], one.passed, force, title))
    return out


def svg(drawn: Sequence[Point]) -> str:
    """The drawing; it follows the reader's light or dark setting."""
    inner, floor = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM
    tall = floor - TOP

    def y(share: float) -> float:
        return floor - tall * share

    body = [
        f'<rect class="b" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="t" x="{LEFT}" y="28">Held-out attacks caught, by round</text>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        body.append(f'<path class="g" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        body.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    step = inner / max(len(drawn), 1)
    for place, point in enumerate(drawn):
        x = LEFT + step * (place + 0.5)
        body.append(f"<g><title>{escape(point.title)}</title>{_mark(point, x, y(0), tall)}</g>")
        body.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{point.number}</text>')
        if point.force:
            body.append(f'<text x="{x:.1f}" y="{floor + 33}" text-anchor="middle">{point.force}</text>')
    if not drawn:
        body.append(f'<text x="{WIDTH / 2}" y="{(TOP + floor) / 2}" text-anchor="middle">no round yet</text>')
    body.append(_legend(HEIGHT - 24))
    label = "Held-out attacks caught before and after each round"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"<style>{STYLE}</style>" + "\n".join(body) + "</svg>\n"
    )


def page(drawn: Sequence[Point]) -> str:
    """The drawing on a page of its own, with the figures as a table; nothing is loaded from elsewhere."""
    rows = "".join(
        f"<tr><td>{point.number}<td>{point.attacks:,}<td>{point.before:,}<td>{point.after:,}"
        f"<td>{(point.after - point.before) / max(point.attacks, 1):+.1%}"
        f"<td>{'passed' if point.passed else 'not passed'}<td>{point.force}</tr>"
        for point in reversed(drawn)
    )
    heads = "".join(f"<th>{name}" for name in ("round", "held out", "before", "after", "gain", "gate", ""))
    table = f'<div class="s"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    if not drawn:
        table = "<p>No round has been proposed yet: <code>aimds learn propose</code> makes one from feedback.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>What learning gained</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>'
        ":root{color-scheme:light dark}body{margin:0;background:light-dark(#f6f6f3,#111316);"
        "color:light-dark(#1b1d21,#e7e9ec);font:15px/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums}"
        "main{max-width:900px;margin:0 auto;padding:24px 16px}h1{font-size:24px;margin:0 0 14px}"
        "figure{margin:0 0 18px;overflow-x:auto}svg{min-width:560px;width:100%;height:auto;border-radius:10px}"
        ".s{overflow-x:auto}table{border-collapse:collapse;width:100%}"
        "td,th{padding:6px 10px;text-align:right;white-space:nowrap;"
        "border-bottom:1px solid light-dark(#e3e3dd,#2b3036)}"
        "td:nth-child(n+6),th:nth-child(n+6){text-align:left}</style>"
        f"<main><h1>What learning gained</h1><figure>{svg(drawn)}</figure>"
        f"{table}</main></html>\n"
    )


def _mark(point: Point, x: float, floor: float, tall: float) -> str:
    if not point.attacks:
        return ""
    before, after = (floor - tall * hits / point.attacks for hits in (point.before, point.after))
    high = floor - tall * bounds.upper(point.after, point.attacks, TWO_SIDED)
    low = floor - tall * bounds.lower(point.after, point.attacks, TWO_SIDED)
    shape = f'<path class="c" d="M{x - 7:.1f} {before:.1f}V{after:.1f}"/>' if before != after else ""
    shape += f'<path class="w" d="M{x + 7:.1f} {low:.1f}V{high:.1f}M{x + 3:.1f} {low:.1f}h8M{x + 3:.1f} {high:.1f}h8"/>'
    shape += f'<circle class="o" cx="{x - 7:.1f}" cy="{before:.1f}" r="4"/>'
    if point.passed:
        shape += f'<circle class="n" cx="{x + 7:.1f}" cy="{after:.1f}" r="5"/>'
    else:
        shape += f'<path class="x" d="M{x + 7:.1f} {after - 6:.1f}l6 6l-6 6l-6 -6z"/>'
    if point.force:
        shape += f'<circle class="f" cx="{x + 7:.1f}" cy="{after:.1f}" r="9"/>'
    return shape


def _legend(y: float) -> str:
    x, parts = float(LEFT), []
    marks = (
        (f'<circle class="o" cx="{{x}}" cy="{y - 4}" r="4"/>', "before"),
        (f'<circle class="n" cx="{{x}}" cy="{y - 4}" r="5"/>', "after, passed the gate"),
        (f'<path class="x" d="M{{x}} {y - 10}l6 6l-6 6l-6 -6z"/>', "after, did not pass"),
        (f'<path class="w" d="M{{x}} {y - 11}v14"/>', "95 % interval"),
        (f'<circle class="f" cx="{{x}}" cy="{y - 4}" r="6"/>', "in force or on trial"),
    )
    for mark, words in marks:
        parts.append(mark.format(x=x + 6) + f'<text x="{x + 18}" y="{y}">{words}</text>')
        x += 40 + 6.6 * len(words)
    return "".join(parts)
