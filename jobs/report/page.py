"""The report as one HTML page: no script, no outside reference, everything from the traffic escaped."""

from __future__ import annotations

from datetime import datetime

from aimds import data
from aimds.jobs.report import cards, cases
from aimds.jobs.report.charts import number
from aimds.jobs.report.elements import day, period
from aimds.jobs.report.findings import Findings
from aimds.jobs.report.markup import Html, h
from aimds.printable import visible

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_SHIELD = "M8 0l7 2.5v5C15 12 12 15 8 16 4 15 1 12 1 7.5v-5z"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23c5362e' "
    f"d='{_SHIELD}'/%3E%3C/svg%3E"
)


def render(findings: Findings, *, title: str, made_at: datetime, engine_version: str) -> str:
    """The whole page. The same arguments give the same bytes.

    Args:
        findings: the aggregates (`aimds.jobs.report.findings`).
        title: heading of the page.
        made_at: time to print in the footer.
        engine_version: version of aimds to print in the footer.
    """
    style = data.read_bytes("report.css").decode()
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="referrer", content="no-referrer"),
        h("meta", name="color-scheme", content="light dark"),
        h("title", visible(title)),
        h("link", rel="icon", href=_ICON),
        h("style", Html(style)),
    )
    places = cards.where("Channels", findings.channels), cards.where("Tenants", findings.tenants, findings.n_tenants)
    left = h("div", cards.scores(findings), places[0], cards.kinds(findings), class_="stack")
    right = h("div", cards.patterns(findings), places[1], class_="stack")
    sections = [
        _header(findings, title),
        cards.headline(findings),
        cards.over_time(findings),
        cards.threats(findings),
        h("div", left, right, class_="pair"),
        cases.sessions(findings),
        cases.samples(findings.samples),
        h("div", cards.unjudged(findings), cards.versions(findings), class_="pair"),
        _footer(made_at, engine_version),
    ]
    body = h("body", h("main", *sections))
    return "<!doctype html>\n" + h("html", head, body, lang="en") + "\n"


def _header(findings: Findings, title: str) -> Html:
    files = f"{number(len(findings.files))} file" + ("s" if len(findings.files) != 1 else "")
    when = period(findings.first, findings.last) if findings.first and findings.last else "no times in these verdicts"
    shield = h("svg", h("path", d=_SHIELD), class_="shield", viewBox="0 0 16 16", aria_hidden="true")
    brand = h("p", shield, "AIMDS", class_="brand")
    return h("header", brand, h("h1", title), h("p", f"{when} · {files}", class_="period"), class_="top")


def _footer(made_at: datetime, engine_version: str) -> Html:
    return h(
        "footer",
        h(
            "p",
            "Caught means any action but allow. Score: danger in (0, 1), one scale for all channels.",
        ),
        h(
            "p",
            f"Made by aimds {engine_version} on {day(made_at)} UTC. This page opens no connection and runs no script.",
        ),
    )
