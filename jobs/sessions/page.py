"""One session as an HTML page: scores by turn, the change, phase portrait, recurrence plot, violations, the turns."""

from __future__ import annotations

from typing import Final

from aimds.analyze.attractors import LEAST
from aimds.excerpts import EVIDENCE, GAP, PII, Mark, excerpt
from aimds.jobs.report import frame
from aimds.jobs.report.charts import action_css, number
from aimds.jobs.report.elements import card, day, named, of_session, period, threat_title, tile
from aimds.jobs.report.markup import Child, Html, h
from aimds.jobs.sessions.plots import numbered, phase, recurrence, scores
from aimds.jobs.sessions.trace import Trace, Turn, share
from aimds.printable import counted, visible

SHOWN: Final = 200
"""Turns that are written out; the charts have all."""


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
        scores(trace),
        h("div", phase(values), recurrence(values), class_="pair"),
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
    change = "–" if trace.change is None else f"turn {numbered(trace, trace.change)}"
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
        h("tr", h("td", h("code", visible(name, 80))), h("td", f"turn {numbered(trace, place)}"))
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
    raised = of_session(turn.evidence)
    top = h(
        "p",
        h("b", f"turn {numbered(trace, place)}"),
        h("span", turn.action, class_=f"badge {action_css(turn.action)}") if turn.action != "allow" else None,
        h("span", " · ".join(told)),
        *names,
    )
    under = h("small", f"{raised or ''} request {visible(turn.request_id, 48)}".strip())
    return h("article", top, _text(turn), under)


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
