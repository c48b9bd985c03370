"""The suite files: figures a plain recount gives too, by file and by source, and means with intervals."""

from typing import Any

import numpy as np
import pytest

from aimds.detect.texts import Texts
from aimds.errors import ConfigError, DataError
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate.detection import macro, operating_points, suite, thresholds
from aimds.jobs.evaluate.judging import Judged, Outcomes


def judged(
    name: str,
    label: list[int],
    danger: list[float],
    threat: list[str] | None = None,
    source: list[str] | None = None,
) -> Judged:
    n = len(label)
    threats = np.array(threat or ["jailbreak" if value else "none" for value in label], object)
    texts = Texts(np.zeros(0, np.uint8), np.zeros(n + 1, np.int64), np.ones(n, np.bool_))
    sources = np.array(source or ["s"] * n, object)
    corpus = Corpus(name, texts, np.array(label, np.int8), threats, sources, threats, np.zeros(n, np.int8), {})
    scores = np.array(danger)
    action = np.where(scores > 3, "block", np.where(scores > 2, "flag", "allow")).astype(object)
    return Judged(corpus, Outcomes(scores, scores / 10, action, 0))


def evaluated(items: list[Judged], rates: list[float], recalls: list[float] | None = None) -> dict[str, Any]:
    points = operating_points(items, reference="clean_dev", rates=rates, recalls=recalls or [])
    return suite(items, points) | thresholds(items, points, reference="clean_dev")


CLEAN = judged("clean_dev", [0] * 100, [number / 100 for number in range(100)])


def test_rates_equal_a_recount() -> None:
    attacks = judged("attacks", [1] * 4 + [0], [0.5, 0.995, 2.5, 9.0, 1.5])
    result = evaluated([CLEAN, attacks], [0.01])
    row = {(entry["file"], entry["group"]): entry for entry in result["rows"]}
    assert row["clean_dev", "benign"]["fpr 0.01"]["hits"] == 1
    assert row["attacks", "attack"]["fpr 0.01"]["hits"] == 3
    assert row["attacks", "attack"]["flag"]["hits"] == 2
    assert row["attacks", "attack"]["block"]["hits"] == 1
    assert row["attacks", "benign"]["fpr 0.01"]["rate"] == 1.0
    assert result["macro_detection"]["fpr 0.01"] == 0.75
    assert result["reference"] == {"file": "clean_dev", "n": 100}
    assert result["thresholds"]["fpr 0.01"]["minus_log10_p"] == pytest.approx(0.98)


def test_sources_of_a_file_stand_apart_and_add_up_to_it() -> None:
    attacks = judged("attacks", [1, 1, 1, 0], [0.5, 2.5, 9.0, 1.5], source=["a", "a", "b", "b"])
    result = evaluated([CLEAN, attacks], [0.01])
    rows = {(row["source"], row["group"]): row for row in result["sources"] if row["file"] == "attacks"}
    assert {key: row["n"] for key, row in rows.items()} == {("a", "attack"): 2, ("b", "attack"): 1, ("b", "benign"): 1}
    assert rows["a", "attack"]["fpr 0.01"]["hits"] == 1
    (whole,) = [row for row in result["rows"] if (row["file"], row["group"]) == ("attacks", "attack")]
    for column in ("flag", "block", "fpr 0.01"):
        parts = [row[column]["hits"] for key, row in rows.items() if key[1] == "attack"]
        assert sum(parts) == whole[column]["hits"]


def test_the_mean_over_sources_leaves_small_ones_out_and_joins_a_source_in_two_files() -> None:
    first = judged("one", [1] * 30, [9.0] * 15 + [0.0] * 15, source=["big"] * 15 + ["split"] * 15)
    second = judged("two", [1] * 25, [9.0] * 20 + [0.0] * 5, source=["split"] * 10 + ["big"] * 10 + ["tiny"] * 5)
    mean = evaluated([CLEAN, first, second], [0.01])["macro_sources"]["block"]
    assert mean["sources"] == 2
    assert mean["rate"] == pytest.approx((25 / 25 + 10 / 25) / 2)
    assert mean["low"] < mean["rate"] < mean["high"]


def test_the_bootstrap_follows_its_seed_and_narrows_with_more_rows() -> None:
    def rows(n: int) -> list[dict[str, Any]]:
        return [{"source": name, "group": "attack", "n": n, "flag": {"hits": n // 2}} for name in ("a", "b", "c")]

    small, large = macro(rows(20), ["flag"], 1)["flag"], macro(rows(2000), ["flag"], 1)["flag"]
    assert macro(rows(20), ["flag"], 1)["flag"] == small
    assert macro(rows(2000), ["flag"], 2)["flag"] != large
    # Three sources of n rows at one half: the standard error of their mean is 0.5 / sqrt(3 n).
    assert small["high"] - small["low"] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(60), rel=0.1)
    assert large["high"] - large["low"] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(6000), rel=0.1)


def test_without_large_sources_there_is_no_mean_over_them() -> None:
    result = evaluated([CLEAN, judged("attacks", [1] * 5, [9.0] * 5)], [0.01])
    assert result["macro_sources"] == {}
    assert result["macro_detection"]["block"] == 1.0


def test_harmful_requests_are_judged_by_their_own_score() -> None:
    clean = judged("clean_dev", [0] * 100, [0.0] * 100)
    asks = judged("asks", [1, 1], [0.0, 5.0], ["harmful_request"] * 2)
    (row,) = [entry for entry in evaluated([clean, asks], [0.01])["rows"] if entry["file"] == "asks"]
    assert row["group"] == "harmful_request"
    assert row["fpr 0.01"]["hits"] == 1


def test_the_threshold_for_a_recall_reaches_it_and_no_higher_one_does() -> None:
    clean = judged("clean_dev", [0] * 10, [0.0] * 10)
    attacks = judged("attacks", [1] * 10, [float(number) for number in range(10)])
    result = evaluated([clean, attacks], [0.1], [0.3])
    assert result["macro_detection"]["recall 0.3"] == pytest.approx(0.3)


def test_a_recall_that_only_the_lowest_score_reaches_is_reached() -> None:
    attacks = judged("attacks", [1] * 4, [2.0, 2.0, 2.0, 9.0])
    result = evaluated([CLEAN, attacks], [0.1], [0.5])
    assert result["macro_detection"]["recall 0.5"] == 1.0


def test_a_recall_without_attacks_cannot_be_reached() -> None:
    with pytest.raises(DataError, match="no file holds attacks"):
        evaluated([CLEAN], [0.1], [0.3])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"reference": "nope"}, "reference = 'nope'"),
        ({"rates": [1.5]}, "rate = 1.5"),
        ({"reference": "attacks"}, "a file with benign rows"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], problem: str) -> None:
    items = [judged("clean_dev", [0], [0.0]), judged("attacks", [1], [1.0])]
    settings: dict[str, Any] = {"reference": "clean_dev", "rates": [0.01], "recalls": []}
    with pytest.raises(ConfigError, match=problem):
        operating_points(items, **(settings | change))
