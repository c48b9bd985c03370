"""The page of a search for campaigns: no script, no outside reference, everything from the traffic escaped."""

from __future__ import annotations

from aimds.excerpts import size
from aimds.jobs.campaigns.findings import Draft, Family, Findings
from aimds.jobs.campaigns.map import HEIGHT, WIDTH, layout
from aimds.jobs.report import charts, frame
from aimds.jobs.report.charts import Series, number, percent
from aimds.jobs.report.elements import card, day, period, threat_ids, threat_title, tile
from aimds.jobs.report.markup import Child, Html, h, join
from aimds.printable import counted, visible

COLOURS = 7
"""Families with a colour of their own; the rest are drawn alike."""
LINKED = 0.22
"""Likeness of two medoids from which the map joins them with a line."""
_TEXT_BYTES = 420
_SHOWN_SKIPS = 50


def render(findings: Findings, *, title: str, engine_version: str) -> str:
    """The whole page; the same arguments give the same bytes."""
    return frame.document(
        title,
        _heading(findings, title),
        _headline(findings),
        _map(findings),
        _over_time(findings),
        *(_family(findings, place, one) for place, one in enumerate(findings.families)),
        _nothing(findings),
        _skipped(findings),
        frame.footer(
            "A family: texts whose mean likeness is at least "
            f"{findings.cut:g}: the share of words, and of letters, that need no edit. Spread: mean distance to the "
            "text most like the others. Drafts are installed nowhere.",
            f"Made by aimds {engine_version}. {frame.CALM}",
        ),
        styles=("report.css", "campaigns.css"),
    )


def _heading(findings: Findings, title: str) -> Html:
    files = f"{number(findings.files)} file" + ("s" if findings.files != 1 else "")
    firsts = [one.first for one in findings.families if one.first]
    lasts = [one.last for one in findings.families if one.last]
    when = f"{period(min(firsts), max(lasts))} · " if firsts and lasts else ""
    return frame.heading(title, f"{when}{files} · candidates: {findings.chosen_by}")


def _headline(findings: Findings) -> Html:
    lost = sum(skip.rows or 0 for skip in findings.skipped)
    shown = len(findings.families)
    of = (
        f"the {number(shown)} largest below"
        if shown < findings.n_families
        else f"{counted(findings.min_rows, 'row')} or more"
    )
    tiles = [
        tile("Rows read", number(findings.rows), "of the history"),
        tile("Candidates", number(findings.candidates), percent(findings.candidates, findings.rows), "a-flag"),
        tile("Different texts", number(findings.texts), "compared with each other"),
        tile("Families", number(findings.n_families), of, "a-block"),
        tile(
            "Rows in families",
            number(findings.in_families),
            f"{percent(findings.in_families, findings.candidates)} of them",
        ),
        tile("Widest reach", number(findings.tenants), "tenants hit by one family"),
    ]
    if findings.left_out:
        tiles.append(tile("Not compared", number(findings.left_out), "beyond --most-texts", "warn"))
    if findings.skipped:
        tiles.append(tile("Skipped", number(lost), "rows not readable", "warn"))
    return h("dl", *tiles, class_="tiles")


def _css(place: int) -> str:
    return f"t{place}" if place < COLOURS else "t-rest"


