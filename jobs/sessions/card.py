"""The card of the session model: what it was made from, what it finds, and what the data cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimds.jobs.sessions.evaluation import RATES


def render(card: Mapping[str, Any], report: Mapping[str, Any], model_version: str) -> str:
    """The card as Markdown."""
    scale = card["calibration"]
    shares = ", ".join(f"{name} {share:g}" for name, share in card["shares"].items())
    settings = ", ".join(f"{name} {value}" for name, value in card["settings"].items())
    lines = [
        "# Card of the session model",
        "",
        f"Benign tails by number of turns and the scale of the session score, version {model_version}. Made by",
        f"`python -m aimds.jobs.sessions` of version {card['engine']} over the scores of model {card['turn_model']}.",
        f"Settings: {settings}. Weights: {shares}.",
        f"SHA-256 of the texts: `{card['texts'][:16]}…`. Simulator: format {card['simulator']}.",
        "",
        "| benign sessions of | sessions | licence |",
        "|---|---|---|",
        *(f"| {name} | {count:,} | {card['licenses'][name]} |" for name, count in card["benign"].items()),
        "",
        "The simulator was frozen before the detector was written. Half of the benign sessions behind each tail are",
        "simulated, half are turns of these sources; sessions longer",
        "than those at hand are several of one source strung together. Attacks enter in two numbers only, slope",
        f"{scale['slope']:.3f} and intercept {scale['intercept']:.3f} of the score at a prevalence of",
        f"{scale['prevalence']:g}, fitted on pairs of one family of sources (attacks, benign: "
        + ("; ".join(f"{name} {a:,}, {b:,}" for name, (a, b) in card["pairs"].items()) or "none")
        + "), judged by",
        "tails that never saw it, and on simulated sessions.",
        "",
        "## Found at the same rate of false alarms",
        "",
        "Each method has its threshold from the benign sessions of the set itself. In %, with the 95 % Clopper–Pearson",
        "interval of the share found; the threshold's own uncertainty is not in it, and is large where there are few",
        "benign sessions: with fewer than 100, “at 1 %” means above all of them. Texts in turns were cut by words.",
        "",
        "| set | attacks | benign | method | " + " | ".join(f"at {rate:.0%}" for rate in RATES) + " |",
        "|---|---|---|---|" + "---|" * len(RATES),
    ]
    for row in report["sets"]:
        found = [_interval(row[f"at {rate:g}"]) for rate in RATES]
        cells = (row["set"], f"{row['attacks']:,}", f"{row['benign']:,}", row["method"], *found)
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Share of sessions with p ≤ 0.01, in %:", "", "| sessions | share |", "|---|---|"]
    lines += [f"| {name} | {100 * share:.2f} |" for name, share in report["at p <= 0.01"].items()]
    lines += [
        "",
        "## What this does not show",
        "",
        "- The model that scores turns has seen some of the turns of these sessions in its training, so they score",
        "  lower when benign and higher when not than those of new traffic. All methods are given the same scores.",
        "- Real pairs of one family are short, two to seven turns of input. That pushes over many turns are found is",
        "  shown on the simulation alone, which is as true as its assumptions.",
        "- A rate of 0.1 % cannot be resolved with so few benign sessions; nothing is claimed there.",
        "- A session that is looked at after each turn raises an alarm more often than one that is looked at once: see",
        "  the rows “at any turn”, judged without what the texts show.",
        "- A session of red-team questions without a benign one of the same source (hh-rlhf) is in no comparison.",
    ]
    return "\n".join(lines) + "\n"


def _interval(found: list[float]) -> str:
    share, low, high = (100 * value for value in found)
    return f"{share:.1f} ({low:.1f}–{high:.1f})"
