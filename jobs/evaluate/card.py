"""What a training wrote into its model: figures on sources left out, and what each stage adds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aimds.detect.classifier import MODEL, Classifier
from aimds.detect.gray import PROFILES
from aimds.errors import DataError

DETAILS = ("macro", "sources", "ablation")
ALL = "all"
"""Beside the profiles of a row: ``fast`` over all rows, judged by the encoder or not."""


def out_of_fold(folder: Path | None = None) -> dict[str, Any]:
    """The out-of-fold part of a model card: ``macro``, ``sources``, and ``ablation`` (empty where the training measured
    none). Rates are keyed by profile and p-value as in `profiles`.

    Args:
        folder: a folder that `aimds train` wrote, instead of the shipped model.

    Raises:
        ArtefactError: no model there. DataError: its card holds no such figures.
    """
    card = Classifier.load(None if folder is None else folder / MODEL).card
    report = card.get("out_of_fold")
    if not isinstance(report, dict) or "macro" not in report or "sources" not in report:
        raise DataError(folder or MODEL, "its card holds no out-of-fold figures; train it again with `aimds train`")
    return {"ablation": card.get("ablation", []), **report}


def profiles(rates: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Profile → p-value → rate, out of a macro or a source row of a card; a model without an encoder has ``fast`` only,
    and its rates stand in the row itself. A source that the encoder did not judge has ``fast`` over all its rows."""
    nested = {name: value for name, value in rates.items() if name in PROFILES}
    if not nested and ALL in rates:
        nested = {name: value for name, value in rates[ALL].items() if name in PROFILES}
    return nested or {"fast": {name: value for name, value in rates.items() if name.startswith("0.")}}


def mean_detection(macro: Mapping[str, Any]) -> tuple[int, dict[str, dict[str, float]]]:
    """Number of sources, and the mean share of attacks found in them, profile → p-value → rate: those that the encoder
    judged, or ``fast`` over all where it judged none."""
    if macro.get("detection"):
        return int(macro.get("sources", 0)), profiles(macro["detection"])
    whole = macro.get(ALL, {})
    return int(whole.get("sources", 0)), {name: value for name, value in whole.items() if name in PROFILES}


def size(row: Mapping[str, Any]) -> int:
    """The rows that the rates of `profiles` are shares of: those that every profile judged, else all."""
    return int(row.get("judged") or row["n"])
