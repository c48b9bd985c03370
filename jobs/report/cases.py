"""The cards of the report that show single cases: sessions at risk and sample evidence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from aimds.excerpts import EVIDENCE, GAP, PII
from aimds.jobs.report import charts
from aimds.jobs.report.charts import action_css, number
from aimds.jobs.report.elements import card, day, named, of_session, period, threat_title
from aimds.jobs.report.findings import Findings
from aimds.jobs.report.markup import Child, Html, h, join
from aimds.jobs.report.samples import Sample
from aimds.jobs.report.session_risk import SessionRisk
from aimds.printable import counted, visible


def sessions(findings: Findings) -> Html:
    """Sessions at risk, each with its scores turn by turn."""
    if not findings.risks:
        why = "No session has a caught turn." if findings.sessions else "These verdicts carry no session ids."
        return card("Sessions at risk", h("p", why, class_="empty"))
    note = (
        "Ordered by session action, session score, then the sum of the scores of caught turns; a dot is a caught turn. "
        "aimds session shows one turn by turn"
    )
    return card("Sessions at risk", h("ol", *map(_session, findings.risks), class_="sessions"), note=note)


def _session(risk: SessionRisk) -> Html:
    where = [visible(risk.tenant, 40)] if risk.tenant else []
    if risk.first and risk.last:
        where.append(period(risk.first, risk.last))
    who = h("div", h("code", visible(risk.session_id, 64)), h("small", " · ".join(where)), class_="who")
    threats = [h("span", f"{_title(name)} × {n}", class_="id") for name, n in list(risk.threats.items())[:4]]
    badge = (
        h("span", risk.session_action.replace("_", " "), class_="badge a-block")
        if risk.session_action != "none"
        else None
    )
    line = charts.sparkline(
        risk.scores, risk.actions, alt=f"Score per turn, {counted(risk.turns, 'turn')}, highest {risk.max_score:.2f}"
    )
    figures = [
        ("turn" if risk.turns == 1 and risk.whole else "turns", number(risk.turns) + ("" if risk.whole else "+")),
        ("caught", number(risk.caught)),
        ("highest", f"{risk.max_score:.3f}"),
    ]
    if risk.session_score is not None:
        figures.append(("session", f"{risk.session_score:.3f}"))
    cells = [h("div", h("dd", value), h("dt", name)) for name, value in figures]
    return h("li", who, line, h("dl", *cells), h("div", badge, *threats, class_="ids"))


def _title(threat: str) -> str:
    return "No threat type" if threat == "none" else threat_title(threat)


def samples(chosen: Sequence[Sample]) -> Html:
    """Excerpts with the evidence marked, by threat type."""
    if not chosen:
        return card("Sample evidence", h("p", "Nothing was caught.", class_="empty"))
    groups = []
    for threat, members in groupby(chosen, key=lambda one: one.threat_type):
        title = h("h3", _title(threat))
        groups.append(h("div", title, *map(_sample, members), class_="kind"))
    key = h(
        "p",
        h("mark", "evidence", class_="ev"),
        " ",
        h("mark", "EMAIL", class_="pii"),
        " ",
        h("span", "U+200B", class_="hid"),
        class_="marks",
    )
    note = "The strongest of each type. Marked: what gave it away, personal data, characters that do not print"
    return card("Sample evidence", key, h("div", *groups, class_="samples"), note=note)


def _sample(sample: Sample) -> Html:
    score = f"score {sample.score:.3f}" if sample.score is not None else "no score"
    top = h(
        "p",
        h("span", sample.action, class_=f"badge {action_css(sample.action)}"),
        h("span", f"{sample.channel} · {score}"),
    )
    return h("article", top, excerpted(sample))


def excerpted(sample: Sample, *told: str) -> Html:
    """The excerpt of ``sample``, what gave it away, and under it ``told`` and where it comes from."""
    where = [*told, f"request {visible(sample.request_id, 48)}"]
    if sample.session_id:
        turn = f", turn {sample.turn}" if sample.turn is not None else ""
        where.append(f"session {visible(sample.session_id, 48)}{turn}")
    if sample.tenant:
        where.append(visible(sample.tenant, 40))
    if sample.ts:
        where.append(f"{day(sample.ts)} UTC")
    names = dict.fromkeys((str(item["detector"]), str(item["pattern_id"])) for item in sample.evidence)
    chips = [h("span", named(*one), class_="id") for one in list(names)[:6]]
    listed = h("div", *chips, class_="ids") if chips else None
    means = h("small", visible(sample.means, 200), class_="means") if sample.means else None
    raised = of_session(sample.evidence)
    session = h("small", raised, class_="means") if raised else None
    return join([_excerpt(sample), means, session, listed, h("small", " · ".join(where))])


def _excerpt(sample: Sample) -> Html:
    if sample.pieces is None:
        return h("p", sample.missing, class_="empty")
    parts: list[Child] = []
    for piece in sample.pieces:
        if piece.kind == EVIDENCE:
            parts.append(h("mark", piece.text, class_="ev", title=piece.label))
        elif piece.kind == PII:
            parts.append(h("mark", piece.text or visible(piece.label, 40), class_="pii", title=piece.label))
        elif piece.kind == GAP:
            parts.append(h("span", f" … {piece.label} … ", class_="gap"))
        else:
            parts.append(piece.text)
    return h("blockquote", *parts, dir="auto")
