"""Operating points: thresholds that keep what they promise, and shares that say when there is nothing to share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.errors import ConfigError
from aimds.jobs.evaluate.judging import Outcomes
from aimds.jobs.evaluate.points import Points, rate, shares, threshold_at

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


def test_a_rate_outside_zero_and_one_is_refused_by_name() -> None:
    shares(0.5, 0.001)
    with pytest.raises(ConfigError, match=r"rate = 1\.0"):
        shares(0.5, 1.0)
