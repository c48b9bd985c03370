"""The report as one HTML page: no script, no outside reference, everything from the traffic escaped."""

from __future__ import annotations

from datetime import datetime

from aimds.jobs.report import cards, cases, frame
from aimds.jobs.report.charts import number
from aimds.jobs.report.elements import day, period
from aimds.jobs.report.findings import Findings
from aimds.jobs.report.markup import Html, h


def render(findings: Findings, *, title: str, made_at: datetime, engine_version: str) -> str:
    """The whole page. The same arguments give the same bytes.

    Args:
        findings: the aggregates (`aimds.jobs.report.findings`).
        title: heading of the page.
        made_at: time to print in the footer.
        engine_version: version of aimds to print in the footer.
    """
    places = cards.where("Channels", findings.channels), cards.where("Tenants", findings.tenants, findings.n_tenants)
    left = h("div", cards.scores(findings), places[0], cards.kinds(findings), class_="stack")
    right = h("div", cards.patterns(findings), places[1], class_="stack")
    return frame.document(
        title,
        _header(findings, title),
        cards.headline(findings),
        cards.over_time(findings),
        cards.threats(findings),
        h("div", left, right, class_="pair"),
        cards.violations(findings),
        cases.sessions(findings),
        cases.samples(findings.samples),
        h("div", cards.unjudged(findings), cards.versions(findings), class_="pair"),
        frame.footer(
            "Caught means any action but allow. Score: danger in (0, 1), one scale for all channels.",
            f"Made by aimds {engine_version} on {day(made_at)} UTC. {frame.CALM}",
        ),
    )


def _header(findings: Findings, title: str) -> Html:
    files = f"{number(len(findings.files))} file" + ("s" if len(findings.files) != 1 else "")
    when = period(findings.first, findings.last) if findings.first and findings.last else "no times in these verdicts"
    return frame.heading(title, f"{when} · {files}")
