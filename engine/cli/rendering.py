"""A verdict in words and colours for the terminal. Nothing in the text is ever taken for markup or control codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aimds.detect.meanings import Meanings, by_concepts
from aimds.detect.readings import FOLDED, Reading, evidence_in, read_as
from aimds.excerpts import EVIDENCE, GAP, PII, Mark, excerpt, size
from aimds.printable import tokens, visible
from aimds.respond import session_findings
from aimds.respond.sessions import BANDS, severity_band
from aimds.taxonomy import CODES, Threat, get
from aimds.verdicts import SESSIONS, Verdict

BUDGET_BYTES = 1600
_ACTION_STYLES = {
    "allow": "bold white on green4",
    "flag": "bold black on gold3",
    "redact": "bold white on dodger_blue3",
    "sandwich": "bold white on medium_purple4",
    "block": "bold white on red3",
    "escalate": "bold white on deep_pink4",
}
_PIECE_STYLES = {EVIDENCE: "bold black on gold1", PII: "bold white on dodger_blue3", GAP: "dim italic"}
_HIDDEN_STYLE = "bold white on red3"
_MOST_EVIDENCE = 12
_MOST_READINGS = 4
_MOST_WORDS = 60
_LEAST_WORDS = 40


def render_verdict(
    verdict: Verdict,
    text: str | bytes,
    console: Console,
    ways: Sequence[Reading] = (),
    told: Meanings | None = None,
) -> None:
    """Print ``verdict`` on ``console``: what was decided, how sure, and where in ``text`` it was seen.

    Args:
        verdict: one row of VERDICTS; its offsets are bytes in the UTF-8 of ``text``.
        text: the text that was screened; bytes need not be valid UTF-8.
        console: where to print; width and colour are its own.
        ways: how ``text`` was read besides as it is written; those in which evidence was found are shown.
        told: what evidence in other languages means, shown under it.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    console.print(_headline(verdict))
    console.print(_measures(verdict))
    ids = _ids(verdict.threat_type)
    if ids:
        console.print(Text(ids, style="dim"))
    if verdict.status != "ok":
        console.print(Text(f"{verdict.status}: {visible(verdict.error or 'no message', 400)}", style="bold red"))
    marks = [Mark(item["start"], item["end"], EVIDENCE, str(item["pattern_id"])) for item in verdict.evidence]
    marks += [Mark(item["start"], item["end"], PII, str(item["kind"])) for item in verdict.spans]
    _section(console, f"Text, {size(len(raw))}", _marked(raw, marks) if raw else Text("(empty)", style="dim"))
    if verdict.evidence:
        _section(console, "Evidence", _evidence(verdict, raw, ways, console.width, told or {}))
        _readings(console, verdict, raw, ways)
    if verdict.spans:
        _section(console, "Personal data and secrets", _spans(verdict))
    if verdict.mitigated_text is not None:
        _section(console, "Mitigated text", _marked(verdict.mitigated_text.encode("utf-8", "surrogatepass"), []))
    console.print(_versions(verdict))


def severity_word(severity: float) -> str:
    """The band that a policy puts ``severity`` in: low, medium, high or critical."""
    return BANDS[int(severity_band(severity))]


RAREST = 1e-4
"""Below this a p-value is extrapolated further than the calibration texts can bear out, so it is not put in words."""


def odds(p_value: float) -> str:
    """``p_value`` against benign traffic in words: 1 in 5,000 benign requests scores this high."""
    if p_value >= 0.5:
        return "as ordinary as most benign requests"
    if p_value < RAREST:
        return f"fewer than 1 in {1 / RAREST:,.0f} benign requests score this high"
    if p_value > 0.1:
        return f"{p_value:.0%} of benign requests score this high"
    n = 1 / p_value
    step = 10 ** max(0, math.floor(math.log10(n)) - 1)
    return f"1 in {round(n / step) * step:,.0f} benign requests scores this high"


def _headline(verdict: Verdict) -> Text:
    line = Text()
    line.append(f" {verdict.action.upper()} ", style=_ACTION_STYLES.get(verdict.action, "bold reverse"))
    if verdict.threat_type in CODES:
        threat = get(verdict.threat_type)
        line.append("  " + _title(verdict, threat), style="bold")
        if threat.name != "none":
            line.append(f"  {threat.name}", style="dim")
    else:
        line.append("  " + visible(verdict.threat_type, 60), style="bold")
    if verdict.session_action != "none":
        line.append(f"  session: {verdict.session_action.replace('_', ' ')}", style="bold red")
    return line


def _title(verdict: Verdict, threat: Threat) -> str:
    if threat.name == "none" and any(item["detector"] == SESSIONS for item in verdict.evidence):
        return "Nothing found in the text, but in its session"
    if threat.name == "none" and verdict.status != "ok":
        return "Nothing found by what could judge"
    return threat.title


def _severity(verdict: Verdict, severity: float) -> str:
    # A type's impact bounds it, so that what is certain may be of low severity.
    impact = get(verdict.threat_type).impact if verdict.threat_type in CODES else 0.0
    most = f" of at most {impact:.2f}" if impact else ""
    return f"severity {severity:.2f}{most} ({severity_word(severity)})"


