from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.errors import KernelError
from aimds.kernels.cuda import session_series

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

RNG = np.random.default_rng(0)
SAMPLE = [[], [2.0], [1.0, 1.0, 1.0], [0.0, 4.0], *(RNG.normal(-5, 2, n).tolist() for n in (3, 4, 7, 20, 41))]
SAMPLE += [[-7.0] * 12 + [-2.0], [-7.0, -2.0] * 6, list(np.linspace(-6, 1, 15))]


def check(rows, host: Host | None = None) -> None:
    arguments = naive.ragged(rows, np.float64)
    naive.agree("session_series", session_series.run(host or Host(), *arguments), naive.session_series(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[3.0]], SAMPLE, [[1.0, 2.0, 1.0]] * 200])
@pytest.mark.parametrize("order", ORDERS)
def test_batches_agree_with_the_oracle(rows, order):
    check(rows, Host(order))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(KernelError, match="NaN"):
        session_series.run(Host(), *naive.ragged([[float("nan")]], np.float64))


MUTANTS = (
    ("if (row >= rows) return;", ""),
    ("if (n == 0) return;", "if (n <= 1) return;"),
    ("i && sum < 0.0", "i && sum > 0.0"),
    ("double(i * (n - i))", "double(n)"),
    ("rank < below + equal", "rank < below"),
    ("low = fmin(low, drawn);", ""),
    ("? n / 5 : 3", "? n / 4 : 3"),
    ("fmax(0.0, run + x[i] - level)", "run + x[i] - level"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("session_series", MUTANTS, mutant, lambda host: check(SAMPLE, host))
