"""The page of a red team: no script, no outside reference, everything from attacks and answers escaped."""

from __future__ import annotations

from datetime import datetime

from aimds.jobs.redteam.findings import Findings, Probe, Share, Tool
from aimds.jobs.redteam.wire import OUTCOMES
from aimds.jobs.report import frame
from aimds.jobs.report.charts import Series, legend, number, percent, split_bar
from aimds.jobs.report.elements import card, day, threat_ids, threat_title, tile
from aimds.jobs.report.markup import Html, h
from aimds.printable import counted, visible

MOST_THROUGH = 30
CSS = {"held": "a-block", "changed": "a-redact", "flagged": "a-flag", "passed": "a-allow", "failed": "a-escalate"}
WORDS = {
    "held": "held back",
    "changed": "forwarded changed",
    "flagged": "forwarded, flagged",
    "passed": "forwarded, unseen",
    "failed": "no verdict",
}
TITLES = {"garak": "garak", "pyrit": "PyRIT", "own": "Our own attacks in disguise"}
_TEXT_BYTES = 360


def render(findings: Findings, *, title: str, made_at: datetime, engine_version: str) -> str:
    """The whole page; the same arguments give the same bytes."""
    return frame.document(
        title,
        frame.heading(title, f"{day(made_at)} UTC · {visible(findings.target, 120)}"),
        _headline(findings),
        _notes(findings),
        _through(findings),
        *(_tool(findings, tool) for tool in findings.tools),
        _left_out(findings),
        frame.footer(
            "Held back: request or answer refused. Ranked by the lower bound of the share that got through, by how "
            "bad the threat is. Intervals: Clopper and Pearson, 95%, as if the attempts were drawn at random from "
            "attacks of their kind. Drafts are installed nowhere.",
            f"Made by aimds {engine_version}. {frame.CALM}",
        ),
        styles=("report.css", "redteam.css"),
    )


def _headline(findings: Findings) -> Html:
    held, passed, flagged = (findings.share(name) for name in ("held", "passed", "flagged"))
    works, bare = (sum(getattr(probe, name) for probe in findings.probes) for name in ("works", "bare"))
    tiles = [
        tile("Probes", number(len(findings.probes)), f"{number(len(findings.left_out))} left out"),
        tile("Attempts", number(findings.n), "with a verdict"),
        tile("Held back", percent(held.hits, held.n), _interval(held), "a-block"),
        tile("Forwarded, flagged", percent(flagged.hits, flagged.n), _interval(flagged), "a-flag"),
        tile("Forwarded, unseen", percent(passed.hits, passed.n), _interval(passed), "warn"),
    ]
    if bare:
        tiles.append(tile("Still work", f"{number(works)}", f"of {number(bare)} that work without AIMDS"))
    if findings.failed:
        tiles.append(tile("No verdict", number(findings.failed), "attempts that count nowhere", "warn"))
    return h("dl", *tiles, class_="tiles")


def _interval(share: Share) -> str:
    if not share.n:
        return "no attempt"
    return f"{number(share.hits)}; between {100 * share.low:.1f} and {100 * share.high:.1f} %"


def _notes(findings: Findings) -> Html | None:
    notes = ["It was interrupted: this is what was done until then."] if findings.stopped else []
    for tool in findings.tools:
        if tool.problem:
            notes.append(f"{TITLES[tool.name]} ended early: {visible(tool.problem, 300)}")
        if not tool.tested:
            notes.append(f"{TITLES[tool.name]} {visible(tool.version, 40)} is a release that was not tried with this.")
        if tool.refused:
            hosts = ", ".join(f"{visible(host, 80)} ({n})" for host, n in tool.refused.items())
            notes.append(f"{TITLES[tool.name]} would have asked, and was kept from it: {hosts}.")
    return card("To be known", *(h("p", note) for note in notes)) if notes else None


def _through(findings: Findings) -> Html:
    some = [probe for probe in findings.probes if probe.through.hits]
    if not some:
        return card("What got through", h("p", "Nothing.", class_="empty"))
    items = [_ranked(place, probe) for place, probe in enumerate(some[:MOST_THROUGH], 1)]
    more = f"; the first {MOST_THROUGH} of {number(len(some))} probes" if len(some) > MOST_THROUGH else ""
    return card(
        "What got through",
        _legend(findings.probes),
        h("ol", *items, class_="ranked"),
        note=f"Worst first{more}, with examples and drafts of patterns",
    )