def _measures(verdict: Verdict) -> Text:
    parts = [f"score {verdict.score:.3f}" if verdict.score is not None else "no score"]
    if verdict.severity is not None and verdict.action != "allow":
        parts.append(_severity(verdict, verdict.severity))
    if verdict.p_value is not None:
        parts.append(f"{odds(verdict.p_value)} (p = {verdict.p_value:.2g})")
    if verdict.harmful_score is not None and verdict.harmful_score >= 0.5:
        parts.append(f"harmful content {verdict.harmful_score:.2f}")
    if verdict.session_score is not None:
        parts.append(f"session score {verdict.session_score:.3f}")
    parts.append(f"channel {verdict.channel}")
    return Text(" · ".join(parts))


def _ids(threat_type: str) -> str:
    if threat_type not in CODES or threat_type == "none":
        return ""
    threat = get(threat_type)
    return " · ".join([*(f"OWASP {name}" for name in threat.owasp_llm), *threat.owasp_aitg, *threat.atlas])


def _section(console: Console, title: str, content: Text | Table) -> None:
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Padding(content, (0, 0, 0, 2), expand=False))


def _append(line: Text, content: str, style: str) -> None:
    for run, marker in tokens(content):
        if marker:
            line.append(f"⟨{run}⟩", style=_HIDDEN_STYLE)
        else:
            line.append(run.expandtabs(4), style=style)


def _marked(raw: bytes, marks: list[Mark]) -> Text:
    line = Text()
    for piece in excerpt(raw, marks, budget=BUDGET_BYTES):
        if piece.kind == GAP:
            line.append(f" … {piece.label} … ", style=_PIECE_STYLES[GAP])
        else:
            _append(line, piece.text, _PIECE_STYLES.get(piece.kind, ""))
    return line


def _evidence(verdict: Verdict, raw: bytes, ways: Sequence[Reading], width: int, told: Meanings) -> Text:
    # Stage, id and bytes are never cut; the words stand beside them where there is room, else on a line of their own.
    ordered = sorted(verdict.evidence, key=lambda item: (-item["score"], item["start"], item["pattern_id"]))
    shown = ordered[:_MOST_EVIDENCE]
    columns = [
        [visible(item["detector"], 30) for item in shown],
        [visible(item["pattern_id"], 60) for item in shown],
        ["–" if item["detector"] == SESSIONS else f"{item['start']}–{item['end']}" for item in shown],
        [f"{item['score']:.2f}" for item in shown],
    ]
    widths = [max(map(cell_len, column)) for column in columns]
    left = width - 2 - sum(widths) - 2 * len(widths)
    beside = left >= _LEAST_WORDS
    styles = ("", "bold", "dim", "")
    lines = []
    for k, item in enumerate(shown):
        line = Text()
        for column, wide, style in zip(columns, widths, styles, strict=True):
            line.append(column[k] + " " * (wide - cell_len(column[k]) + 2), style=style)
        origin, words = _words(item, raw, ways)
        room = left if beside else width - 6
        line.append("" if beside else "\n    ")
        line.append(origin, style="italic dim")
        line.append(visible(words, max(8, min(_MOST_WORDS, room - len(origin)))), style="dim")
        lines.append(line)
        means = told.get((item["start"], item["end"])) if by_concepts(item) else None
        if means is not None:
            lines.append(Text(f"    {means.told}", style="italic"))
            if means.pairs:
                pairs = ", ".join(" + ".join(pair) for pair in means.pairs)
                lines.append(Text(f"    weighed most: {pairs}", style="italic dim"))
    if len(ordered) > _MOST_EVIDENCE:
        lines.append(Text(f"and {len(ordered) - _MOST_EVIDENCE} more", style="dim"))
    return Text("\n").join(lines)


def _words(item: dict[str, Any], raw: bytes, ways: Sequence[Reading]) -> tuple[str, str]:
    if item["detector"] == SESSIONS:
        return "", session_findings.told(item["pattern_id"]) or ""
    found = read_as(item["start"], item["end"], raw, ways)
    if found is None:
        return "", raw[item["start"] : min(item["end"], item["start"] + 400)].decode("utf-8", "replace")
    way, words = found
    return "read as: " if way.kind == FOLDED else f"decoded from {way.name}: ", words


def _readings(console: Console, verdict: Verdict, raw: bytes, ways: Sequence[Reading]) -> None:
    spans = [(item["start"], item["end"]) for item in verdict.evidence]
    used = {id(found[0]) for span in spans if (found := read_as(*span, raw, ways)) is not None}
    for way in [one for one in ways if id(one) in used][:_MOST_READINGS]:
        where = f"bytes {int(way.starts.min())}–{int(way.ends.max())}"
        inner = f", {way.depth} decodings deep" if way.depth > 1 else ""
        title = (
            f"Characters read plainly, {where}" if way.kind == FOLDED else f"Decoded from {way.name}, {where}{inner}"
        )
        marks = [Mark(start, end, EVIDENCE, "") for start, end in evidence_in(way, spans)]
        _section(console, title, _marked(way.text, marks))


def _spans(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 2))
    for item in verdict.spans[:_MOST_EVIDENCE]:
        table.add_row(
            Text(visible(item["kind"], 40), style="bold"), Text(f"{item['start']}–{item['end']}", style="dim")
        )
    if len(verdict.spans) > _MOST_EVIDENCE:
        table.add_row(Text(f"and {len(verdict.spans) - _MOST_EVIDENCE} more", style="dim"))
    return table


def _versions(verdict: Verdict) -> Text:
    parts = [
        f"aimds {verdict.engine_version}",
        f"model {verdict.model_version}",
        f"signatures {verdict.signature_version}",
        f"policy {verdict.policy_version}",
        f"profile {verdict.profile}",
        verdict.backend,
    ]
    return Text("\n" + " · ".join(visible(part, 80) for part in parts), style="dim")
