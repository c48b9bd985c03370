"""The card of a calibration as a page of Markdown: what it rests on, what may be claimed, and what may not."""

from __future__ import annotations

from typing import Any

from aimds.learn.bounds import in_short
from aimds.printable import counted

LIMITS = """\
- The bounds hold for traffic like the rows that were judged. Another tenant, a new product or another season is other
  traffic: calibrate again.
- Every alarm on the rows held back counts as false. Attacks among them make the bounds larger than they need be.
- Each bound holds by itself at its confidence. Of many groups one in twenty may well lie above its own.
- Each different text counts once, so the rates are those of texts, not of requests. Turns of one conversation resemble
  each other, so that many rows of few conversations say less than their number.
- A group whose threshold is not claimed is judged by the larger of two p-values, its own and that of wider traffic: it
  raises fewer alarms than the threshold would allow rather than more, and may miss what finer tails would show.
- The calibration belongs to one model, one profile and, in cascade, one gray zone. It does not move the score's
  probability, nor the patterns.
"""


def statement(at: dict[str, Any], confidence: float) -> str:
    """One threshold in a sentence: alarms, rate, interval, bound; "about 3 / n" where there was no alarm in many."""
    after = at["after"]
    if not after["n"]:
        return "no row was held back here, so nothing can be said"
    return (
        f"{after['hits']:,} alarms in {after['n']:,} rows held back, {_percent(after['rate'])} "
        f"({_percent(after['low'])}–{_percent(after['high'])}); the rate of false alarms is at most "
        f"{_percent(after['bound'])} at {confidence:.0%} confidence{in_short(after['hits'], after['n'])}"
    )


def support(line: dict[str, Any], at: dict[str, Any]) -> str:
    """Whose tails decide at a threshold: the group's ``own``, ``shared`` ones of a wider group, both with the texts to
    claim it, or ``pooled`` ones, without."""
    if not at["claimed"]:
        return "pooled"
    return "own" if line["judged_by"] in (line["name"], "") else "shared"


def need(card: dict[str, Any]) -> str:
    """From how many texts on a threshold can be claimed, and what is done below."""
    flag, block = card["total"]["flag"], card["total"]["block"]
    channels = "; ".join(
        f"{channel}: " + ", ".join(f"{stage} {share:.3g}" for stage, share in spending.items())
        for channel, spending in card["shares"].items()
    )
    return (
        "A group can claim a threshold where each stage has 10 / (alpha · share) texts, share being the part of the "
        f"threshold that it may spend ({channels}): {flag['needed']:,} are enough for every one at {flag['alpha']:g}, "
        f"{block['needed']:,} at {block['alpha']:g}. shared: the tails are "
        "right for the wider group as a whole, while this one's rate is the one in its row. pooled: too few texts, so "
        "a text counts as rare only where it is by these tails and by those of wider traffic, at last the shipped ones."
    )


def setting(card: dict[str, Any]) -> str:
    """The profile it was made in, with the gray zone where it matters."""
    return f"cascade, gray zone from p = {card['gray']:g}" if card["profile"] == "cascade" else str(card["profile"])


def render(card: dict[str, Any]) -> str:
    """``card`` of a calibration (`aimds.jobs.calibrate`) as Markdown."""
    rows, config, total = card["rows"], card["config"], card["total"]
    lines = [
        "# Card of a calibration",
        "",
        f"Made by `aimds calibrate` of version {card['engine']} for model `{card['model']}` in profile "
        f"{setting(card)}, signatures `{card['signatures']}`, from {rows['read']:,} rows of {card['files']} files "
        f"({rows['there']:,} rows there), {rows['different']:,} different texts: {card['channels']['trusted']:,} of "
        f"users and the system, {card['channels']['untrusted']:,} of tools and documents. Tails are fitted to "
        f"{total['fitted']:,} texts and judged on {total['judged']:,} others, dealt out by seed {config['seed']}.",
    ]
    if rows["not_judged"]:
        lines.append(f"{counted(rows['not_judged'], 'text')} could not be judged: in neither part.")
    if card["trimmed"]:
        lines += [
            "",
            f"The {card['trimmed']:,} texts that the shipped tails found the rarest ({_percent(config['trim'])}) were "
            "kept out of the fit, taken for attacks. Had they been benign, the rate of false alarms would be that of "
            "all rows below; without them it is the one in brackets.",
        ]
    suspects = card["suspects"]
    lines += [
        "",
        f"{suspects['rows']:,} texts ({_percent(suspects['share'])}) have a p-value of at most {suspects['at']:g} by "
        "the shipped tails.",
        "",
        "## What may be claimed",
        "",
    ]
    for name in ("flag", "block"):
        at = total[name]
        lines.append(f"- {name}, p ≤ {at['alpha']:g}: {statement(at, card['confidence'])}.")
        if "after_without_trimmed" in at:
            kept = at["after_without_trimmed"]
            lines.append(
                f"  (Without the trimmed {kept['hits']:,} of {kept['n']:,}, at most {_percent(kept['bound'])}.)"
            )
    lines += [
        "",
        need(card),
        "",
        "## By channel and script",
        "",
        "| group | fitted to | tails of | texts behind them | flag | block | judged "
        "| flag: alarms before → after (at most) | block: alarms before → after (at most) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in (*card["groups"], total):
        cells = [line["name"], f"{line['fitted']:,}", line["judged_by"] or "–", f"{line['behind']:,}"]
        cells += [support(line, line[name]) for name in ("flag", "block")]
        cells.append(f"{line['judged']:,}")
        cells += [moved(line[name]) for name in ("flag", "block")]
        lines.append("| " + " | ".join(cells) + " |")
    if card["as_shipped"]:
        lines += [
            "",
            f"Left as shipped, since profile {card['profile']} does not run them: {', '.join(card['as_shipped'])}.",
        ]
    return "\n".join([*lines, "", "## Limits", "", LIMITS])


def moved(at: dict[str, Any]) -> str:
    """Alarms before and after, with the rate and its bound."""
    before, after = at["before"], at["after"]
    if not after["n"]:
        return "–"
    return f"{before['hits']:,} → {after['hits']:,}, {_percent(after['rate'])} ({_percent(after['bound'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
