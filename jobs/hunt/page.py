"""The page of a hunt: no script, no outside reference, everything from the traffic escaped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from aimds.excerpts import EVIDENCE, GAP, Mark, excerpt
from aimds.jobs.hunt.findings import Findings, Found, Group, Holders, Sample
from aimds.jobs.report import charts, frame
from aimds.jobs.report.charts import Series, number, percent
from aimds.jobs.report.elements import card, day, period, threat_ids, threat_title, tile
from aimds.jobs.report.markup import Child, Html, h
from aimds.printable import counted, visible

_SHOWN_SKIPS = 50
_PER = 1_000_000
"""Rates are hits in so many rows."""


def render(findings: Findings, *, title: str, engine_version: str) -> str:
    """The whole page; the same arguments give the same bytes."""
    groups = [_holders(findings, "Tenants hit", findings.tenants, "tenant")]
    if findings.users is not None:
        groups.append(_holders(findings, "Users hit", findings.users, "user"))
    left = h("div", *groups, class_="stack")
    right = h("div", _places(findings), class_="stack")
    return frame.document(
        title,
        _heading(findings, title),
        _headline(findings),
        _over_time(findings),
        _sought(findings),
        h("div", left, right, class_="pair"),
        _sessions(findings),
        _samples(findings.samples, _folder(findings)),
        _unsearched(findings),
        frame.footer(
            "A hit is a row that holds one of the patterns or signatures. Score: for a pattern, how far within its "
            "threshold it came; for a signature, its own.",
            f"Made by aimds {engine_version}. {frame.CALM}",
        ),
    )


def _heading(findings: Findings, title: str) -> Html:
    files = counted(len(findings.files), "file")
    when = period(findings.begins, findings.ends) if findings.begins and findings.ends else "no times in these files"
    return frame.heading(title, f"{when} · {files}")


def _headline(findings: Findings) -> Html:
    none = "no hit with a time" if findings.rows_hit else "nothing was found"

    def seen(name: str, at: datetime | None) -> Html:
        return tile(name, f"{at.day} {at:%b}" if at else "–", f"{at:%Y, %H:%M} UTC" if at else none)

    tiles = [
        tile("Rows searched", number(findings.rows), _decoding(findings)),
        tile(
            "Rows hit",
            number(findings.rows_hit),
            percent(findings.rows_hit, findings.rows),
            "a-block" if findings.rows_hit else "",
        ),
        tile("Sessions hit", _count(findings.sessions), _per(findings, findings.sessions, "session")),
        tile("Tenants hit", _count(findings.tenants), _per(findings, findings.tenants, "tenant")),
    ]
    if findings.users is not None:
        tiles.append(tile("Users hit", _count(findings.users), _per(findings, findings.users, "user")))
    tiles += [seen("First seen", findings.first), seen("Last seen", findings.last)]
    lost = findings.unjudged + sum(skip.rows or 0 for skip in findings.skipped)
    unsearched = "skipped or not searchable" if lost or findings.skipped else "nothing was left out"
    tiles.append(tile("Not searched", number(lost), unsearched, "warn" if lost or findings.skipped else ""))
    return h("dl", *tiles, class_="tiles")


def _decoding(findings: Findings) -> str:
    return "as written and decoded" if findings.decoded else "as written only"


def _count(holders: Holders) -> str:
    return ("" if holders.exact else "over ") + number(holders.count)


def _per(findings: Findings, holders: Holders, name: str) -> str:
    if holders.count:
        return f"{findings.rows_hit / holders.count:.1f} rows each"
    return f"no {name} ids on them" if findings.rows_hit else "nothing was found"


def _over_time(findings: Findings) -> Html:
    found = findings.timeline
    if found is None:
        return card("Over time", h("p", "No row carries a time in the years 1 to 9999.", class_="empty"))
    rates = [round(_PER * part / whole) if whole else 0 for part, whole in zip(found.hit, found.rows, strict=True)]
    told = [
        f"{label}: {number(part)} of {number(whole)} rows, {percent(part, whole)}"
        for label, part, whole in zip(found.labels, found.hit, found.rows, strict=True)
    ]

    def panel(name: str, word: str, values: Sequence[int], labels: Sequence[str]) -> Html:
        series = [Series(word, "a-block", values)]
        drawn = charts.columns(series, labels, found.ticks, alt=f"{word} over time")
        return h("div", drawn, class_=f"panel p-{name}")

    # The style sheet knows two choices by these names.
    choice = [
        h("input", type="radio", name="by", id=f"by-{one}", checked=one == "action") for one in ("action", "threat")
    ]
    labels = [
        h("label", word, for_=f"by-{one}") for one, word in (("action", "rows hit"), ("threat", "hits per million"))
    ]
    outside = f"; {number(found.outside)} rows far outside this period" if found.outside else ""
    note = f"Rows with a hit per {found.width}, UTC{outside}"
    volume = charts.columns(
        [Series("rows", "a-allow", found.rows)], found.labels, [], alt="All rows over time", css="volume"
    )
    return h(
        "section",
        *choice,
        h("header", h("div", h("h2", "Over time"), h("p", note)), h("div", *labels, class_="tabs")),
        panel("action", "rows hit", found.hit, told),
        panel("threat", "hits per million rows", rates, told),
        h("div", h("p", "All rows", class_="sub"), volume),
        class_="card time",
    )


def _sought(findings: Findings) -> Html:
    scale = max((one.rows for one in findings.patterns), default=0)

    def row(one: Found) -> Html:
        reach = f"threshold {one.threshold:.2f}" if one.threshold is not None else "signature"
        name = h(
            "div",
            h("code", visible(one.id, 60)),
            h("small", visible(one.text, 200)),
            h("small", f"{threat_title(one.threat)} · {reach} · {_when(one) if one.rows else 'not met'}"),
            threat_ids(one.threat),
            class_="name",
        )
        bar = charts.split_bar([("rows", "plain", one.rows)], scale)
        figure = h("div", h("b", number(one.rows)), h("small", percent(one.rows, findings.rows)), class_="figure")
        return h("li", name, bar, figure)

    ordered = sorted(findings.patterns, key=lambda one: (-one.rows, one.id))
    note = "Rows that hold it, of all rows searched"
    return card("What was sought", h("ol", *map(row, ordered), class_="bars-list threats"), note=note)


def _nobody(findings: Findings, what: str) -> Html:
    why = f"No row hit carries a {what} id." if findings.rows_hit else "Nothing was found."
    return h("p", why, class_="empty")


def _holders(findings: Findings, name: str, holders: Holders, what: str) -> Html:
    if not holders.top:
        return card(name, _nobody(findings, what))
    scale = holders.top[0].rows
    rows = [
        h(
            "li",
            h("div", h("b", visible(one.name, 60)), h("small", _whose(one, what), _when(one)), class_="name"),
            charts.split_bar([("rows", "plain", one.rows)], scale),
            h("div", h("b", number(one.rows)), class_="figure"),
        )
        for one in holders.top
    ]
    more = f"; the {len(holders.top)} with most of {_count(holders)}" if holders.count > len(holders.top) else ""
    return card(name, h("ol", *rows, class_="bars-list patterns"), note=f"Rows hit{more}")


def _whose(one: Group, what: str) -> str:
    return f"{visible(one.tenant, 40)} · " if one.tenant and what != "tenant" else ""


def _when(met: Group | Found) -> str:
    if met.first is None or met.last is None:
        return "no times"
    return f"{day(met.first)} UTC" if met.first == met.last else period(met.first, met.last)


def _places(findings: Findings) -> Html:
    def listing(title: str, counts: dict[str, int]) -> Html:
        items = [h("li", h("span", name.replace("_", " ")), h("b", number(n))) for name, n in counts.items()]
        return h("div", h("h3", title), h("ul", *items, class_="counts"))

    if not findings.hits:
        return card("Where it stood", h("p", "Nothing was found.", class_="empty"))
    views = {"as written" if name == "text" else name: n for name, n in findings.views.items()}
    parts = [listing("Rows by channel", findings.channels), listing("Hits by what they were decoded from", views)]
    return card("Where it stood", *parts, note="Channels, and encodings in which it was hidden")


def _sessions(findings: Findings) -> Html:
    sessions = findings.sessions
    if not sessions.top:
        return card("Sessions hit", _nobody(findings, "session"))
    rows = [
        h(
            "tr",
            h("td", h("code", visible(one.name, 64))),
            h("td", visible(one.tenant or "", 40)),
            h("td", _when(one)),
            h("td", number(one.rows)),
        )
        for one in sessions.top
    ]
    more = f" The {len(sessions.top)} with most of {_count(sessions)}." if sessions.count > len(sessions.top) else ""
    return card("Sessions hit", h("table", *rows), note=f"Session, tenant, first to last hit, rows hit.{more}")


def _folder(findings: Findings) -> str:
    # What the paths of all files begin with: who reads the page need not know where they lay.
    names = [*(name for name, _ in findings.files), *(skip.file for skip in findings.skipped)]
    levels = zip(*(name.split("/")[:-1] for name in names), strict=False)
    return "".join(f"{level[0]}/" for level in itertools.takewhile(lambda level: len({*level}) == 1, levels))


def _samples(chosen: Sequence[Sample], folder: str) -> Html:
    if not chosen:
        return card("Sample evidence", h("p", "Nothing was found.", class_="empty"))
    key = h("p", h("mark", "hit", class_="ev"), " ", h("span", "U+200B", class_="hid"), class_="marks")
    note = "The strongest of each, no two with the same words. Asterisks stand for personal data and secrets"
    return card(
        "Sample evidence", key, h("div", *(_sample(one, folder) for one in chosen), class_="samples"), note=note
    )


def _sample(sample: Sample, folder: str) -> Html:
    view = f" · decoded from {sample.view.replace('_', ' ')}" if sample.view and sample.view != "text" else ""
    top = h(
        "p",
        h("code", visible(sample.pattern_id, 60)),
        h("span", f"{sample.channel} · score {sample.score:.3f} · bytes {sample.start}–{sample.end}{view}"),
    )
    where = [f"request {visible(sample.request_id, 48)}"]
    if sample.session_id:
        turn = f", turn {sample.turn}" if sample.turn is not None else ""
        where.append(f"session {visible(sample.session_id, 48)}{turn}")
    if sample.tenant:
        where.append(visible(sample.tenant, 40))
    if sample.ts:
        where.append(f"{day(sample.ts)} UTC")
    where.append(f"{visible(sample.file.removeprefix(folder), 80)}, row {number(sample.row)}")
    return h("article", top, _excerpt(sample), h("small", " · ".join(where)))


def _excerpt(sample: Sample) -> Html:
    if sample.excerpt is None or sample.excerpt_start is None:
        return h("p", "Excerpts were turned off.", class_="empty")
    at = sample.excerpt_start
    marks = [Mark(sample.start - at, sample.end - at, EVIDENCE, sample.pattern_id)]
    parts: list[Child] = [h("span", "… ", class_="gap")] if at else []
    for piece in excerpt(sample.excerpt.encode(), marks):
        if piece.kind == EVIDENCE:
            parts.append(h("mark", piece.text, class_="ev", title=piece.label))
        elif piece.kind == GAP:
            parts.append(h("span", f" … {piece.label} … ", class_="gap"))
        else:
            parts.append(piece.text)
    return h("blockquote", *parts, dir="auto")


def _unsearched(findings: Findings) -> Html:
    parts: list[Child] = []
    folder = _folder(findings)
    if findings.skipped:
        rows = []
        for skip in findings.skipped[:_SHOWN_SKIPS]:
            where = "the whole file"
            if skip.first_row is not None and skip.rows is not None:
                where = f"rows {number(skip.first_row)} to {number(skip.first_row + skip.rows - 1)}"
            name = visible(skip.file.removeprefix(folder), 120)
            rows.append(h("tr", h("td", name), h("td", visible(skip.error, 200)), h("td", where)))
        parts.append(h("table", *rows))
        if len(findings.skipped) > _SHOWN_SKIPS:
            parts.append(h("p", f"and {number(len(findings.skipped) - _SHOWN_SKIPS)} more", class_="empty"))
    if findings.unjudged:
        why = "rows were not searched: no text, too long a text, no readable record, or a stage broke on it"
        parts.append(h("p", f"{number(findings.unjudged)} {why}.", class_="empty"))
    if findings.partial:
        why = "rows hold more or larger encoded parts than are decoded; the rest was searched as written"
        parts.append(h("p", f"{number(findings.partial)} {why}.", class_="empty"))
    if not parts:
        parts.append(h("p", "Every row was searched in full.", class_="empty"))
    files = [
        h("li", h("span", visible(name.removeprefix(folder), 120)), h("b", number(n)))
        for name, n in findings.files[:200]
    ]
    more = h("li", f"and {number(len(findings.files) - 200)} more") if len(findings.files) > 200 else None
    summary = h("summary", f"Hits by file ({number(len(findings.files))})")
    parts.append(h("details", summary, h("ul", *files, more, class_="counts")))
    return card("Not searched", *parts)
