from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

RNG = np.random.default_rng(0)
SAMPLE = [RNG.integers(0, 9, size).tolist() for size in (3, 0, 1, 40, 2, 200)] + [[7] * 30, list(range(255))]


def check(rows, reach=8, oracle=naive.concept_pairs) -> None:
    arguments = (*naive.ragged(rows, np.uint8), reach)
    naive.agree("concept_pairs", kernels.concept_pairs(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[3]], SAMPLE, [RNG.integers(0, 239, 100_000).tolist()]])
@pytest.mark.parametrize("reach", [0, 1, 8])
def test_batches_agree_with_the_oracle(rows, reach):
    check(rows, reach)


@given(cases.ANY_CONCEPTS, st.integers(0, 64))
def test_any_concepts_agree_with_the_oracle(rows, reach):
    check(rows, reach)


def test_a_row_depends_neither_on_its_neighbours_nor_on_threads():
    whole = kernels.concept_pairs(*naive.ragged(SAMPLE, np.uint8), 8)
    shared = kernels.concept_pairs(*naive.ragged(SAMPLE, np.uint8), 8, threads=3)
    assert all(np.array_equal(a, b) for a, b in zip(whole, shared, strict=True))
    for place, row in enumerate(SAMPLE):
        alone = kernels.concept_pairs(*naive.ragged([row], np.uint8), 8)
        part = slice(whole[0][place], whole[0][place + 1])
        assert all(np.array_equal(many[part], one) for many, one in zip(whole[1:], alone[1:], strict=True))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("i + 1 + reach", "i + reach"),
        ("min(one, two), max(one, two)", "one, two"),
        ("(one, 255), ", ""),
        ("get(256 * a + b, 0) + 1", "get(256 * a + b, 1)"),
        ("list(found)", "sorted(found)"),
    ],
)
def test_a_mutant_of_the_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("concept_pairs", right, wrong))


def test_a_reach_that_is_too_far_is_refused():
    with pytest.raises(KernelError, match="reach"):
        kernels.concept_pairs(*naive.ragged(SAMPLE, np.uint8), 65)
