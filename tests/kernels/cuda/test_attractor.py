from __future__ import annotations

import itertools
import math

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.errors import KernelError
from aimds.kernels.cuda import attractor

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

DEFAULTS = (3, 1, 0, 5, 0, 20, 16, 15)
OTHERS = ((1, 1, 0, 2, 0, 60, 3, 11), (2, 3, 2, 6, 2, 35, 0, 6), (4, 2, 1, 3, 5, 150, 4, 1))
RNG = np.random.default_rng(0)
LOGISTIC = list(itertools.accumulate(range(69), lambda x, _: 4 * x * (1 - x), initial=0.3))
SAMPLE = [[], [2.0], [1.0] * 9, [0.0, 4.0], [1.0, 2.0, 4.0], *(RNG.normal(-5, 2, n).tolist() for n in (4, 7, 20, 41))]
SAMPLE += [LOGISTIC, [1.0, 2.0, 3.0] * 9, [math.sin(0.37 * k) for k in range(66)], [0.5**k for k in range(12)]]
SAMPLE += [RNG.integers(0, 3, 40).astype(float).tolist()]


def check(rows, host: Host | None = None, given=DEFAULTS) -> None:
    arguments = naive.ragged(rows, np.float64)
    got = attractor.run(host or Host(), *arguments, *given)
    naive.agree("attractor", got, naive.attractor(*arguments, *given))


@pytest.mark.parametrize("rows", [[], [[]], [[3.0]], SAMPLE, [[1.0, 2.0, 1.0]] * 200])
@pytest.mark.parametrize("order", ORDERS)
def test_batches_agree_with_the_oracle(rows, order):
    check(rows, Host(order))


@pytest.mark.parametrize("given", OTHERS)
def test_other_settings_agree_with_the_oracle(given):
    check(SAMPLE, given=given)


def test_more_rows_than_blocks_and_more_points_than_threads_agree_with_the_oracle(monkeypatch):
    monkeypatch.setattr(attractor, "MOST_BLOCKS", 2)
    check([RNG.normal(size=150).tolist(), LOGISTIC, [], [1.0] * 5, LOGISTIC[:30]], given=(2, 1, 1, 3, 0, 30, 2, 15))


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_numbers_of_any_size_are_measured_alike(size):
    plain, sized = (
        attractor.run(Host(), *naive.ragged([[value * by for value in LOGISTIC]], np.float64), *DEFAULTS)
        for by in (1.0, size)
    )
    assert np.allclose(sized, plain, rtol=1e-6)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(KernelError, match="NaN"):
        attractor.run(Host(), *naive.ragged([[float("nan")]], np.float64), *DEFAULTS)


MUTANTS = (
    ("if (n < 2) continue;", ""),
    ("for (int q = 1; q < dim; q++)", "for (int q = 1; q + 1 < dim; q++)"),
    ("i < plot.n - 2 - d &&", "i < plot.n - 1 - d &&"),
    ("i >= plot.points - d", "i >= plot.points - d - 1"),
    ("if (run) atomicAdd(&lines[run], 1);", ""),
    ("begun += here && !before && after;", "begun += here && !before;"),
    ("bool before = false, here = plot.recurs(0, j);", "bool before = false, here = false;"),
    ("closest[i] + k);", "closest[i]);"),
    ("lines[i] = 0;", "lines[i] = 1;"),
    ("? n / 10 : 4, lanes", "? n / 10 : 5, lanes"),
    ("values[(count - 1) / 2] +", "values[count / 2] +"),
    ("sides * (sides - 1) / 2", "sides * sides / 2"),
    ("misses[first] < 0.5", "misses[first] < 0.9"),
    ("gap < best) best", "gap <= best) best"),
    ("(dim - 1) * lag + 1;", "(dim - 1) * lag;"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("attractor", MUTANTS, mutant, lambda host: check(SAMPLE, host))
