"""p-values fall strictly with the score, agree with the empirical share, and never reach zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from aimds.detect import tail


def benign(n: int = 20_000, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def test_the_p_value_of_fresh_benign_scores_is_close_to_uniform() -> None:
    fitted = tail.fit(benign(), None)
    fresh = fitted.p_value(benign(seed=4))
    for level in (0.5, 0.1, 0.01, 0.001):
        share = np.mean(fresh <= level)
        assert abs(share - level) < 4 * np.sqrt(level / len(fresh)) + 0.15 * level


@given(st.lists(st.floats(-3, 30), min_size=2, max_size=50, unique=True))
def test_a_higher_score_never_has_a_higher_p_value_and_beyond_the_bulk_a_lower_one(points: list[float]) -> None:
    fitted = tail.fit(benign())
    x = np.sort(np.array(points))
    p = fitted.p_value(x)
    assert np.all(np.diff(p) <= 0)
    beyond = p[(x > fitted.values[-1]) & (p > tail.SMALLEST_P)]
    apart = np.diff(x[(x > fitted.values[-1]) & (p > tail.SMALLEST_P)]) > 1e-6
    assert np.all(np.diff(beyond)[apart] < 0)
    assert np.all(p > 0)


@pytest.mark.parametrize("p", [0.5, 0.05, 0.02, 1e-3, 1e-6])
def test_quantile_is_the_inverse_of_p_value(p: float) -> None:
    fitted = tail.fit(benign())
    assert fitted.p_value(fitted.quantile(p)) == pytest.approx(p, rel=1e-3)


def test_weights_count_as_repeated_scores() -> None:
    scores = benign(2000)
    repeats = np.random.default_rng(0).integers(1, 4, len(scores))
    weighted = tail.fit(scores, repeats)
    repeated = tail.fit(np.repeat(scores, repeats))
    x = np.linspace(-2, 5, 50)
    np.testing.assert_allclose(weighted.p_value(x), repeated.p_value(x), rtol=0.1)


def test_a_score_that_is_nearly_always_zero_still_gives_a_small_p_value_when_it_fires() -> None:
    scores = np.zeros(10_000)
    scores[:5] = 0.9
    fitted = tail.fit(scores)
    assert fitted.p_value(0.0) == pytest.approx(1.0)
    assert fitted.p_value(0.9) < 0.01


def test_arrays_round_trip() -> None:
    fitted = tail.fit(benign())
    again = tail.Tail.from_arrays(fitted.arrays("x"), "x")
    x = np.linspace(-3, 9, 100)
    assert np.array_equal(fitted.p_value(x), again.p_value(x))


def test_too_few_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="49 benign scores"):
        tail.fit(np.zeros(49))


def test_a_tail_that_forgets_its_weights_would_be_noticed() -> None:
    scores, weights = benign(2000), np.ones(2000)
    weights[scores > 1] = 10
    assert tail.fit(scores, weights).p_value(1.0) > 2 * tail.fit(scores).p_value(1.0)


def test_a_counted_tail_is_the_share_at_or_above_with_half_a_text_added() -> None:
    made = tail.counted(np.array([0.0] * 95 + [0.5] * 4 + [0.9], np.float32))
    assert made.is_sound()
    assert made.size == 100
    assert made.p_value(0.0) == 1.0
    assert made.p_value(0.5) == pytest.approx(5.5 / 100.5)
    assert made.p_value(0.9) == pytest.approx(1.5 / 100.5)
    assert made.p_value(1.0) == pytest.approx(0.5 / 100.5)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]), st.floats(0.01, 5)), min_size=1, max_size=60),
    st.sampled_from([np.float32, np.float64]),
)
def test_a_counted_tail_of_weighted_scores_agrees_with_a_recount(rows: list[tuple[float, float]], kind: type) -> None:
    scores, weights = np.array([score for score, _ in rows], kind), np.array([weight for _, weight in rows])
    made, size = tail.counted(scores, weights), tail.effective_size(weights)
    assert made.is_sound()
    for value in (0.0, *set(scores.tolist())):
        share = sum(weight for score, weight in rows if round(score, 6) >= round(value, 6)) / sum(weights)
        assert made.p_value(round(value, 6)) == pytest.approx(min((share * size + 0.5) / (size + 0.5), 1.0))


def test_a_counted_tail_of_equal_weights_is_that_of_none() -> None:
    scores = np.array([0.0] * 30 + [0.25, 0.5], np.float32)
    plain, weighted = tail.counted(scores), tail.counted(scores, np.full(len(scores), 1 / 32))
    np.testing.assert_allclose(plain.survival, weighted.survival)
    assert plain.size == weighted.size == 32
    with pytest.raises(ValueError, match="no benign scores"):
        tail.counted(np.zeros(0))


def test_tails_of_long_texts_say_what_ordinary_ones_score() -> None:
    rng = np.random.default_rng(11)
    lengths = rng.choice([1.0, 4.0, 25.0], 60_000, p=[0.5, 0.3, 0.2])
    highest = np.array([rng.normal(size=int(k)).max() for k in lengths])
    weights = np.where(lengths > 4, 0.5, 1.0)
    one = tail.fit(highest, weights).for_one(lengths, weights)
    for x in (2.5, 3.0, 3.5):
        assert one.p_value(x) == pytest.approx(norm.sf(x), rel=0.15)
    assert tail.fit(highest, weights).p_value(3.0) > 3 * norm.sf(3.0)
    assert one.is_sound()
