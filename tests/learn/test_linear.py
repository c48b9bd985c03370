"""The dual coordinate descent solver against scikit-learn's liblinear on the same problem."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.svm import LinearSVC

from aimds.learn import linear


def problem(seed: int = 0, rows: int = 300, features: int = 64) -> tuple[sparse.csr_matrix, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = sparse.random(rows, features, density=0.15, format="csr", dtype=np.float32, rng=rng)
    x.data /= 1.0
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()) + 1e-9
    x = sparse.csr_matrix(sparse.diags(1 / norms) @ x, dtype=np.float32)
    y = np.where(x @ rng.normal(size=features) + 0.1 * rng.normal(size=rows) > 0, 1, -1).astype(np.int8)
    return x, y


def solve(x: sparse.csr_matrix, targets: np.ndarray, costs: np.ndarray) -> linear.Fit:
    return linear.fit(
        x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data, targets, costs,
        features=x.shape[1], max_epochs=2000, tolerance=1e-4,
    )  # fmt: skip


def objective(x: sparse.csr_matrix, y: np.ndarray, c: float, w: np.ndarray, b: float) -> float:
    hinge = np.maximum(0, 1 - y * (x @ w + b))
    return float(0.5 * (w @ w + b * b) + c * (hinge**2).sum())


def test_two_heads_reach_the_objective_that_liblinear_reaches_on_each() -> None:
    x, y = problem()
    targets = np.stack([y, -y], axis=1)
    result = solve(x, targets, np.full(targets.shape, 0.7, np.float32))
    for head, sign in ((0, 1), (1, -1)):
        peer = LinearSVC(C=0.7, dual=True, tol=1e-7, max_iter=100_000, random_state=0).fit(x, sign * y)
        best = objective(x, sign * y, 0.7, peer.coef_[0], peer.intercept_[0])
        ours = objective(x, sign * y, 0.7, result.weights[:, head], result.bias[head])
        assert ours == pytest.approx(best, rel=1e-3)


def test_a_row_with_zero_cost_leaves_its_head_as_if_the_row_were_not_there() -> None:
    x, y = problem()
    costs = np.ones((len(y), 1), np.float32)
    costs[100:] = 0
    with_rows = solve(x, y[:, None], costs)
    without = solve(x[:100], y[:100, None], costs[:100])
    np.testing.assert_allclose(with_rows.weights, without.weights, atol=2e-3)


def test_a_solver_that_ignores_the_costs_would_be_noticed() -> None:
    x, y = problem()
    small, large = (solve(x, y[:, None], np.full((len(y), 1), c, np.float32)) for c in (0.01, 10.0))
    assert np.abs(large.weights).sum() > 2 * np.abs(small.weights).sum()


def test_the_same_seed_gives_the_same_weights() -> None:
    x, y = problem()
    costs = np.ones((len(y), 1), np.float32)
    assert np.array_equal(solve(x, y[:, None], costs).weights, solve(x, y[:, None], costs).weights)
