"""The cards of the report that show counts: headline figures, time, threats, scores, patterns, places, versions."""

from __future__ import annotations

from collections.abc import Sequence

from aimds.jobs.report import charts
from aimds.jobs.report.charts import Series, action_css, number, percent
from aimds.jobs.report.elements import CAUGHT, card, threat_ids, threat_title, tile
from aimds.jobs.report.findings import Findings, Group
from aimds.jobs.report.markup import Html, h
from aimds.printable import counted, visible
from aimds.respond.session_findings import told
from aimds.verdicts import SESSIONS

SHOWN_THREATS = 7
"""Threat types with a colour of their own over time; the rest are drawn together."""
TOP_POLICIES = 20
_UNNAMED = "No threat type (personal data, policies over sessions, errors)"
_DONE = {"block": "Blocked", "flag": "Flagged", "redact": "Redacted", "sandwich": "Sandwiched", "escalate": "Escalated"}


def headline(findings: Findings) -> Html:
    """The figures everybody asks for first."""
    rows = findings.rows

    floor = "" if findings.sessions_exact else "over "
    reach = f"{floor}{counted(findings.sessions, 'session')}" if findings.sessions else "no session ids"
    tiles = [tile("Requests", number(rows), reach)]
    tiles.append(tile("Caught", number(findings.caught), f"{percent(findings.caught, rows)} of requests"))
    always = {"block", "flag", "redact"}
    shown = [action for action in CAUGHT if findings.actions.get(action, 0) or action in always]
    for action in sorted(shown, key=lambda one: ("block", "flag", "redact", "sandwich", "escalate").index(one)):
        n = findings.actions.get(action, 0)
        tiles.append(tile(_DONE[action], number(n), percent(n, rows), action_css(action)))
    n = findings.unjudged
    tiles.append(tile("Not fully judged", number(n), percent(n, rows), "warn" if n else ""))
    return h("dl", *tiles, class_="tiles")


def over_time(findings: Findings) -> Html:
    """Caught requests per time bin, by action or by threat type, over the volume of all requests."""
    found = findings.timeline
    if found is None:
        return card("Over time", h("p", "No request carries a time in the years 1 to 9999.", class_="empty"))
    n = len(found.starts)
    everything = [sum(values[i] for values in found.actions.values()) for i in range(n)]
    volume = charts.columns(
        [Series("requests", "a-allow", everything)], found.labels, [], alt="All requests over time", css="volume"
    )
    order = sorted((a for a in found.actions if a != "allow"), key=lambda a: CAUGHT.index(a) if a in CAUGHT else 9)
    by_action = [Series(a, action_css(a), found.actions[a]) for a in order]
    ranked = sorted(found.threats, key=lambda name: (-sum(found.threats[name]), name))
    by_threat = [Series(threat_title(t), f"t{i}", found.threats[t]) for i, t in enumerate(ranked[:SHOWN_THREATS])]
    rest = [found.threats[name] for name in ranked[SHOWN_THREATS:]]
    if rest:
        by_threat.append(
            Series(f"{len(rest)} other types", "t-rest", [sum(column) for column in zip(*rest, strict=True)])
        )

    def panel(name: str, series: list[Series]) -> Html:
        if not series:
            return h("div", h("p", "Nothing was caught.", class_="empty"), class_=f"panel p-{name}")
        drawn = charts.columns(series, found.labels, found.ticks, alt=f"Caught requests over time, by {name}")
        return h("div", charts.legend(series), drawn, class_=f"panel p-{name}")

    choice = [
        h("input", type="radio", name="by", id=f"by-{one}", checked=one == "action") for one in ("action", "threat")
    ]
    labels = [
        h("label", word, for_=f"by-{one}") for one, word in (("action", "by action"), ("threat", "by threat type"))
    ]
    left_out = []
    if found.untimed:
        left_out.append(f"{counted(found.untimed, 'request')} without a time")
    if found.outside:
        left_out.append(f"{number(found.outside)} far outside this period")
    note = f"Caught requests per {found.width}, UTC" + (f"; not shown: {', '.join(left_out)}" if left_out else "")
    under = h("div", h("p", "All requests", class_="sub"), volume)
    heading = h("header", h("div", h("h2", "Over time"), h("p", note)), h("div", *labels, class_="tabs"))
    return h(
        "section", *choice, heading, panel("action", by_action), panel("threat", by_threat), under, class_="card time"
    )


