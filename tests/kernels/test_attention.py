from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

SAMPLE = (3, 0, 1, 17)


def batch(sizes, heads: int, size: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    qkv = rng.normal(size=(int(offsets[-1]), 3 * heads * size)).astype(np.float32)
    return qkv, rng.normal(size=3 * heads * size).astype(np.float32), offsets, heads


def check(sizes, heads: int = 2, size: int = 12, oracle=naive.attention) -> None:
    arguments = batch(sizes, heads, size)
    naive.agree("attention", kernels.attention(*arguments), oracle(*arguments))


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0), (1,), SAMPLE, (2, 3) * 10, (160,)])
def test_small_batches_agree_with_the_oracle(sizes):
    check(sizes)


@pytest.mark.parametrize(("heads", "size"), [(1, 1), (1, 64), (12, 32), (3, 7)])
def test_every_number_and_size_of_heads_agrees_with_the_oracle(heads, size):
    check(SAMPLE, heads, size)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), max_size=5), st.integers(0, 9))
def test_any_rows_agree_with_the_oracle(sizes, seed):
    arguments = batch(sizes, 2, 4, seed)
    naive.agree("attention", kernels.attention(*arguments), naive.attention(*arguments))


def test_scores_far_from_zero_leave_no_number_infinite():
    qkv, bias, offsets, heads = batch((9,), 1, 8)
    qkv[:, :16] *= 100
    found = kernels.attention(qkv, bias, offsets, heads)
    assert np.isfinite(found).all()
    assert np.allclose(found, naive.attention(qkv, bias, offsets, heads), atol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours_or_on_threads():
    qkv, bias, offsets, heads = batch(SAMPLE, 2, 12)
    whole = kernels.attention(qkv, bias, offsets, heads, threads=3)
    for low, high in itertools.pairwise(offsets):
        alone = kernels.attention(qkv[low:high], bias, np.array([0, high - low]), heads)
        assert np.array_equal(whole[low:high], alone)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (" / math.sqrt(size)", ""),
        ("for part in range(3)", "for part in (0, 2, 1)"),
        ("total / sum(weights)", "total"),
        (" + bias", ""),
        ("head * size + column", "column"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("attention", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    qkv, bias, offsets, heads = batch(SAMPLE, 2, 12)
    wrong = {
        "qkv": (qkv, bias, offsets, 5),
        "bias": (qkv, bias[1:], offsets, heads),
        "offsets": (qkv, bias, offsets - 1, heads),
        "heads": (qkv, bias, offsets, 0),
    }
    for argument, arguments in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.attention(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("attention", argument)
    with pytest.raises(KernelError, match="not over all 21 tokens"):
        kernels.attention(qkv, bias, offsets[:-1], heads)
    with pytest.raises(KernelError, match="at most 64"):
        kernels.attention(*batch(SAMPLE, 1, 65))
