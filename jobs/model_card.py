"""The model card as a page of Markdown: what a model learnt from, how it did on sources left out, where it is weak."""

from __future__ import annotations

from typing import Any

from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.synthesis import OWN

LIMITS = """\
- Detection varies by source from nearly nothing to nearly everything (table below). A figure for one public set says
  little about another.
- Ordinary sentences planted in documents are told from the text around them only where they read like instructions.
- Languages other than English rest on few attacks: the training attacks are mostly English.
- Role-play and long persona prompts without attack wording are close to benign role-play; the model leans to silence.
- `harmful_request` is content policy, learnt from few sources, and is reported apart from manipulation.
- Labels of public sets are noisy; texts arguable to a person are arguable here.
- The score is a probability at the prevalence it was calibrated for; its order and the p-value hold at any.
"""


def render(card: dict[str, Any]) -> str:
    """``card`` of a trained model (`aimds.jobs.train`) as Markdown."""
    config, report = card["config"], card["out_of_fold"]
    macro = report["macro"]
    public = [name for name in card["sources"] if not name.startswith(OWN)]
    own = sum(count for name, count in card["sources"].items() if name.startswith(OWN))
    settings = ", ".join(f"{name} {value:g}" for name, value in config.items())
    lines = [
        "# Model card",
        "",
        "Linear heads over hashed character 3–5-grams and word 1–2-grams, squared hinge loss, and the benign tails of",
        f"all stages. Trained by `aimds train` of version {card['engine']} on {card['rows']:,} texts,",
        f"{card['attacks']:,} of them attacks: {len(public)} public sources, and {own:,} texts from the project's",
        f"own patterns. SHA-256 of the texts `{card['data_sha256'][:16]}…`. Settings: {settings}.",
        "",
        "Intended for: screening text that goes to or comes from a language model. Not for: judging people, or as the",
        "only guard in front of a tool that can do harm.",
        "",
        "## Out of fold",
        "",
        "Every source is judged by a model and by pattern thresholds that never saw it or its family. Mean over",
        f"the {macro['sources']} sources with at least 50 attacks: {_percent(macro['detection'], '0.01')} detected",
        f"at p ≤ 0.01, {_percent(macro['detection'], '0.001')} at p ≤ 0.001. Weighted benign traffic flagged:",
        f"{_percent(macro['false_alarms'], '0.01')} and {_percent(macro['false_alarms'], '0.001')}. The benign tails",
        "and the calibration of the score are fitted to these same out-of-fold scores, so those two shares say how",
        "well the tails fit and forecast nothing. Signatures and patterns were written with some of these sources in",
        "view, so their share of the detection is not held out. Sources named as composed or encoded are made from",
        "other sources of the table.",
        "",
        "| source | label | n | p ≤ 0.01, % (95% interval) | p ≤ 0.001, % |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(report["sources"], key=lambda row: (-row["label"], row["source"])):
        low, high = clopper_pearson(round(row["0.01"] * row["n"]), row["n"])
        lines.append(
            f"| {row['source']} | {'attack' if row['label'] else 'benign'} | {row['n']:,} "
            f"| {100 * row['0.01']:.1f} ({100 * low:.1f}–{100 * high:.1f}) | {100 * row['0.001']:.1f} |"
        )
    lines += [
        "",
        "## Limits",
        "",
        LIMITS,
        "## Sources and licences",
        "",
        "| source | texts | licence |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {count:,} | {card['licences'].get(name, '')} |" for name, count in card["sources"].items()]
    return "\n".join(lines) + "\n"


def _percent(rates: dict[str, float], p: str) -> str:
    return f"{100 * rates[p]:.2f} %" if p in rates else "not measured"
