"""Out-of-fold figures as the model card holds them, old and new."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aimds.detect.classifier import Classifier
from aimds.errors import ArtefactError, DataError
from aimds.jobs.evaluate import card


def test_the_shipped_model_says_what_its_training_measured() -> None:
    report = card.out_of_fold()
    sources, found = card.mean_detection(report["macro"])
    assert sources > 0
    assert report["sources"]
    assert isinstance(report["ablation"], list)
    assert 0 < found["fast"]["0.01"] < 1


def test_a_mean_is_of_what_the_encoder_judged_or_of_all_without_it() -> None:
    every = {"sources": 18, "fast": {"0.01": 0.75}}
    judged = {"sources": 5, "detection": {"fast": {"0.01": 0.5}, "full": {"0.01": 1.0}}, "all": every}
    assert card.mean_detection(judged) == (5, judged["detection"])
    assert card.mean_detection({"sources": 0, "detection": {}, "all": every}) == (18, {"fast": {"0.01": 0.75}})
    assert card.mean_detection({"sources": 3, "detection": {"0.01": 0.5}}) == (3, {"fast": {"0.01": 0.5}})
    assert card.mean_detection({}) == (0, {})


def test_rates_are_read_with_and_without_profiles() -> None:
    old = {"source": "a", "n": 3, "label": 1, "0.01": 0.5, "0.001": 0.25}
    new = {"source": "a", "n": 3, "label": 1, "fast": {"0.01": 0.5}, "full": {"0.01": 0.75}}
    assert card.profiles(old) == {"fast": {"0.01": 0.5, "0.001": 0.25}}
    assert card.profiles(new) == {"fast": {"0.01": 0.5}, "full": {"0.01": 0.75}}


def test_the_share_over_all_rows_is_no_profile_and_stands_in_where_the_encoder_judged_none() -> None:
    whole = {"fast": {"0.01": 0.75, "0.001": 0.5}}
    part = {"source": "a", "label": 1, "n": 8, "judged": 4, "all": whole, "fast": {"0.01": 0.5}, "full": {"0.01": 1.0}}
    none = {"source": "b", "label": 1, "n": 8, "judged": 0, "all": whole}
    assert card.profiles(part) == {"fast": {"0.01": 0.5}, "full": {"0.01": 1.0}}
    assert card.profiles(none) == whole
    assert [card.size(row) for row in (part, none, {"n": 3})] == [4, 8, 3]


def loads(monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]) -> None:
    monkeypatch.setattr(Classifier, "load", lambda path=None: SimpleNamespace(card=content))


def test_an_ablation_is_found_beside_the_report_or_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [{"stages": "classifier", "detection": {"0.01": 0.5}}]
    report: dict[str, Any] = {"macro": {}, "sources": []}
    loads(monkeypatch, {"out_of_fold": report, "ablation": steps})
    assert card.out_of_fold()["ablation"] == steps
    loads(monkeypatch, {"out_of_fold": {**report, "ablation": steps}})
    assert card.out_of_fold()["ablation"] == steps
    loads(monkeypatch, {"out_of_fold": report})
    assert card.out_of_fold()["ablation"] == []


def test_a_card_without_figures_and_a_folder_without_a_model_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ArtefactError, match="no such model file"):
        card.out_of_fold(tmp_path)
    loads(monkeypatch, {"rows": 3})
    with pytest.raises(DataError, match="holds no out-of-fold figures"):
        card.out_of_fold(tmp_path)
