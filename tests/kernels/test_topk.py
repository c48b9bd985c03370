from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aimds import kernels
from aimds.errors import KernelError

# Few distinct values make many equal scores.
VALUES = st.one_of(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.floats(-100, 100, width=32))


def check(queries, bank, k: int, oracle=naive.topk) -> None:
    queries, bank = np.asarray(queries, np.float32), np.asarray(bank, np.float32)
    naive.agree("topk", kernels.topk(queries, bank, k), oracle(queries, bank, k))


def sample() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    bank = rng.integers(-2, 3, (200, 6))
    return rng.integers(-2, 3, (5, 6)), bank


@pytest.mark.parametrize(
    ("queries", "bank", "k"),
    [
        (np.empty((0, 4)), np.ones((3, 4)), 2),
        (np.ones((2, 4)), np.empty((0, 4)), 2),
        (np.empty((2, 0)), np.empty((3, 0)), 2),
        ([[1.0]], [[2.0]], 1),
        ([[1.0]], [[2.0]], 5),
        (np.ones((3, 4)), np.ones((300, 4)), 7),
        (np.zeros((2, 3)), np.zeros((70, 3)), 70),
        (np.full((1, 2), 1e-30), np.full((3, 2), 1e-20), 2),
    ],
)
def test_small_inputs_agree_with_the_oracle(queries, bank, k):
    check(queries, bank, k)


@pytest.mark.parametrize("k", [1, 10, 200, 201])
def test_equal_scores_go_to_the_lower_id(k):
    check(*sample(), k)


def test_a_bank_of_100k_rows_agrees_with_the_oracle():
    rng = np.random.default_rng(1)
    check(rng.normal(size=(2, 3)), rng.normal(size=(100_000, 3)), 12)


@settings(max_examples=80)
@given(st.data(), st.integers(0, 4), st.integers(0, 90), st.integers(1, 5), st.integers(1, 12))
def test_any_input_agrees_with_the_oracle(data, queries, rows, dim, k):
    drawn = (data.draw(hnp.arrays(np.float32, (n, dim), elements=VALUES)) for n in (queries, rows))
    check(*drawn, k)


def test_a_query_does_not_depend_on_its_neighbours_or_on_threads():
    rng = np.random.default_rng(2)
    queries, bank = rng.normal(size=(600, 33)).astype(np.float32), rng.normal(size=(500, 33)).astype(np.float32)
    # Rows that differ in their last bits only, where a matrix product rounds now so, now so.
    bank[250:] = bank[:250] * np.float32(1 + 2**-23)
    scores, ids = kernels.topk(queries, bank, 9)
    for threads in (2, 3):
        assert all(
            np.array_equal(a, b)
            for a, b in zip((scores, ids), kernels.topk(queries, bank, 9, threads=threads), strict=True)
        )
    order = rng.permutation(600)
    moved = kernels.topk(queries[order], bank, 9)
    assert np.array_equal(moved[0], scores[order])
    assert np.array_equal(moved[1], ids[order])
    for i in (0, 1, 299, 599):
        alone = kernels.topk(queries[i : i + 1], bank, 9)
        assert np.array_equal(alone[0][0], scores[i])
        assert np.array_equal(alone[1][0], ids[i])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("(-float(np.float32(total)), n)", "(-float(np.float32(total)), -n)"),
        ("total += a * b", "total += abs(a * b)"),
        ("-float(np.float32(total))", "float(np.float32(total))"),
        ("sorted(found)[:k]", "sorted(found)[1 : k + 1]"),
        ("enumerate(bank.tolist())", "enumerate(bank.tolist()[:-1])"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(*sample(), 200, oracle=naive.mutant("topk", right, wrong))


@pytest.mark.parametrize(
    ("argument", "queries", "bank", "k"),
    [
        ("queries", [[np.nan, 1]], [[1, 2]], 1),
        ("bank", [[1, 1]], [[np.inf, 2]], 1),
        ("bank", [[1, 1]], [[1, 2], [np.nan, 2]], 1),
        ("bank", [[1, 1]], [[1, 2, 3]], 1),
        ("k", [[1, 1]], [[1, 2]], 0),
        ("k", [[1, 1]], [[1, 2]], True),
    ],
)
def test_an_argument_that_does_not_fit_is_named(argument, queries, bank, k):
    with pytest.raises(KernelError) as caught:
        kernels.topk(np.array(queries, np.float32), np.array(bank, np.float32), k)
    assert (caught.value.kernel, caught.value.argument) == ("topk", argument)


def test_an_infinite_query_among_others_is_refused_without_a_warning():
    queries = np.ones((300, 4), np.float32)
    queries[260] = [np.inf, -np.inf, 1, 1]
    with pytest.raises(KernelError) as caught:
        kernels.topk(queries, np.ones((50, 4), np.float32), 3)
    assert caught.value.argument == "queries"
