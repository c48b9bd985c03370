"""One session as an HTML page: scores by turn, the change, phase portrait, recurrence plot, violations, the turns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from aimds.analyze.attractors import LEAST
from aimds.jobs.report import frame
from aimds.jobs.report.charts import action_css, number, rect
from aimds.jobs.report.elements import card, day, named, period, threat_title, tile
from aimds.jobs.report.excerpts import EVIDENCE, GAP, PII, Mark, excerpt
from aimds.jobs.report.markup import Child, Html, h, join
from aimds.jobs.sessions.trace import Trace, Turn, share
from aimds.printable import counted, visible

SHOWN: Final = 200
"""Turns that are written out; the charts have all."""
NEAR: Final = 0.5
"""Surprises that differ by less recur: half a decade of p-value."""
CELLS: Final = 120
"""Turns on a side of the recurrence plot, the last ones."""


def render(trace: Trace, *, engine_version: str) -> str:
    """The whole page; the same arguments give the same bytes. Personal data and secrets are left out of the texts."""
    values = [turn.surprise for turn in trace.turns if turn.surprise is not None]
    times = [turn.ts for turn in trace.turns if turn.ts]
    when = period(min(times), max(times)) if times else "no times in these verdicts"
    tenant = f" · {visible(trace.tenant, 60)}" if trace.tenant else ""
    return frame.document(
        f"Session {trace.session_id}",
        frame.heading(f"Session {visible(trace.session_id, 80)}", f"{when}{tenant}"),
        _headline(trace),
        _scores(trace),
        h("div", _phase(values), _recurrence(values), class_="pair"),
        h("div", _motion(trace), _parts(trace), class_="pair"),
        _violations(trace),
        _turns(trace),
        frame.footer(
            "Surprise is -log10 of a turn's p-value against benign traffic: 2 for one in a hundred. Asterisks stand "
            "for personal data and secrets.",
            f"Made by aimds {engine_version}. {frame.CALM}",
        ),
    )


def _headline(trace: Trace) -> Html:
    caught = sum(turn.action != "allow" for turn in trace.turns)
    score = "–" if trace.session_score is None else f"{trace.session_score:.3f}"
    over = trace.session_score is not None and trace.session_score >= trace.threshold
    side = "over" if over else "under"
    change = "–" if trace.change is None else f"turn {_number(trace, trace.change)}"
    judged = counted(sum(turn.surprise is not None for turn in trace.turns), "judged input")
    few = trace.motion.kind == "insufficient_data"
    tiles = [
        tile("Session score", score, f"{side} {trace.threshold:.3f}, p = 0.01", "a-block" if over else ""),
        tile("Turns", number(len(trace.turns)), judged if trace.whole else "the first ones only"),
        tile("Caught", str(caught), "any action but allow", "a-flag" if caught else ""),
        tile("Level rises at", change, "of its own past" if trace.change is not None else "no rise"),
        tile(
            "Session action",
            trace.session_action.replace("_", " "),
            "motion: too few inputs" if few else f"motion: {_words(trace.motion.kind)}",
        ),
    ]
    return h("dl", *tiles, class_="tiles")


def _number(trace: Trace, place: int) -> str:
    number = trace.turns[place].turn
    return str(place + 1 if number is None else number)


def _scores(trace: Trace) -> Html:
    n = len(trace.turns)

    def at(place: int) -> float:
        return 1000 * (place + 0.5) / n

    bars, hovers = [], []
    for place, turn in enumerate(trace.turns):
        width = 1000 / n
        told = f"turn {_number(trace, place)}, {turn.channel}: {turn.action}"
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
            h("span", _number(trace, k), class_=None if place % 2 == 0 else "minor", style=f"left:{at(k) / 10:.2f}%")
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


def _phase(values: Sequence[float]) -> Html:
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


def _recurrence(values: Sequence[float]) -> Html:
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


def _words(name: str) -> str:
    return name.replace("_", " ")


def _motion(trace: Trace) -> Html:
    name, note = "Motion", "What the surprises of all judged inputs do; advice that no score or action uses"
    motion = trace.motion
    if motion.kind == "insufficient_data":
        return card(name, h("p", f"Fewer than {LEAST} judged inputs: no type.", class_="empty"), note=note)
    if motion.beats is None:
        said = ""
    else:
        said = ", better predicted than" if motion.beats else "; not chaotic, since no better predicted than"
        said += " its surrogates"
    told = h("p", h("b", _words(motion.kind)), f", say {100 * motion.share:.0f} % of the trees{said}.")
    words = {
        "lyapunov": "rate at which near states part, a turn",
        "chaos01": "0–1 test: 0 regular, 1 chaotic or random",
        "determinism": "share of recurrences on diagonal lines",
        "laminarity": "share of recurrences on vertical lines",
        "permutation_entropy": "of the orders of three turns, 1 for all alike",
        "sample_entropy": "what a turn adds to the two before it",
        "period": "turns after which it comes back closest",
        "prediction_error": "of the next turn by the nearest past, 1 for noise",
    }
    rows = [
        h(
            "tr",
            h("td", h("b", _words(key)), " ", h("small", text)),
            h("td", f"{value:.0f}" if key == "period" else f"{value:.2f}"),
        )
        for key, text in words.items()
        if (value := motion.features.get(key)) is not None
    ]
    return card(name, told, h("table", *rows) if rows else "", note=note)


def _parts(trace: Trace) -> Html:
    if not any(turn.surprise is not None for turn in trace.turns):
        return card("What it shows", h("p", "No judged input.", class_="empty"))
    words = {
        "peak": "its most unusual turn, for so many turns",
        "rise": "a steady climb",
        "shift": "a level that rises once and stays",
        "cusum": "staying above its own beginning",
        "spread": "ups and downs",
        "mean": "being unusual throughout",
    }
    rows = [
        h("tr", h("td", h("b", name), " ", h("small", words[name])), h("td", share(trace.p_values[name])))
        for name in words
        if name in trace.p_values
    ]
    note = "Share of benign sessions of this length that show as much; what needs texts is in the session score alone"
    return card("What it shows", h("table", *rows), note=note)


def _violations(trace: Trace) -> Html:
    rows = [
        h("tr", h("td", h("code", visible(name, 80))), h("td", f"turn {_number(trace, place)}"))
        for place, turn in enumerate(trace.turns)
        for name in turn.violations
    ]
    empty = "None in these verdicts. aimds policy explain judges them by your policies over sessions."
    return card("Policy violations", h("table", *rows) if rows else h("p", empty, class_="empty"))


def _turns(trace: Trace) -> Html:
    shown = trace.turns[-SHOWN:]
    note = None if len(shown) == len(trace.turns) else f"The last {SHOWN} of {number(len(trace.turns))}"
    first = len(trace.turns) - len(shown)
    return card("Turns", *(_turn(trace, first + k, turn) for k, turn in enumerate(shown)), note=note)


def _turn(trace: Trace, place: int, turn: Turn) -> Html:
    score = "not judged" if turn.score is None else f"score {turn.score:.3f}"
    told = [turn.channel, score]
    if turn.session_score is not None:
        told.append(f"session {turn.session_score:.3f}")
    if turn.threat_type != "none":
        told.append(threat_title(turn.threat_type))
    if turn.ts:
        told.append(f"{day(turn.ts)} UTC")
    if place == trace.change:
        told.append("the level rises here")
    names = [h("code", named(one["detector"], one["pattern_id"])) for one in turn.evidence[:8]]
    top = h(
        "p",
        h("b", f"turn {_number(trace, place)}"),
        h("span", turn.action, class_=f"badge {action_css(turn.action)}") if turn.action != "allow" else None,
        h("span", " · ".join(told)),
        *names,
    )
    return h("article", top, _text(turn), h("small", f"request {visible(turn.request_id, 48)}"))


def _text(turn: Turn) -> Child:
    if turn.text is None:
        return None
    if not turn.searched:
        return h("p", "Not shown: it was not searched for personal data.", class_="empty")
    marks = [Mark(one["start"], one["end"], EVIDENCE, one["pattern_id"]) for one in turn.evidence if one["end"] > 0]
    marks += [Mark(one["start"], one["end"], PII, one["kind"]) for one in turn.spans]
    parts: list[Child] = []
    for piece in excerpt(turn.text.encode("utf-8", "replace"), marks):
        if piece.kind == PII:
            parts.append(h("mark", "*" * min(8, len(piece.text)), class_="pii", title=piece.label))
        elif piece.kind == EVIDENCE:
            parts.append(h("mark", piece.text, class_="ev", title=piece.label))
        elif piece.kind == GAP:
            parts.append(h("span", f" … {piece.label} … ", class_="gap"))
        else:
            parts.append(piece.text)
    return h("blockquote", *parts, dir="auto")
