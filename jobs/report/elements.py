"""Words and boxes that every part of the report shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from aimds.jobs.report.markup import Child, Html, h
from aimds.printable import visible
from aimds.respond.session_findings import told
from aimds.taxonomy import CODES, get
from aimds.verdicts import SESSIONS

CAUGHT = ("block", "escalate", "sandwich", "redact", "flag")
"""Actions other than allow, in the order in which they are drawn."""


def card(name: str, *children: Child, note: Child = None, css: str = "", anchor: str | None = None) -> Html:
    """A box with a heading and a note under it; ``anchor`` is what links on the page call it."""
    heading = h("header", h("h2", name), h("p", note) if note else None)
    return h("section", heading, *children, class_=f"card {css}".strip(), id=anchor)


def tile(name: str, figure: str, note: str, css: str = "") -> Html:
    """A headline figure with a remark under it."""
    return h("div", h("dt", name), h("dd", figure), h("p", note), class_=f"tile {css}".strip())


def day(at: datetime) -> str:
    """3 Mar 2025, 09:30."""
    return f"{at.day} {at:%b %Y, %H:%M}"


def period(first: datetime, last: datetime) -> str:
    """From when to when, in UTC; the date once where it is the same, one time where both read the same."""
    if day(first) == day(last):
        return f"{day(first)} UTC"
    if first.date() == last.date():
        return f"{day(first)} – {last:%H:%M} UTC"
    return f"{day(first)} – {day(last)} UTC"


def threat_title(threat: str) -> str:
    """The title of a known threat type, the name of another."""
    return get(threat).title if threat in CODES else visible(threat, 60)


def threat_ids(threat: str) -> Html | None:
    """The ids of a threat type in public taxonomies, as chips."""
    if threat not in CODES or threat == "none":
        return None
    known = get(threat)
    names = [*(f"OWASP {one}" for one in known.owasp_llm), *known.owasp_aitg, *known.atlas]
    return h("div", *(h("span", name, class_="id") for name in names), class_="ids") if names else None


def of_session(evidence: Iterable[Mapping[str, Any]]) -> str | None:
    """What in its session raised a row, as a sentence; None where nothing did."""
    mine = [item for item in evidence if item["detector"] == SESSIONS]
    if not mine:
        return None
    said = []
    for item in mine:
        name, score = str(item["pattern_id"]), float(item["score"] or 0.0)
        certain = "" if score >= 1.0 else f" (session score {score:.3f})"
        said.append(visible(told(name) or name, 120) + certain)
    return f"Raised by its session up to this turn: {', '.join(said)}."


def named(detector: str, pattern: str) -> str:
    """What gave evidence: the stage and its pattern; a head of the classifier has the stage in its own name."""
    said = visible(pattern, 60)
    return said if pattern.startswith(f"{detector}.") else f"{visible(detector, 30)} {said}"