def _ranked(place: int, probe: Probe) -> Html:
    head = h(
        "div",
        h("b", f"{place} · {visible(probe.name, 80)}"),
        h("small", f"{TITLES[probe.tool]} · {threat_title(probe.threat)}"),
        threat_ids(probe.threat),
        class_="who",
    )
    figure = h(
        "div",
        h("b", f"{number(probe.through.hits)} of {number(probe.n)}"),
        h("small", f"{100 * probe.through.low:.0f}–{100 * probe.through.high:.0f} %"),
        class_="figure",
    )
    shown = [_quote(text) for text in probe.examples]
    examples = h("details", h("summary", counted(len(shown), "example")), *shown) if shown else None
    return h("li", head, figure, _bar(probe), examples, _draft(probe), class_="probe")


def _quote(text: str | None) -> Html:
    if text is None:
        return h("p", "Not shown: it could not be searched for personal data.", class_="empty")
    raw = text.encode("utf-8", "replace")
    shown = raw[:_TEXT_BYTES].decode("utf-8", "ignore")
    gap = h("span", f" … {number(len(raw) - len(shown.encode()))} bytes more", class_="gap")
    return h("blockquote", shown, gap if len(raw) > _TEXT_BYTES else None, dir="auto")


def _draft(probe: Probe) -> Html | None:
    covered = h("p", "Also found by " + ", ".join(probe.covered_by), class_="sub") if probe.covered_by else None
    if probe.draft is None:
        return covered
    draft = probe.draft
    words = [h("li", h("code", visible(pattern.text, 200))) for pattern in draft.patterns]
    told = f"Draft: finds {draft.reached} of {draft.tried}, none of {number(draft.spared)} harmless texts"
    return h("div", h("p", told, class_="sub"), h("ul", *words), covered, class_="draft")


def _bar(probe: Probe) -> Html:
    parts = [(WORDS[name], CSS[name], probe.counts[name]) for name in OUTCOMES]
    return split_bar(parts, sum(probe.counts.values()))


def _legend(probes: list[Probe]) -> Html:
    return legend(
        [
            Series(WORDS[name], CSS[name], [probe.counts[name] for probe in probes])
            for name in OUTCOMES
            if any(probe.counts[name] for probe in probes)
        ]
    )


def _tool(findings: Findings, tool: Tool) -> Html | None:
    probes = sorted(findings.of(tool.name), key=lambda probe: probe.name)
    if not probes:
        return None
    judged = any(probe.judged for probe in probes)
    names = ["probe", "OWASP", "attempts", "held back", "flagged", "unseen", *(["works", "without"] if judged else [])]
    head = h("tr", *(h("th", name) for name in names))
    rows = []
    for probe in probes:
        works = [number(probe.works), number(probe.bare)] if probe.judged else ["–", "–"]
        cells = [
            h("td", h("span", visible(probe.name, 80), title=probe.goal or None), _bar(probe), class_="name"),
            h("td", ", ".join(one.partition(":")[0] for one in probe.owasp), class_="ids"),
            h("td", number(probe.n)),
            h("td", f"{percent(probe.held.hits, probe.n)}"),
            h("td", number(probe.counts["flagged"])),
            h("td", number(probe.counts["passed"])),
            *([h("td", word) for word in works] if judged else []),
        ]
        rows.append(h("tr", *cells))
    held = findings.share("held", tool.name)
    note = (
        f"{counted(len(probes), 'probe')} in {tool.seconds:,.0f} s; {percent(held.hits, held.n)} held back, "
        f"{_interval(held)}"
    )
    under = (
        h(
            "p",
            "Works: attempts whose answer the tool's own detector takes for a success; without AIMDS beside it.",
            class_="sub",
        )
        if judged
        else None
    )
    name = f"{TITLES[tool.name]} {visible(tool.version, 40)}".strip()
    return card(name, h("div", h("table", head, *rows, class_="probes"), class_="wide"), under, note=note)


def _left_out(findings: Findings) -> Html | None:
    if not findings.left_out:
        return None
    by_reason: dict[tuple[str, str], list[str]] = {}
    for one in findings.left_out:
        by_reason.setdefault((one.tool, one.why), []).append(one.probe)
    parts = []
    for (tool, why), names in by_reason.items():
        parts.append(h("h3", f"{TITLES[tool]}: {visible(why, 200)}"))
        parts.append(h("p", ", ".join(visible(name, 80) for name in names), class_="names"))
    return card("Left out", *parts, note="Probes that were not run, or not to their end")
