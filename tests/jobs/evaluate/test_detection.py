"""Evaluation: thresholds that keep what they promise, and figures a plain recount gives too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.texts import Texts
from aimds.errors import ConfigError
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate import Judged, evaluate, threshold_at


def judged(name: str, label: list[int], danger: list[float], threat: list[str] | None = None) -> Judged:
    n = len(label)
    threats = threat or ["jailbreak" if value else "none" for value in label]
    texts = Texts(np.zeros(0, np.uint8), np.zeros(n + 1, np.int64), np.ones(n, np.bool_))
    corpus = Corpus(
        name,
        texts,
        np.array(label, np.int8),
        np.array(threats, object),
        np.array(["s"] * n, object),
        np.array(threats, object),
        np.zeros(n, np.int8),
        {},
    )
    scores = np.array(danger)
    action = np.where(scores > 3, "block", np.where(scores > 2, "flag", "allow")).astype(object)
    return Judged(corpus, scores, scores / 10, action, 0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300), st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_a_threshold_never_lets_more_than_its_rate_of_benign_text_above(scores: list[float], rate: float) -> None:
    values = np.array(scores)
    threshold = threshold_at(values, rate)
    assert np.mean(values > threshold) <= rate
    below = values[values < threshold]
    if len(below):
        assert np.mean(values > below.max()) > rate or np.mean(values >= threshold) > rate


def test_rates_equal_a_recount() -> None:
    clean = judged("clean_dev", [0] * 100, [number / 100 for number in range(100)])
    attacks = judged("attacks", [1] * 4 + [0], [0.5, 0.995, 2.5, 9.0, 1.5])
    result = evaluate([clean, attacks], reference="clean_dev", rates=[0.01], recalls=[])
    row = {(entry["file"], entry["group"]): entry for entry in result["rows"]}
    assert row["clean_dev", "benign"]["fpr 0.01"]["hits"] == 1
    assert row["attacks", "attack"]["fpr 0.01"]["hits"] == 3
    assert row["attacks", "attack"]["flag"]["hits"] == 2
    assert row["attacks", "attack"]["block"]["hits"] == 1
    assert row["attacks", "benign"]["fpr 0.01"]["rate"] == 1.0
    assert result["macro_detection"]["fpr 0.01"] == 0.75


def test_harmful_requests_are_judged_by_their_own_score() -> None:
    clean = judged("clean_dev", [0] * 100, [0.0] * 100)
    asks = judged("asks", [1, 1], [0.0, 5.0], ["harmful_request"] * 2)
    (row,) = [
        entry
        for entry in evaluate([clean, asks], reference="clean_dev", rates=[0.01], recalls=[])["rows"]
        if entry["file"] == "asks"
    ]
    assert row["group"] == "harmful_request"
    assert row["fpr 0.01"]["hits"] == 1


def test_the_threshold_for_a_recall_reaches_it_and_no_higher_one_does() -> None:
    clean = judged("clean_dev", [0] * 10, [0.0] * 10)
    attacks = judged("attacks", [1] * 10, [float(number) for number in range(10)])
    result = evaluate([clean, attacks], reference="clean_dev", rates=[0.1], recalls=[0.3])
    assert result["macro_detection"]["recall 0.3"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"reference": "nope"}, "reference = 'nope'"),
        ({"rates": [1.5]}, "rate = 1.5"),
        ({"reference": "attacks"}, "a file with benign rows"),
    ],
)
def test_bad_settings_are_named(change: dict[str, object], problem: str) -> None:
    clean = judged("clean_dev", [0], [0.0])
    attacks = judged("attacks", [1], [1.0])
    settings: dict[str, object] = {"reference": "clean_dev", "rates": [0.01], "recalls": []}
    with pytest.raises(ConfigError, match=problem):
        evaluate([clean, attacks], **(settings | change))  # type: ignore[arg-type]
