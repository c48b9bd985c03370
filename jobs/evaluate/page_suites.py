"""The cards of the evaluation page on the suites: disguises, teaching, evidence removed, personal data, throughput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimds.jobs.evaluate import plots
from aimds.jobs.evaluate.plots import Share
from aimds.jobs.evaluate.shortfalls import KEPT, NOMINAL
from aimds.jobs.pii_evaluation import ANY
from aimds.jobs.report import charts
from aimds.jobs.report.charts import number, percent
from aimds.jobs.report.elements import card
from aimds.jobs.report.markup import Html, h
from aimds.printable import visible

Row = Mapping[str, Any]

_GROUPS = {
    "encoding": "Encodings",
    "character": "Character tricks",
    "burying": "Buried in other text",
    "splitting": "Split over fields",
}
_STAGE_COLOURS = ("t0", "t1", "t2", "t3", "t4", "t5", "t6", "plain", "t-rest")


def robustness(result: Row) -> Html | None:
    """What disguises leave of the detection, and how often benign text in the same disguise is flagged."""
    rows = result.get("robustness") or []
    if not rows:
        return None
    at = rows[0].get("at", "")
    stricter = "fpr 0.001" if at != "fpr 0.001" and "fpr 0.001" in (rows[0].get("columns") or {}) else ""
    names = [("kept", "k-0"), *([("at 0.1 %", "k-4")] if stricter else []), ("benign", "k-flag")]
    alarms = [plots.share("benign text flagged", "k-flag", row.get("benign")) for row in rows]
    top = plots.ceiling(alarms)
    scale = h("div", plots.axis(), plots.axis(top), class_="two")
    parts = [plots.keys([("of the detection kept", "k-0"), ("benign text flagged in the same disguise", "k-flag")])]
    for group in dict.fromkeys(row["group"] for row in rows):
        lines = []
        for row, alarm in zip(rows, alarms, strict=True):
            if row["group"] != group:
                continue
            shares = [plots.share("kept", "k-0", row["kept"])]
            if stricter:
                shares.append(plots.share("kept at 0.1 %", "k-4", row["columns"][stricter]["kept"]))
            drawn = plots.bar(shares[0], marks=(KEPT,)), plots.whiskers([alarm], top, (NOMINAL["flag"],))
            remark = f"{number(row['n'])} attacks, {number(row['plain'])} found as plain text"
            lines.append((row["name"], remark, h("div", *drawn, class_="two"), [*shares, alarm]))
        parts.append(h("h3", _GROUPS.get(group, group)))
        parts.append(plots.rows(names, lines, scale))
    note = "Share of the attacks found as plain text that is found in disguise too"
    if at.startswith("fpr "):
        note += f", at a true {plots.rounded(float(at.removeprefix('fpr ')))} of false positives"
    note += f". Dashed lines: {plots.rounded(KEPT)} kept, {plots.rounded(NOMINAL['flag'])} of benign text"
    return card("Robustness", *parts, note=note, anchor="robustness")


def few_shot(result: Row) -> Html | None:
    """Detection of a source after none, some and many of its attacks were taught."""
    rows = result.get("fewshot") or []
    if not rows:
        return None
    steps = sorted({row["exemplars"] for row in rows})
    labels = [str(step) for step in steps]
    names = [
        (key, name, css)
        for key, name, css in (("fpr 0.01", "at 1 %", "k-0"), ("fpr 0.001", "at 0.1 %", "k-4"))
        if key in rows[0]
    ]
    panels = []
    for source in dict.fromkeys(row["source"] for row in rows):
        mine = {row["exemplars"]: row for row in rows if row["source"] == source}
        lines = [
            [plots.share(f"{name}, {step} exemplars", css, mine.get(step, {}).get(key)) for step in steps]
            for key, name, css in names
        ]
        last = mine[max(mine)]
        told = [f"{number(last['n'])} attacks"]
        if (last.get("benign") or {}).get("n"):
            told.append(
                f"benign flagged {' → '.join(percent(mine[s]['benign']['rate'], 1.0) for s in (min(mine), max(mine)))}"
            )
        if last.get("seconds") is not None:
            told.append(f"learnt in {last['seconds']:.2g} s")
        drawn = plots.curve(lines, labels, alt=f"Detection of {visible(source, 60)} by number of exemplars")
        panels.append(h("div", h("h3", source), drawn, h("p", " · ".join(told), class_="aside")))
    key = plots.keys([(f"found {name} of false positives", css) for _, name, css in names])
    note = (
        "Detection in percent of a source that training left out, after 0 and more confirmed attacks of it were taught"
    )
    return card("Learning from a few examples", key, h("div", *panels, class_="panels"), note=note, anchor="few-shot")


def removal(result: Row) -> Html | None:
    """Whether the evidence carries the verdict: what happens to the score when the evidence is cut out of the text."""
    found = result.get("removal")
    if not found or not found["n"]:
        return None
    names = [("score falls", "k-0"), ("below flag", "k-2")]
    lines = []
    for words, part in (
        ("All evidence cut out", found),
        ("The strongest stage's evidence cut out", found.get("strongest")),
        ("As much cut out elsewhere, for comparison", found.get("control")),
    ):
        if part:
            keyed = zip(names, ("score_falls", "below_flag"), strict=True)
            shares = [plots.share(name, css, part[key]) for (name, css), key in keyed]
            lines.append((words, f"{number(shares[0].n)} texts", plots.whiskers(shares), shares))
    whole = plots.share("", "", found.get("covered"))
    aside = (
        f"Of {whole.said} of these texts, nearly all is evidence; they have no other text to cut." if whole.n else None
    )
    note = "Flagged attacks, screened again without the bytes that their evidence names; below flag: no longer flagged"
    told = h("p", aside, class_="aside") if aside else None
    return card("Evidence removed", plots.rows(names, lines, plots.axis()), told, note=note, anchor="removal")


def personal_data(result: Row) -> Html | None:
    """Precision and recall by entity and source."""
    rows = result.get("pii") or []
    if not rows:
        return None
    names = [("recall", "k-0"), ("precision", "k-2")]
    parts = []
    for source in dict.fromkeys(row["source"] for row in rows):
        lines, apart = [], []
        parts.append(h("h3", source))
        for row in (row for row in rows if row["source"] == source):
            if row["entity"] == ANY:
                found = f"{number(row['texts'])} texts without labels: {number(row['predicted'])} spans found"
                parts.append(h("p", found, class_="aside"))
            elif not row.get("covered", True):
                apart.append(h("span", f"{row['entity']} {number(row['n'])}", class_="id"))
            else:
                shares = [
                    _measured(row, name, css, n) for (name, css), n in zip(names, ("n", "predicted"), strict=True)
                ]
                remark = f"{number(row['n'])} labelled, {number(row['predicted'])} found"
                lines.append((row["entity"], remark, plots.whiskers(shares), shares))
        if lines:
            parts.append(plots.rows(names, lines, plots.axis()))
        if apart:
            why = "Labelled there, but not covered: names, addresses and the like need a model"
            parts += [h("p", why, class_="aside"), h("div", *apart, class_="ids")]
    note = (
        "Recall: labels that a span of the same entity overlaps. Precision: spans that overlap any label; a source "
        "that leaves some of its data unlabelled makes it look worse than it is"
    )
    return card("Personal data and secrets", *parts, note=note, anchor="personal-data")


def _measured(row: Row, name: str, css: str, n: str) -> Share:
    rate = row[name]
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return plots.share(name, css, None if rate is None else {"rate": rate, "low": low, "high": high, "n": row[n]})


def throughput(result: Row) -> Html | None:
    """Rows a second by profile, and where the time goes."""
    rows = result.get("throughput") or []
    if not rows:
        return None
    stages = list(dict.fromkeys(stage for row in rows for stage in row["stages"]))
    css = {stage: _STAGE_COLOURS[min(place, len(_STAGE_COLOURS) - 1)] for place, stage in enumerate(stages)}
    lines = []
    for row in rows:
        total = sum(row["stages"].values())
        parts = [
            (f"{stage}, ns a text:", css[stage], round(1e9 * spent / row["rows"]))
            for stage, spent in row["stages"].items()
        ]
        told = f"{number(row['rows'])} texts"
        if row.get("deep_share") is not None:
            told += f", encoder on {percent(row['deep_share'], 1.0)}"
        figure = h(
            "div",
            h("b", f"{row['rows_per_s']:,.0f} texts/s"),
            h("small", f"{1e6 * total / row['rows']:,.0f} µs a text"),
            class_="figure",
        )
        bar = charts.split_bar(parts, sum(n for *_, n in parts))
        lines.append(h("li", h("div", h("b", row["profile"]), h("small", told), class_="name"), bar, figure))
    cells = []
    for stage in stages:
        per = [
            f"{row['profile']} {1e6 * row['stages'][stage] / row['rows']:,.1f}"
            for row in rows
            if stage in row["stages"]
        ]
        cells.append(h("div", h("dt", h("i", class_=f"key {css[stage]}"), stage), h("dd", " · ".join(per))))
    note = "Share of the time that each stage takes; below, µs a text by stage and profile"
    return card(
        "Throughput",
        h("ol", *lines, class_="bars-list speed"),
        h("dl", *cells, class_="versions stages"),
        note=note,
        anchor="throughput",
    )