def _parts(group: Group) -> list[tuple[str, str, int]]:
    order = (*CAUGHT, *(action for action in group.actions if action not in (*CAUGHT, "allow")))
    return [(action, action_css(action), group.actions[action]) for action in order if group.actions.get(action)]


def threats(findings: Findings) -> Html:
    """Caught requests by threat type, with its ids in public taxonomies."""
    groups = [group for group in findings.threats if group.caught]
    if not groups:
        return card("Threats", h("p", "Nothing was caught.", class_="empty"))
    scale = max(group.caught for group in groups)
    rows = []
    for group in groups:
        name = _UNNAMED if group.name == "none" else threat_title(group.name)
        released = group.actions.get("allow", 0) if group.name != "none" else 0
        share = percent(group.caught, findings.caught)
        rows.append(
            h(
                "li",
                h("div", h("b", name), threat_ids(group.name), class_="name"),
                charts.split_bar(_parts(group), scale),
                h("div", h("b", number(group.caught)), h("small", share), class_="figure"),
                h("p", f"{number(released)} more allowed", class_="aside") if released else None,
            )
        )
    totals = [Series(a, action_css(a), [sum(group.actions.get(a, 0) for group in groups)]) for a in CAUGHT]
    key = charts.legend([one for one in totals if sum(one.values)])
    note = "Caught requests by threat type, with OWASP LLM Top 10 2025, OWASP AI Testing Guide and MITRE ATLAS ids"
    return card("Threats", key, h("ol", *rows, class_="bars-list threats"), note=note)


def scores(findings: Findings) -> Html:
    """Histogram of the score, with the lowest score that was flagged and blocked."""
    found = findings.histogram
    if not sum(found.all):
        return card("Scores", h("p", "No request carries a score.", class_="empty"))
    words = {"flag": "lowest flagged", "block": "lowest blocked"}
    ordered = sorted(found.lowest.items(), key=lambda item: item[1])
    markers = [(score, f"{words[action]} {score:.3g}", action_css(action)) for action, score in ordered]
    missing = f"; {counted(found.missing, 'request')} have none" if found.missing else ""
    series = [Series("all requests", "a-allow", found.all), Series("caught", "caught", found.caught)]
    drawn = charts.histogram(found.all, found.caught, markers, alt="Histogram of scores")
    return card("Scores", charts.legend(series), drawn, note=f"Requests per score, log scale{missing}")


def patterns(findings: Findings) -> Html:
    """What gave evidence most often."""
    if not findings.patterns:
        return card("Top patterns", h("p", "No caught request carries evidence.", class_="empty"))
    scale = findings.patterns[0].rows
    rows = []
    for one in findings.patterns:
        threat = next(iter(one.threats))
        more = f" +{len(one.threats) - 1}" if len(one.threats) > 1 else ""
        name = h("code", visible(one.pattern_id, 60))
        words = told(one.pattern_id) if one.detector == SESSIONS else None
        sub = h("small", f"{visible(words or one.detector, 80)} · {threat_title(threat)}{more}")
        bar = charts.split_bar([("rows", "plain", one.rows)], scale)
        rows.append(
            h("li", h("div", name, sub, class_="name"), bar, h("div", h("b", number(one.rows)), class_="figure"))
        )
    note = "Caught requests in which a signature, pattern, model head or the session gave evidence"
    if findings.n_patterns > len(findings.patterns):
        note += f"; the first {len(findings.patterns)} of {number(findings.n_patterns)}"
    return card("Top patterns", h("ol", *rows, class_="bars-list patterns"), note=note)


