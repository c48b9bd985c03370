"""The head over frozen states is the logistic regression that another library finds, and windows count as is said."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from aimds.jobs.deep import head


def made(rows: int = 400, width: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    states = rng.normal(5.0, np.linspace(0.1, 4.0, width), (rows, width)).astype(np.float32)
    score = (states - 5.0) @ rng.normal(0, 1, (width, 3)) + rng.gumbel(0, 3, (rows, 3))
    count = rng.random(rows)
    return states, score.argmax(axis=1), count / count.sum()


@pytest.mark.parametrize("penalty", [0.003, 0.1])
def test_it_is_the_regression_of_scikit_learn_on_states_of_variance_one(penalty: float) -> None:
    states, label, count = made()
    found = head.fit(states, label, count, 3, penalty)
    mean = np.average(states, axis=0, weights=count)
    spread = np.sqrt(np.average((states - mean) ** 2, axis=0, weights=count))
    peer = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=5000)
    peer.fit((states - mean) / spread, label, sample_weight=count)
    expected = peer.predict_log_proba((states - mean) / spread)
    logits = states @ found["head.weight"] + found["head.bias"]
    ours = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, expected, atol=0.01)
    assert (ours.argmax(axis=1) == label).mean() > 0.5


def test_a_class_without_rows_is_never_likely_and_a_state_that_never_moves_says_nothing() -> None:
    states, label, count = made()
    label = np.where(label == 2, 1, label)
    still = np.hstack([states, np.full((len(states), 1), 3.0, np.float32)])
    found = head.fit(still, label, count, 3, 0.01)
    assert found["head.weight"].shape == (13, 3)
    assert np.abs(found["head.weight"][12]).max() < 1e-3
    logits = still @ found["head.weight"] + found["head.bias"]
    assert (logits.argmax(axis=1) != 2).all()


def test_half_of_a_class_counts_by_public_source_and_half_by_itself() -> None:
    label = np.array([0] * 6 + [1] * 15 + [2] * 3)
    source = np.array([-1] * 6 + [-1] * 5 + [4] * 9 + [7] + [2] * 3, np.int32)
    found = head.counts(label, source)
    np.testing.assert_allclose([found[label == k].sum() for k in range(3)], head.CLASS_SHARES)
    np.testing.assert_allclose(found[:6], 0.45 / 6)
    np.testing.assert_allclose(found[6:11], 0.5 * 0.5 / 5)
    np.testing.assert_allclose(found[11:20], 0.5 * 0.5 / 2 / 9)
    np.testing.assert_allclose(found[20], 0.5 * 0.5 / 2)
    np.testing.assert_allclose(found[21:], 0.05 / 3)


def test_documents_are_a_stated_part_of_a_class_that_has_some() -> None:
    label = np.array([0] * 6 + [1] * 4 + [2] * 2)
    alone, document = head.ALONE, head.DOCUMENT
    source = np.array([alone, alone, 3, 3, document, document, 5, document, document, document, alone, 5], np.int32)
    found = head.counts(label, source)
    np.testing.assert_allclose([found[label == k].sum() for k in range(3)], head.CLASS_SHARES)
    np.testing.assert_allclose(found[4:6], 0.45 * 0.2 / 2)
    np.testing.assert_allclose(found[:4], 0.45 * 0.8 * 0.5 / 2)
    np.testing.assert_allclose(found[7:10], 0.5 * 0.1 / 3)
    np.testing.assert_allclose(found[6], 0.5 * 0.9)
    np.testing.assert_allclose(found[10:], 0.05 * 0.5)
    only = head.counts(np.array([0, 0, 1]), np.array([document, document, alone], np.int32))
    np.testing.assert_allclose(only, np.array([0.225, 0.225, 0.5]) / 0.95)


def test_tasks_are_another_part_beside_documents() -> None:
    label = np.array([0] * 6 + [1])
    alone, document, task = head.ALONE, head.DOCUMENT, head.TASK
    found = head.counts(label, np.array([alone, document, task, task, alone, 3, alone], np.int32))
    np.testing.assert_allclose(found[:6], 0.45 / 0.95 * np.array([0.175, 0.2, 0.05, 0.05, 0.175, 0.35]))
    without = head.counts(label, np.array([alone, task, task, task, alone, 3, alone], np.int32))
    np.testing.assert_allclose(without[1:4], 0.45 / 0.95 * 0.1 / 3)
    only = head.counts(label, np.array([document] * 2 + [task] * 4 + [alone], np.int32))
    np.testing.assert_allclose(only[:6], 0.45 / 0.95 * np.array([2 / 6, 2 / 6, 1 / 12, 1 / 12, 1 / 12, 1 / 12]))


def test_where_a_class_is_missing_the_others_count_all() -> None:
    found = head.counts(np.array([0, 0, 1]), np.array([-1, 0, -1], np.int32))
    np.testing.assert_allclose(found.sum(), 1.0)
    np.testing.assert_allclose(found[2], 0.5 / 0.95)
