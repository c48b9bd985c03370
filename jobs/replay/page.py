"""The page of a replay: no script, no outside reference, everything from the traffic escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from aimds.jobs.replay.findings import BLOCKED, KINDS, OTHERWISE, RELEASED, Change, Findings, Group, Share
from aimds.jobs.replay.tally import BINS_PER_DECADE, P_BINS
from aimds.jobs.report import charts, frame, timeline
from aimds.jobs.report.cards import files_read
from aimds.jobs.report.cases import excerpted
from aimds.jobs.report.charts import Series, action_css, number, percent
from aimds.jobs.report.elements import card, day, threat_title, tile
from aimds.jobs.report.markup import Child, Html, h, join
from aimds.printable import visible
from aimds.respond.scored import BY_STRENGTH
from aimds.schema import ACTIONS

MOST_GROUPS = 15
_WORDS = ("unchanged", "newly blocked", "newly released", "otherwise changed")
_CSS = ("a-allow", "a-block", "a-redact", "a-flag")
"""Colours of the kinds of change."""


def render(findings: Findings, *, title: str, made_at: datetime, engine_version: str) -> str:
    """The whole page; the same arguments give the same bytes."""
    places = _groups("Tenants", findings.tenants, str), _groups("Channels", findings.channels, str)
    left, right = (
        h("div", *places, class_="stack"),
        h("div", _groups("Threat types", findings.threats, _titled), class_="stack"),
    )
    return frame.document(
        title,
        _heading(findings, title),
        _headline(findings),
        _notes(findings),
        h("div", _transitions(findings), _by_p(findings), class_="pair"),
        _over_time(findings),
        h("div", left, right, class_="pair"),
        *(_samples(findings, kind) for kind in (BLOCKED, RELEASED, OTHERWISE)),
        _sources(findings),
        frame.footer(
            "Blocked: what was forwarded (allow, flag, redact, sandwich) would be refused or held (block, escalate). "
            "Released: the other way round. Intervals: Clopper and Pearson, 95%, for traffic of which these rows are a "
            "random sample.",
            f"Made by aimds {engine_version} on {day(made_at)} UTC. {frame.CALM}",
        ),
        styles=("report.css", "replay.css"),
    )


def _heading(findings: Findings, title: str) -> Html:
    files = f"{number(len(findings.files))} file" + ("s" if len(findings.files) != 1 else "")
    return frame.heading(title, f"policy {visible(findings.policy, 80)} over the verdicts of {files}")


def _headline(findings: Findings) -> Html:
    whole = findings.whole
    tiles = [tile("Rows", number(findings.rows), f"{percent(whole.kinds[0], findings.rows)} stay as they are")]
    for kind in (BLOCKED, RELEASED, OTHERWISE):
        share = whole.share(kind)
        tiles.append(tile(_WORDS[kind].capitalize(), number(share.rows), _interval(share), _CSS[kind]))
    return h("dl", *tiles, class_="tiles")


def _interval(share: Share) -> str:
    low, high = share.bounds
    return f"{percent(share.rows, share.of)}, between {low} and {high}"


def _notes(findings: Findings) -> Html | None:
    if not findings.notes:
        return None
    return card("To be known", *(h("p", note[:1].upper() + note[1:] + ".") for note in findings.notes))


def _transitions(findings: Findings) -> Html:
    changed = {pair: n for pair, n in findings.transitions.items() if pair[0] != pair[1]}
    order = [ACTIONS[code] for code in BY_STRENGTH.tolist()]
    used = [name for name in order if any(name in pair for pair in findings.transitions)]
    most = max(changed.values(), default=1)
    head = h("tr", h("th", "recorded"), *(h("th", _badge(name)) for name in used))
    rows = []
    for before in used:
        cells = []
        for after in used:
            n = findings.transitions.get((before, after), 0)
            # The shade says how many rows move; those that stay are not shaded.
            shade = f"--w:{0.12 + 0.5 * (n / most) ** 0.5:.3f}" if n and before != after else None
            css = ("stay" if before == after else "move") if n else "none"
            cells.append(h("td", number(n) if n else "·", class_=css, style=shade))
        rows.append(h("tr", h("th", _badge(before)), *cells))
    parts: list[Child] = [h("div", h("table", head, *rows, class_="matrix"), class_="wide")]
    sessions = {pair: n for pair, n in findings.session_transitions.items() if pair[0] != pair[1]}
    if sessions:
        items = [
            h("li", h("span", f"{before} → {after}".replace("_", " ")), h("b", number(n)))
            for (before, after), n in sessions.items()
        ]
        parts += [h("h3", "Session actions"), h("ul", *items, class_="counts")]
    return card("Actions", *parts, note="Rows by the action recorded (down) and the action now (across)")


def _badge(action: str) -> Html:
    return h("span", action, class_=f"badge {action_css(action)}")


def _by_p(findings: Findings) -> Html:
    last = max((i for row in findings.by_p for i, n in enumerate(row) if n), default=0)
    shown = range(min(P_BINS, last + 1))
    labels = [f"p {_p(i)} to {_p(i + 1)}" if i + 1 < P_BINS else f"p at most {_p(i)}" for i in shown]
    ticks = [(i, f"1e-{i // BINS_PER_DECADE}" if i else "1", i % 8 == 0) for i in shown if not i % BINS_PER_DECADE]
    drawn: list[Child] = []
    series = [
        Series(_WORDS[kind], _CSS[kind], [findings.by_p[kind][i] for i in shown])
        for kind in (BLOCKED, RELEASED, OTHERWISE)
        if any(findings.by_p[kind])
    ]
    if series:
        drawn += [charts.legend(series), charts.columns(series, labels, ticks, alt="Changed rows by p-value")]
    else:
        drawn.append(h("p", "Nothing changes.", class_="empty"))
    every = [sum(findings.by_p[kind][i] for kind in range(len(KINDS))) for i in shown]
    kind = "volume" if series else "volume ticked"
    under = [] if series else ticks
    volume = charts.columns([Series("rows", "a-allow", every)], labels, under, alt="All rows by p-value", css=kind)
    drawn += [h("p", "All rows", class_="sub"), volume]
    return card("p-values", *drawn, note="Rows that change, by p-value, from harmless (left) to dangerous", css="time")


def _p(place: int) -> str:
    return f"{10 ** (-place / BINS_PER_DECADE):.2g}"


def _over_time(findings: Findings) -> Html:
    found = findings.timeline
    if found is None:
        return card("Over time", h("p", "No row carries a time in the years 1 to 9999.", class_="empty"))
    labels = [timeline.label(found.range, i) for i in range(found.range.bins)]
    ticks = timeline.ticks(found.range)
    series = [
        Series(_WORDS[kind], _CSS[kind], found.kinds[kind])
        for kind in (BLOCKED, RELEASED, OTHERWISE)
        if any(found.kinds[kind])
    ]
    if not series:
        return card("Over time", h("p", "Nothing changes.", class_="empty"))
    every = [sum(column) for column in zip(*found.kinds, strict=True)]
    volume = charts.columns([Series("rows", "a-allow", every)], labels, [], alt="All rows over time", css="volume")
    return card(
        "Over time",
        charts.legend(series),
        charts.columns(series, labels, ticks, alt="Changed rows over time"),
        h("p", "All rows", class_="sub"),
        volume,
        note=f"Rows that change per {timeline.width_name(found.range)}, UTC",
        css="time",
    )


def _groups(name: str, groups: Sequence[Group], titled: Callable[[str], str]) -> Html:
    shown = groups[:MOST_GROUPS]
    scale = max((one.share(kind).high for one in shown for kind in (BLOCKED, RELEASED) if one.kinds[kind]), default=0.0)
    if not scale and not any(one.changed for one in shown):
        return card(name, h("p", "Nothing changes.", class_="empty"))
    rows = []
    for one in shown:
        bars = [_whisker(one.share(kind), scale, kind) for kind in (BLOCKED, RELEASED) if one.kinds[kind]]
        figures = [
            h("span", f"{'+' if kind == BLOCKED else '−'}{number(one.kinds[kind])}", class_=f"n k{kind}")
            for kind in (BLOCKED, RELEASED)
            if one.kinds[kind]
        ]
        if one.kinds[OTHERWISE]:
            figures.append(h("span", f"{number(one.kinds[OTHERWISE])} otherwise", class_="n"))
        head = h("div", h("b", visible(titled(one.name), 60)), h("small", f"of {number(one.rows)}"), class_="who")
        rows.append(h("li", head, h("div", *figures, class_="figs"), *bars))
    more = f"; the {len(shown)} with most changes of {number(len(groups))}" if len(groups) > len(shown) else ""
    note = f"Share newly blocked (+) and newly released (−), with 95% intervals{more}"
    return card(name, h("ol", *rows, class_="whiskers"), note=note)


def _titled(threat: str) -> str:
    return "No threat type" if threat == "none" else threat_title(threat)


def _whisker(share: Share, scale: float, kind: int) -> Html:
    def at(value: float) -> str:
        return f"{100 * min(1.0, value / scale):.3f}%"

    told = f"{_WORDS[kind]}: {_interval(share)}"
    bar = h("i", class_=_CSS[kind], style=f"width:{at(share.share)}")
    reach = h("s", style=f"left:{at(share.low)};width:{100 * (share.high - share.low) / scale:.3f}%")
    return h("div", h("span", bar, reach, class_="track"), h("small", told), class_="whisker")


def _samples(findings: Findings, kind: int) -> Html | None:
    chosen = [change for change in findings.changes if change.kind == kind]
    if not chosen:
        return None
    total = findings.whole.kinds[kind]
    note = f"{number(len(chosen))} of {number(total)}, chosen at random" if total > len(chosen) else "All of them"
    return card(_WORDS[kind].capitalize(), h("div", *map(_change, chosen), class_="samples"), note=note)


def _change(change: Change) -> Html:
    one = change.sample
    p = "no p-value" if one.p_value is None else f"p {one.p_value:.2g}"
    session = ""
    if change.session_action[0] != change.session_action[1]:
        session = f" · session {change.session_action[0]} → {change.session_action[1]}".replace("_", " ")
    return h(
        "article",
        h(
            "p",
            _badge(one.action),
            " → ",
            _badge(change.action),
            h("span", f" {_titled(one.threat_type)} · {one.channel} · {p}{session}"),
        ),
        excerpted(one, f"{change.reason[:1].upper()}{change.reason[1:]}"),
    )


def _sources(findings: Findings) -> Html:
    policies = [
        h("li", h("code", visible(name, 60)), h("b", number(n))) for name, n in findings.recorded_policies.items()
    ]
    parts = [h("h3", "Policies in the verdicts"), h("ul", *policies, class_="counts")] if policies else []
    return card(
        "What was replayed",
        join(parts),
        files_read(findings.files),
        note="Rows by the version of the policy that decided them",
    )