def _map(findings: Findings) -> Html | None:
    families = findings.families
    if len(families) < 2:
        return None
    circles = layout(findings.likeness, [one.rows for one in families])
    lines, shapes = [], []
    for i, one in enumerate(circles):
        for j in range(i + 1, len(circles)):
            alike = findings.likeness[i][j]
            if alike >= LINKED:
                other = circles[j]
                lines.append(
                    Html(
                        f'<line x1="{one.x}" y1="{one.y}" x2="{other.x}" y2="{other.y}" '
                        f'stroke-width="{0.8 + 6 * (alike - LINKED):.1f}"/>'
                    )
                )
    for place, (one, family) in enumerate(zip(circles, families, strict=True)):
        told = f"{place + 1}: {number(family.rows)} rows, {number(family.tenants)} tenants. {family.medoid or ''}"
        shape = Html(f'<circle class="{_css(place)}" cx="{one.x}" cy="{one.y}" r="{one.radius}"/>')
        size_ = max(8.0, min(17.0, one.radius * 0.8))
        word = (
            Html(f'<text x="{one.x}" y="{one.y}" font-size="{size_:.1f}">{place + 1}</text>')
            if one.radius >= 8
            else None
        )
        shapes.append(h("a", h("title", visible(told, 240)), shape, word, href=f"#{family.id}"))
    box = {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "role": "img", "aria_label": "Map of the families"}
    drawn = h("svg", h("g", *lines, class_="links"), *shapes, class_="map", **box)
    note = (
        "Near each other: worded alike. Area: rows. Line: medoids that share some wording. A circle leads to its family"
    )
    return card("Map", drawn, note=note)


def _over_time(findings: Findings) -> Html:
    found = findings.timeline
    if found is None:
        return card("Over time", h("p", "No candidate carries a time in the years 1 to 9999.", class_="empty"))
    families = findings.families
    series = [Series(f"family {k + 1}", _css(k), one.counts) for k, one in enumerate(families[:COLOURS])]
    rest = [one.counts for one in families[COLOURS:]]
    if rest:
        series.append(Series(f"{len(rest)} others", "t-rest", [sum(column) for column in zip(*rest, strict=True)]))
    drawn = charts.columns(series, found.labels, found.ticks, alt="Rows of families over time")
    volume = charts.columns(
        [Series("candidates", "a-allow", found.candidates)],
        found.labels,
        [],
        alt="All candidates over time",
        css="volume",
    )
    under = h("div", h("p", "All candidates", class_="sub"), volume)
    return card("Over time", charts.legend(series), drawn, under, note=f"Rows per {found.width}, UTC")


def _family(findings: Findings, place: int, one: Family) -> Html:
    figures = [
        _figure("rows", number(one.rows)),
        _figure("tenants", number(one.tenants) if one.tenants else "–"),
        _figure("sessions", number(one.sessions) if one.sessions else "–"),
        *([_figure("users", number(one.users))] if one.users else []),
        _figure("texts", number(one.texts)),
        _figure("wordings", number(one.wordings)),
        _figure("spread", f"{one.spread:.2f}"),
        *([_figure("rows a day", f"{one.per_day:,.1f}")] if one.per_day is not None else []),
    ]
    top = h(
        "header",
        h(
            "div",
            h("i", class_=f"key {_css(place)}"),
            h("h2", f"{place + 1} · {threat_title(one.threat)}"),
            class_="line",
        ),
        h("p", h("code", one.id), f" · {_when(one)}"),
        threat_ids(one.threat),
    )
    left = h("div", h("h3", "Most like the others"), _quote(one.medoid), class_="medoid")
    right = h("div", h("dl", *figures, class_="figures"), _spark(findings, place, one), _who(one))
    return h(
        "section",
        top,
        h("div", left, right, class_="pair"),
        _samples(one),
        _draft(one.draft, one.id),
        class_="card",
        id=one.id,
    )


def _figure(name: str, value: str) -> Html:
    return h("div", h("dt", name), h("dd", value))


def _when(one: Family) -> str:
    if one.first is None or one.last is None:
        return "no times"
    return f"{day(one.first)} UTC" if one.first == one.last else period(one.first, one.last)