def where(name: str, groups: Sequence[Group], n: int | None = None) -> Html:
    """Share caught by channel or tenant; ``n`` is how many there are in all."""
    if not groups:
        return card(name, h("p", "No requests.", class_="empty"))
    worst = max(max(group.caught / group.rows for group in groups), 1e-9)
    rows = []
    for group in groups:
        scale = round(group.rows * worst) or 1
        figure = h(
            "div", h("b", percent(group.caught, group.rows)), h("small", f"of {number(group.rows)}"), class_="figure"
        )
        bar = charts.split_bar(_parts(group), max(scale, group.caught))
        rows.append(h("li", h("div", h("b", visible(group.name, 60)), class_="name"), bar, figure))
    note = "Share of requests caught"
    if n is not None and n > len(groups):
        note += f"; the {len(groups)} with most caught of {number(n)}"
    return card(name, h("ol", *rows, class_="bars-list"), note=note)


def violations(findings: Findings) -> Html | None:
    """Policies over sessions that were broken; nothing where none was."""
    groups = sorted(findings.violations, key=lambda group: (-group.rows, group.name))
    if not groups:
        return None
    rows = []
    for group in groups[:TOP_POLICIES]:
        name = h("div", h("code", visible(group.name, 60)), class_="name")
        parts = [*_parts(group), ("allow", action_css("allow"), group.actions.get("allow", 0))]
        bar = charts.split_bar([part for part in parts if part[2]], groups[0].rows)
        rows.append(h("li", name, bar, h("div", h("b", number(group.rows)), class_="figure")))
    note = "Requests at which a session broke a policy, by what became of them"
    if len(groups) > TOP_POLICIES:
        note += f"; the first {TOP_POLICIES} of {number(len(groups))}"
    return card("Policies over sessions", h("ol", *rows, class_="bars-list"), note=note)


def kinds(findings: Findings) -> Html | None:
    """Kinds of personal data and secrets; nothing where there were none."""
    if not findings.kinds:
        return None
    shown = list(findings.kinds.items())[:24]
    items = [h("li", h("span", visible(kind, 40)), h("b", number(n))) for kind, n in shown]
    note = "Requests that hold at least one, by kind"
    return card("Personal data and secrets", h("ul", *items, class_="counts"), note=note)


def unjudged(findings: Findings) -> Html:
    """What could not be judged, or not in full, and why."""
    if not findings.errors:
        return card("Not fully judged", h("p", "Every request was judged in full.", class_="empty"))
    rows = [
        h(
            "tr",
            h("td", h("span", status, class_=f"badge s-{'error' if status == 'error' else 'partial'}")),
            h("td", visible(message, 160)),
            h("td", number(n)),
        )
        for status, message, n in findings.errors
    ]
    note = "partial: a limit, a detector or a policy over sessions left something out. error: nothing could be judged"
    return card("Not fully judged", h("table", *rows), note=note)


def versions(findings: Findings) -> Html:
    """What gave these verdicts, and the files they came from."""
    parts: list[Html] = []
    for versions, n in findings.versions:
        cells = [
            h("div", h("dt", name.removesuffix("_version")), h("dd", visible(value, 80)))
            for name, value in versions.items()
        ]
        parts.append(h("dl", *cells, h("div", h("dt", "requests"), h("dd", number(n))), class_="versions"))
    return card("Versions", *parts, files_read(findings.files), note="What gave these verdicts")


def files_read(files: Sequence[tuple[str, int]]) -> Html:
    """Names and row counts of the files, the first 200 of them, folded up."""
    listed = [h("li", h("span", visible(name, 120)), h("b", number(n))) for name, n in files[:200]]
    more = h("li", f"and {number(len(files) - 200)} more") if len(files) > 200 else None
    return h("details", h("summary", f"Files read ({number(len(files))})"), h("ul", *listed, more, class_="counts"))
