from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest

from aimds import kernels
from aimds.errors import KernelError

SAMPLE = (3, 0, 1, 17)


def batch(sizes, width: int = 24, heads: int = 3):
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    states, weights = (rng.normal(size=shape).astype(np.float32) for shape in ((offsets[-1], width), (width, heads)))
    return states, offsets, weights, rng.normal(size=heads).astype(np.float32)


def check(sizes, width: int = 24, heads: int = 3, oracle=naive.pooled_logits) -> None:
    arguments = batch(sizes, width, heads)
    naive.agree("pooled_logits", kernels.pooled_logits(*arguments), oracle(*arguments))


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0), (1,), SAMPLE, (2, 3) * 10, (5000,)])
def test_small_batches_agree_with_the_oracle(sizes):
    check(sizes)


@pytest.mark.parametrize(("width", "heads"), [(1, 1), (384, 3), (1024, 2), (9, 0)])
def test_every_width_and_number_of_heads_agrees_with_the_oracle(width, heads):
    check(SAMPLE, width, heads)


def test_a_row_without_tokens_gets_the_bias():
    *arguments, bias = batch((0,))
    assert np.array_equal(kernels.pooled_logits(*arguments, bias)[0], bias)


def test_a_row_does_not_depend_on_its_neighbours_or_on_threads():
    states, offsets, *head = batch(SAMPLE)
    whole = kernels.pooled_logits(states, offsets, *head, threads=3)
    for r, (low, high) in enumerate(itertools.pairwise(offsets)):
        alone = kernels.pooled_logits(states[low:high], np.array([0, high - low]), *head)
        assert np.array_equal(whole[r], alone[0])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (" / max(end - begin, 1)", ""),
        ("states[begin:end, d]", "states[begin : begin + 1, d]"),
        ("weights[d, h]", "weights[d, h - 1]"),
        ("dot + float(bias[h])", "dot"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("pooled_logits", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    states, offsets, weights, bias = batch(SAMPLE)
    wrong = {
        "states": (states.astype(np.float64), offsets, weights, bias),
        "offsets": (states[:-1], offsets, weights, bias),
        "weights": (states, offsets, weights[1:], bias),
        "bias": (states, offsets, weights, bias[1:]),
    }
    for argument, arguments in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.pooled_logits(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("pooled_logits", argument)
    with pytest.raises(KernelError, match="at most 1024"):
        kernels.pooled_logits(*batch(SAMPLE, 1025))
