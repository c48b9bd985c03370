"""Operating points: thresholds that keep what they promise, and shares that say when there is nothing to share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.errors import ConfigError
from aimds.jobs.evaluate.judging import Outcomes
from aimds.jobs.evaluate.points import Points, check_shares, rate, threshold_at, threshold_for_recall

ACTIONS = ["allow", "flag", "sandwich", "block", "escalate", "redact"]
OUTCOMES = Outcomes(np.arange(6.0), np.arange(6.0) / 10, np.array(ACTIONS, object), 0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300), st.sampled_from([0.001, 0.01, 0.1, 0.5]))
def test_a_threshold_never_lets_more_than_its_rate_of_benign_text_above(scores: list[float], share: float) -> None:
    values = np.array(scores)
    threshold = threshold_at(values, share)
    assert np.mean(values > threshold) <= share
    below = values[values < threshold]
    if len(below):
        assert np.mean(values > below.max()) > share or np.mean(values >= threshold) > share


SETS = st.lists(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=30), min_size=1, max_size=4)


def reached(attacks: list[np.ndarray], threshold: float) -> float:
    return float(np.mean([np.mean(scores > threshold) for scores in attacks]))


@given(SETS, st.one_of(st.floats(0.001, 1), st.sampled_from([0.1, 0.2, 0.3, 1 / 3, 0.5, 0.7, 0.9, 1.0])))
def test_a_threshold_for_a_recall_reaches_it_and_no_higher_one_does(sets: list[list[float]], share: float) -> None:
    attacks = [np.array(scores) for scores in sets]
    threshold = threshold_for_recall(attacks, share)
    assert reached(attacks, threshold) >= share - 1e-9
    higher = [score for scores in sets for score in scores if score > threshold]
    assert not higher or reached(attacks, min(higher)) < share


def test_all_attacks_are_found_by_a_threshold_just_below_the_lowest() -> None:
    threshold = threshold_for_recall([np.array([3.0, 2.0, 5.0])], 1.0)
    assert 2.0 - 1e-9 < threshold < 2.0
    assert reached([np.array([3.0, 2.0, 5.0])], threshold) == 1.0


def test_of_equal_scores_all_are_found_whatever_the_recall() -> None:
    for share in (0.01, 0.5, 1.0):
        threshold = threshold_for_recall([np.full(7, 4.0)], share)
        assert 4.0 - 1e-9 < threshold < 4.0
    assert threshold_for_recall([np.zeros(7)], 0.5) < 0.0


def test_a_recall_between_two_steps_takes_the_step_above_it() -> None:
    attacks = [np.arange(10.0)]
    assert [threshold_for_recall(attacks, share) for share in (0.3, 0.31, 0.39, 0.4, 0.41)] == [6, 5, 5, 5, 4]


def test_a_recall_of_no_attacks_is_refused() -> None:
    for attacks in ([], [np.ones(3), np.zeros(0)]):
        with pytest.raises(ValueError, match="needs sets of attacks"):
            threshold_for_recall(attacks, 0.5)


def test_shipped_columns_follow_the_action_and_the_others_the_scores() -> None:
    points = Points({"fpr 0.01": (3.0, 0.1)})
    assert points.columns == ("flag", "block", "fpr 0.01")
    assert points.hits(OUTCOMES, "flag").tolist() == [False, True, True, True, True, False]
    assert points.hits(OUTCOMES, "block").tolist() == [False, False, False, True, True, False]
    assert points.hits(OUTCOMES, "fpr 0.01").tolist() == [False, False, False, False, True, True]
    assert points.hits(OUTCOMES, "fpr 0.01", harmful=True).sum() == 4


def test_the_loosest_column_is_that_of_the_highest_rate() -> None:
    assert Points({"fpr 0.001": (3.0, 0.9), "fpr 0.05": (1.0, 0.5), "recall 0.9": (0.1, 0.1)}).loosest == "fpr 0.05"
    assert Points({}).loosest == "flag"


def test_a_share_of_nothing_is_none_and_its_interval_says_anything() -> None:
    assert rate(np.zeros(0, np.bool_)) == {"hits": 0, "n": 0, "rate": None, "low": 0.0, "high": 1.0}
    found = rate(np.array([True, False, False, False]))
    assert (found["hits"], found["n"], found["rate"]) == (1, 4, 0.25)
    assert found["low"] < 0.25 < found["high"]


def test_a_rate_or_recall_out_of_range_is_refused_by_name() -> None:
    check_shares([0.5, 0.001], [0.5, 1.0])
    with pytest.raises(ConfigError, match=r"rate = 1\.0"):
        check_shares([0.5, 1.0])
    with pytest.raises(ConfigError, match=r"recall = 1\.1"):
        check_shares([0.5], [1.1])
