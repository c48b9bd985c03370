"""An evaluation as one HTML page: figures with intervals, plots, and where it falls short; no script, no connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimds.jobs.evaluate import page_detection, page_suites, plots
from aimds.jobs.evaluate.overdefence import ALL_OWN
from aimds.jobs.evaluate.shortfalls import shortfalls
from aimds.jobs.report import frame
from aimds.jobs.report.charts import number, percent
from aimds.jobs.report.elements import card, tile
from aimds.jobs.report.markup import Html, h, join
from aimds.printable import visible

Row = Mapping[str, Any]

STYLES = ("report.css", "evaluation.css")
SECTIONS = (
    page_detection.files,
    page_detection.sources,
    page_detection.false_positives,
    page_suites.robustness,
    page_detection.overdefence,
    page_suites.few_shot,
    page_suites.removal,
    page_suites.personal_data,
    page_suites.throughput,
    page_detection.ablation,
    page_detection.out_of_fold,
)


def render(result: dict[str, Any], *, title: str = "Evaluation") -> str:
    """The page of ``result``: what `aimds.jobs.evaluate` gave, suites included. Parts that are absent are left out.

    The same result gives the same bytes.
    """
    cards = [one for section in SECTIONS if (one := section(result)) is not None]
    versions = result.get("versions") or {}
    told = {"profile": result["profile"], **versions} if "profile" in result else versions
    under = " · ".join(f"{name} {visible(str(value), 80)}" for name, value in told.items())
    return frame.document(
        title,
        frame.heading(title, under or "no versions given"),
        _headline(result),
        _falls_short(result),
        *cards,
        frame.footer(
            "Rates with 95% Clopper–Pearson intervals. A figure for one set says little about another.",
            f"Made by aimds {visible(str(versions.get('engine', '')), 40)}. {frame.CALM}",
        ),
        styles=STYLES,
    )


def _headline(result: Row) -> Html:
    tiles = []
    for key, name, css in page_detection.columns(result):
        found = (result.get("macro_sources") or {}).get(key)
        if found:
            note = f"{plots.interval(found['low'], found['high'])}, mean of {found['sources']} sources"
            tiles.append(tile(f"Attacks {name}", percent(found["rate"], 1.0), note, f"tile-{css}"))
        elif key in (result.get("macro_detection") or {}):
            rate = result["macro_detection"][key]
            tiles.append(tile(f"Attacks {name}", percent(rate, 1.0), "mean of the files", f"tile-{css}"))
    reference = (result.get("reference") or {}).get("file")
    for row in result.get("rows") or []:
        if row.get("file") == reference and row.get("group") == "benign":
            for key, name in (("flag", "flagged"), ("block", "blocked")):
                if key in row:
                    clean = plots.share(name, "", row[key])
                    tiles.append(tile(f"Clean text {name}", clean.said, f"{clean.within}, {number(clean.n)} texts"))
    tiles += _of_suites(result)
    return h("dl", *tiles, class_="tiles") if tiles else join([])


def _of_suites(result: Row) -> list[Html]:
    tiles = []
    kept = [row["kept"]["rate"] for row in result.get("robustness") or [] if row["kept"]["n"]]
    if kept:
        note = f"mean of {len(kept)} disguises, lowest {percent(min(kept), 1.0)}"
        tiles.append(tile("Kept in disguise", percent(sum(kept) / len(kept), 1.0), note))
    # The row of all our own sets is the sum of rows that are there as well.
    harmless = [
        row["flag"] for row in result.get("overdefence") or [] if row["flag"]["n"] and row.get("set") != ALL_OWN
    ]
    if harmless:
        right, n = sum(flag["hits"] for flag in harmless), sum(flag["n"] for flag in harmless)
        tiles.append(tile("Harmless text left alone", percent(right, n), f"of {number(n)} with attack words"))
    tiles += [
        tile(f"Speed, {row['profile']}", f"{row['rows_per_s']:,.0f}", "texts a second")
        for row in result.get("throughput") or []
    ]
    return tiles


def _falls_short(result: Row) -> Html:
    items = [h("li", h("p", one.what), _places(one.where)) for one in shortfalls(result)]
    listed = h("ul", *items, class_="short") if items else h("p", "Nothing measured here falls short.", class_="empty")
    note = "Computed from the figures below; what was not measured cannot show here"
    return card("Where it falls short", listed, note=note, anchor="falls-short")


def _places(where: Sequence[str]) -> Html | None:
    if not where:
        return None
    shown, rest = where[:6], where[6:]
    chips = h("div", *(h("span", one, class_="id") for one in shown), class_="ids")
    if not rest:
        return chips
    more = h("div", *(h("span", one, class_="id") for one in rest), class_="ids")
    return join([chips, h("details", h("summary", f"and {len(rest)} more"), more)])
