from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import bias_gelu

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")


def batch(count: int, width: int):
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (count, width)).astype(np.float32), rng.normal(size=width).astype(np.float32)


def check(count: int, width: int, host: Host | None = None) -> None:
    arguments = batch(count, width)
    naive.agree("bias_gelu", bias_gelu.run(host or Host(), *arguments), naive.bias_gelu(*arguments))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("count", "width"), [(0, 4), (3, 0), (1, 1), (4, 128), (5, 129), (1, 1536), (300, 3)])
def test_any_shape_agrees_with_the_oracle(order, count, width):
    check(count, width, Host(order))


def test_a_row_does_not_depend_on_its_neighbours():
    product, bias = batch(9, 40)
    whole = bias_gelu.run(Host(), product, bias)
    assert np.array_equal(whole[5:7], bias_gelu.run(Host(), product[5:7].copy(), bias))


MUTANTS = (
    ("if (m >= width) return;", ""),
    ("+ shift;", ";"),
    ("0.707106781f", "0.797884561f"),
    ("erff(", "tanhf("),
    ("int(blockIdx.y) * THREADS +", ""),
    ("i64(blockIdx.x) * ROWS", "i64(blockIdx.x)"),
    ("        if (first + r < count)\n            active", "            active"),
)


def probe(host: Host) -> None:
    check(9, 140, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("bias_gelu", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