def _spark(findings: Findings, place: int, one: Family) -> Html | None:
    found = findings.timeline
    if found is None or not sum(one.counts):
        return None
    top, n = max(one.counts), len(one.counts)
    slot = 260 / n
    bars = [
        Html(
            f'<rect class="{_css(place)}" x="{i * slot:.2f}" y="{44 - 42 * count / top:.2f}" width="{slot * 0.8:.2f}" '
            f'height="{42 * count / top:.2f}">{h("title", f"{found.labels[i]}: {number(count)}")}</rect>'
        )
        for i, count in enumerate(one.counts)
        if count
    ]
    base = Html('<line class="grid" x1="0" x2="260" y1="44" y2="44"/>')
    alt = f"Rows over time, at most {number(top)} per {found.width}"
    box = {"viewBox": "0 0 260 45", "preserveAspectRatio": "none", "role": "img", "aria_label": alt}
    return h(
        "div", h("svg", base, join(bars), class_="beat", **box), h("small", f"at most {number(top)} per {found.width}")
    )


def _who(one: Family) -> Html:
    def listing(counts: list[tuple[str, int]]) -> list[Html]:
        return [h("li", h("span", visible(name, 60)), h("b", number(n))) for name, n in counts]

    actions = [(name, n) for name, n in one.actions.items()]
    parts = listing(one.top_tenants) or [h("li", h("span", "no tenant ids"))]
    hidden = one.tenants - len(one.top_tenants)
    more = h("p", f"and {number(hidden)} more tenants", class_="empty") if hidden > 0 else None
    return h(
        "div", h("ul", *parts, class_="counts"), more, h("ul", *listing(actions), class_="counts"), class_="who-all"
    )


def _quote(text: str | None) -> Html:
    if text is None:
        return h("p", "Not shown: it could not be searched for personal data.", class_="empty")
    raw = text.encode("utf-8", "replace")
    shown = raw[:_TEXT_BYTES].decode("utf-8", "ignore")
    gap = h("span", f" … {size(len(raw) - len(shown.encode()))}", class_="gap") if len(raw) > _TEXT_BYTES else None
    return h("blockquote", shown, gap, dir="auto")


def _samples(one: Family) -> Html | None:
    rest = one.samples[1:]
    if not rest:
        return None
    rows = [
        h(
            "article",
            _quote(each.text),
            h("small", f"{number(each.rows)} rows · likeness to the first {each.closeness:.2f}"),
        )
        for each in rest
    ]
    summary = h("summary", f"Other wordings, {len(rest)} of {number(one.wordings - 1)}, nearest to farthest")
    return h("details", summary, h("div", *rows, class_="samples"))


def _draft(draft: Draft | None, name: str) -> Html:
    if draft is None:
        why = "No signature could be drafted: no stretch of words tells these texts from ordinary ones."
        return h("p", why, class_="empty")
    reach = f"finds {number(draft.reached)} of {number(draft.tried)} of its texts"
    spared = f", none of {number(draft.spared)} texts that were allowed" if draft.spared else ""
    patterns = [h("li", h("code", visible(pattern.text, 200)), h("small", pattern.lang)) for pattern in draft.patterns]
    n = len(patterns)
    heading = h("h3", f"Drafted signature: {n} pattern" + ("s" if n != 1 else ""))
    return h("div", heading, h("ul", *patterns), h("small", f"{reach}{spared}"), class_="draft")


def _nothing(findings: Findings) -> Html | None:
    if findings.families:
        return None
    if not findings.candidates:
        why = f"No row is a candidate ({findings.chosen_by})."
    else:
        tenants = f" and {findings.least_tenants} tenants" if findings.least_tenants > 1 else ""
        why = f"No texts are worded alike in {counted(findings.min_rows, 'row')}{tenants} or more."
    return card("Families", h("p", why, class_="empty"))


def _skipped(findings: Findings) -> Html | None:
    if not findings.skipped:
        return None
    rows: list[Child] = [
        h("tr", h("td", visible(skip.file, 120)), h("td", visible(skip.error, 200)))
        for skip in findings.skipped[:_SHOWN_SKIPS]
    ]
    rest = len(findings.skipped) - _SHOWN_SKIPS
    more = h("p", f"and {number(rest)} more", class_="empty") if rest > 0 else None
    return card("Skipped", h("table", *rows), more)
