"""The cards of the evaluation page on detection: files, sources, false positives, over-defence, sources left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aimds.jobs.evaluate import plots
from aimds.jobs.evaluate.card import mean_detection, profiles, size
from aimds.jobs.evaluate.plots import Share
from aimds.jobs.evaluate.shortfalls import NOMINAL, stage_name, title
from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.report.charts import number, percent
from aimds.jobs.report.elements import card
from aimds.jobs.report.markup import Html, h

Row = Mapping[str, Any]

_SHIPPED = {"flag": ("flagged", "k-flag"), "block": ("blocked", "k-block")}
_COLOURS = ("k-0", "k-4", "k-2", "k-3", "k-6", "k-1", "k-5")
_GROUPS = {"attack": "attacks", "harmful_request": "harmful requests", "benign": "benign texts"}


def columns(result: Row) -> list[tuple[str, str, str]]:
    """What rows are judged by: (key, title, class); first as shipped, then at the stated points."""
    shown = [(key, *_SHIPPED[key]) for key in _SHIPPED if any(key in row for row in result.get("rows") or [])]
    for place, key in enumerate(result.get("thresholds") or {}):
        kind, _, value = key.partition(" ")
        words = plots.rounded(float(value)) if value else key
        shown.append((key, f"at {words}" if kind == "fpr" else f"at {kind} {words}", _COLOURS[place % len(_COLOURS)]))
    return shown


def _shares(row: Row, shown: Sequence[tuple[str, str, str]]) -> list[Share]:
    return [plots.share(name, css, row.get(key)) for key, name, css in shown]


def _judged(rows: Sequence[Row], shown: Sequence[tuple[str, str, str]], top: float = 1.0) -> Html:
    lines = []
    for row in rows:
        remark = f"{number(row['n'])} {_GROUPS.get(row.get('group', ''), 'texts')}"
        found = _shares(row, shown)
        lines.append(
            (title(row), remark, plots.whiskers(found, top, tuple(NOMINAL.values()) if top < 1 else ()), found)
        )
    return plots.rows([(name, css) for _, name, css in shown], lines, plots.axis(top))


def _explained(result: Row) -> str:
    reference = result.get("reference") or {}
    words = "Flagged and blocked: at the shipped thresholds. "
    if reference:
        words += (
            f"At a stated share: at the threshold that passes just this share of the {number(reference['n'])} benign "
            f"texts of {reference['file']}. "
        )
    return words + "Whiskers and small figures: 95% Clopper–Pearson intervals"


def files(result: Row) -> Html | None:
    """Attacks found, by file."""
    rows = [row for row in result.get("rows") or [] if row.get("group") != "benign"]
    if not rows:
        return None
    shown = columns(result)
    note = _explained(result)
    if any(row.get("group") == "harmful_request" for row in rows):
        note += ". Harmful requests, a question of content policy, are judged by the harmful score"
    return card("Detection by file", _judged(rows, shown), note=note, anchor="files")


def sources(result: Row) -> Html | None:
    """Attacks found, by source, weakest first."""
    rows = [row for row in result.get("sources") or [] if row.get("group") == "attack"]
    if not rows:
        return None
    shown = columns(result)
    by = next((key for key, *_ in reversed(shown) if all(key in row for row in rows)), "")
    rows = sorted(rows, key=lambda row: (row[by]["rate"] if by else 0, title(row)))
    note = f"Attacks found, weakest source first. {_explained(result)}"
    return card("Detection by source", _judged(rows, shown), note=note, anchor="sources")


def false_positives(result: Row) -> Html | None:
    """Benign text flagged, by file and by source."""
    by_file, by_source = (
        [row for row in result.get(key) or [] if row.get("group") == "benign"] for key in ("rows", "sources")
    )
    if not by_file:
        return None
    shown = columns(result)
    top = plots.ceiling([share for row in by_file for share in _shares(row, shown)])
    parts: list[Html] = [_judged(by_file, shown, top)]
    if by_source:
        loudest = sorted(by_source, key=lambda row: (-row["flag"]["rate"] if "flag" in row else 0.0, title(row)))
        top = plots.ceiling([share for row in by_source for share in _shares(row, shown)])
        parts.append(h("details", h("summary", f"By source: {len(by_source)} sources"), _judged(loudest, shown, top)))
    note = (
        "Share of benign text, by file. Dashed lines: 0.1 % and 1 %, what the shipped thresholds are meant to pass. "
        "Whiskers that leave the plot are cut off; the figures are whole"
    )
    return card("False positives", *parts, note=note, anchor="false-positives")


def overdefence(result: Row) -> Html | None:
    """Harmless text full of trigger words, and how much of it was rightly left alone."""
    rows = result.get("overdefence") or []
    if not rows:
        return None
    names = {"flag": ("not flagged", "k-flag"), "block": ("not blocked", "k-block")}
    shown = [(key, *names[key]) for key in names if key in rows[0]]
    note = "Harmless text with the words of attacks in it: the share rightly left alone at the shipped thresholds"
    return card("Over-defence", _judged(rows, shown), note=note, anchor="over-defence")


def out_of_fold(result: Row) -> Html | None:
    """Every source judged by a model that never saw it."""
    found = result.get("out_of_fold") or {}
    rows = found.get("sources") or []
    if not rows:
        return None
    profile = next((name for name in ("cascade", "fast", "full") if any(name in row for row in rows)), "")
    names = [("at p ≤ 0.01", "k-0"), ("at p ≤ 0.001", "k-4")]
    parts: list[Html] = []
    for label, group, words in ((1, "attack", "Attacks found"), (0, "benign", "Benign text flagged")):
        chosen = [row for row in rows if row["label"] == label]
        told = [
            (row, [_recounted(row, profile, p, *name) for p, name in zip(("0.01", "0.001"), names, strict=True)])
            for row in chosen
        ]
        told.sort(key=lambda item: (item[1][0].rate if label else -item[1][0].rate, title(item[0])))
        top = 1.0 if label else plots.ceiling([share for _, shares in told for share in shares])
        lines = [
            (title(row), f"{number(size(row))} {_GROUPS[group]}{_other(row, profile)}", plots.whiskers(s, top), s)
            for row, s in told
        ]
        if lines:
            summary = h("summary", f"{words}: {len(lines)} sources")
            parts.append(h("details", summary, plots.rows(names, lines, plots.axis(top)), open=bool(label)))
    macro = found.get("macro") or {}
    means = [h("div", h("dt", name), h("dd", value)) for name, value in _means(macro)]
    note = "Every training source judged by a model and by pattern thresholds that never saw it or its family"
    note += f"; profile {profile}" if profile else ""
    return card("Sources left out", h("dl", *means, class_="versions means"), *parts, note=note, anchor="left-out")


def _recounted(row: Row, profile: str, p: str, name: str, css: str) -> Share:
    rates = profiles(row)
    share, n = rates.get(profile, rates["fast"])[p], size(row)
    low, high = clopper_pearson(round(share * n), n)
    return Share(name, css, share, low, high, n)


def _other(row: Row, profile: str) -> str:
    # The encoder judged none of these, so they stand as the profile without it finds them.
    return "" if not profile or profile in profiles(row) else ", profile fast"


def _means(macro: Row) -> list[tuple[str, str]]:
    out = []
    sources, detection = mean_detection(macro)
    alarms = profiles(macro.get("false_alarms") or {})
    for told, by_profile in ((f"found, mean of {sources} sources", detection), ("benign traffic flagged", alarms)):
        for profile, values in by_profile.items():
            said = ", ".join(f"{percent(value, 1)} at p ≤ {p}" for p, value in values.items())
            if said:
                out.append((f"{told} ({profile})" if profile else told, said))
    return out


def ablation(result: Row) -> Html | None:
    """What each stage adds, one after another."""
    steps = (result.get("out_of_fold") or {}).get("ablation") or []
    if not steps:
        return None
    rates = list(steps[0]["detection"])
    names = [(f"at {plots.rounded(float(rate))}", css) for rate, css in zip(rates, _COLOURS, strict=False)]
    lines = []
    for step in steps:
        shares = [
            plots.mean(name, css, step["detection"][rate]) for (name, css), rate in zip(names, rates, strict=True)
        ]
        bars = h("div", *(plots.bar(one) for one in shares))
        lines.append((stage_name(step), step.get("profile", ""), bars, shares))
    note = "Mean detection over sources left out of training, at true rates of false alarms, stage by stage"
    return card("What each stage adds", plots.rows(names, lines, plots.axis()), note=note, anchor="stages")
