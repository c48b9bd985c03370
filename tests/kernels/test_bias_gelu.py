from __future__ import annotations

import math

import naive
import numpy as np
import pytest

from aimds import kernels
from aimds.errors import KernelError


def batch(count: int, width: int, spread: float = 3.0):
    rng = np.random.default_rng(0)
    return rng.normal(0, spread, (count, width)).astype(np.float32), rng.normal(size=width).astype(np.float32)


def check(count: int, width: int, oracle=naive.bias_gelu) -> None:
    arguments = batch(count, width)
    naive.agree("bias_gelu", kernels.bias_gelu(*arguments), oracle(*arguments))


@pytest.mark.parametrize(("count", "width"), [(0, 4), (1, 1), (3, 0), (5, 40), (200, 7)])
def test_any_shape_agrees_with_the_oracle(count, width):
    check(count, width)


def test_known_values():
    values = np.array([[0.0, 1.0, -1.0, 40.0, -40.0]], np.float32)
    one = 0.5 * (1 + math.erf(math.sqrt(0.5)))
    found = kernels.bias_gelu(values, np.zeros(5, np.float32))
    assert found[0] == pytest.approx([0.0, one, one - 1.0, 40.0, 0.0], abs=1e-6)


def test_threads_change_no_bit():
    arguments = batch(90, 33)
    assert np.array_equal(kernels.bias_gelu(*arguments), kernels.bias_gelu(*arguments, threads=3))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (" + float(bias[m])", ""),
        ("math.erf(v / math.sqrt(2.0))", "math.erf(v)"),
        ("math.erf(v / math.sqrt(2.0))", "math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(5, 40, naive.mutant("bias_gelu", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    product, bias = batch(3, 4)
    for argument, arguments in {"product": (product[0], bias), "bias": (product, bias[1:])}.items():
        with pytest.raises(KernelError) as caught:
            kernels.bias_gelu(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("bias_gelu", argument)
