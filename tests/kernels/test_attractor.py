from __future__ import annotations

import itertools
import math

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

NAMES = ("dim", "lag", "separation", "horizon", "skip", "radius", "angles", "parts")
DEFAULTS = (3, 1, 0, 5, 0, 20, 16, 15)
OTHERS = ((1, 1, 0, 2, 0, 60, 3, 11), (2, 3, 2, 6, 2, 35, 0, 6), (4, 2, 1, 3, 5, 150, 4, 1))
NUMBERS = st.integers(-50, 50).map(lambda n: n / 16)
ROWS = st.lists(st.lists(NUMBERS, max_size=40), max_size=4)
RNG = np.random.default_rng(0)
LOGISTIC = list(itertools.accumulate(range(69), lambda x, _: 4 * x * (1 - x), initial=0.3))
SAMPLE = [
    [],
    [2.0],
    [1.0] * 9,
    [0.0, 4.0],
    [1.0, 2.0, 4.0],
    *(RNG.normal(-5, 2, n).tolist() for n in (4, 7, 20, 64, 71)),
]
SAMPLE += [LOGISTIC, [1.0, 2.0, 3.0] * 9, [math.sin(0.37 * k) for k in range(66)], [0.5**k for k in range(12)]]
SAMPLE += [RNG.integers(0, 3, 40).astype(float).tolist()]


def call(rows, given=DEFAULTS, threads: int = 1) -> np.ndarray:
    arguments = dict(zip(NAMES, given, strict=True))
    return kernels.attractor(*naive.ragged(rows, np.float64), **arguments, threads=threads)


def check(rows, oracle=naive.attractor, given=DEFAULTS) -> None:
    naive.agree("attractor", call(rows, given), oracle(*naive.ragged(rows, np.float64), *given))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[3.0]], SAMPLE, [[1.0, 2.0]] * 20])
@pytest.mark.parametrize("given", [DEFAULTS, *OTHERS])
def test_small_batches_agree_with_the_oracle(rows, given):
    check(rows, given=given)


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([DEFAULTS, *OTHERS]))
def test_any_rows_agree_with_the_oracle(rows, given):
    check(rows, given=given)


@pytest.mark.parametrize("given", [DEFAULTS, (2, 1, 3, 5, 1, 10, 2, 14), (3, 1, 0, 5, 0, 20, 2, 4)])
def test_rows_of_several_words_agree_with_the_oracle(given):
    check([np.cumsum(np.random.default_rng(1).normal(size=150)).tolist(), (LOGISTIC * 2)[:128]], given=given)


@settings(deadline=None, max_examples=60)
@given(st.lists(NUMBERS, min_size=2, max_size=40), NUMBERS, st.integers(-40, 40))
def test_a_shift_or_a_scale_changes_nothing(row, shift, power):
    plain = call([row])
    assert np.array_equal(call([[value * 2.0**power for value in row]]), plain, equal_nan=True)
    assert np.allclose(call([[value + shift for value in row]]), plain, atol=1e-9, equal_nan=True)


@settings(deadline=None, max_examples=20)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    whole = call([rows[i] for i in order], threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], call([rows[i]])[0], equal_nan=True)


@pytest.mark.parametrize("given", [(3, 70, 0, 2, 0, 40, 3, 15), (2, 130, 3, 4, 0, 40, 3, 15), *OTHERS])
def test_a_short_row_beside_long_ones_is_what_it_is_alone(given):
    rng = np.random.default_rng(8)
    rows = [rng.integers(0, 4, size).astype(float).tolist() for size in (150, 700, 160, 300, 90, 20, 220)]
    whole = call(rows, given)
    for place, row in enumerate(rows):
        assert np.array_equal(whole[place], call([row], given)[0], equal_nan=True)
    check(rows[:1] + rows[2:4], given=given)


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_numbers_of_any_size_are_measured_alike(size):
    assert np.allclose(call([[value * size for value in LOGISTIC]]), call([LOGISTIC]), rtol=1e-6)


def test_equal_values_are_no_motion_whatever_rounding_makes_of_them():
    for row in ([0.0] * 30, [7.5] * 30, [0.1 + 0.2] * 3 + [0.3] * 27):
        found = call([row])[0]
        assert found[14] == 0.0
        assert np.isnan(np.delete(found, 14)).all()


@pytest.mark.parametrize("size", [63, 64, 65, 127, 128, 129])
def test_a_period_is_one_line_a_period_on_both_sides_of_a_word(size):
    found = call([([0.0, 1.0, 3.0, 9.0] * 40)[:size]])[0]
    assert (found[4], found[11]) == (size - 2 - 4, 4.0)
    assert found[2] > 0.99
    assert found[12] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("horizon + 1", "horizon"),
        ("abs(i - j) > separation", "abs(i - j) > separation + 1"),
        ("points[j]), j)))", "points[j]), -j)))"),
        ("points[near[i] + k]) for", "points[near[i]]) for"),
        ("(dim - 1) * lag + 1", "(dim - 1) * lag"),
        ("range(separation + 1, m)", "range(separation + 2, m)"),
        ("max(lines, default=0)", "max(sizes, default=0) + 1"),
        ("row[7] = sum(lines) / len(lines)", "row[7] = sum(sizes) / len(sizes)"),
        ("max(4, n // 10)", "max(5, n // 10)"),
        ("c * (j + 1)), math.sin", "c * j), math.sin"),
        ("for i in range(n - 2)]", "for i in range(n - size + 1)]"),
        (">= 0.5]", ">= 0.9]"),
        ("max(2, n // 3)", "max(2, n // 4)"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("attractor", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    values, offsets = naive.ragged([[1.0, 2.0]], np.float64)
    for argument, arguments, options in (
        ("values", (values.astype(np.float32), offsets), {}),
        ("offsets", (values, offsets + 1), {}),
        ("dim", (values, offsets), {"dim": 0}),
        ("horizon", (values, offsets), {"horizon": 1}),
        ("angles", (values, offsets), {"angles": 65}),
        ("parts", (values, offsets), {"parts": 16}),
    ):
        with pytest.raises(KernelError) as caught:
            kernels.attractor(*arguments, **options)
        assert (caught.value.kernel, caught.value.argument) == ("attractor", argument)
    for value in (math.nan, math.inf):
        with pytest.raises(KernelError, match="NaN"):
            kernels.attractor(np.array([value, 1.0]), offsets)


def orbit(step, state, size, skip=100, every=1) -> list[float]:
    """First coordinates of ``size`` states, ``every`` steps apart."""
    for _ in range(skip * every):
        state = step(state)
    out = []
    for _ in range(size):
        out.append(state[0])
        for _ in range(every):
            state = step(state)
    return out


def flow(slope, dt):
    """A step of the fourth-order Runge-Kutta method."""

    def moved(state, change, by):
        return tuple(value + by * grows for value, grows in zip(state, change, strict=True))

    def step(state):
        a = slope(*state)
        b = slope(*moved(state, a, dt / 2))
        c = slope(*moved(state, b, dt / 2))
        d = slope(*moved(state, c, dt))
        return tuple(
            value + dt / 6 * (p + 2 * q + 2 * r + s) for value, p, q, r, s in zip(state, a, b, c, d, strict=True)
        )

    return step


def exponent(row, **given) -> float:
    return float(kernels.attractor(*naive.ragged([row], np.float64), angles=0, **given)[0, 0])


def test_maps_have_the_exponents_that_are_known():
    logistic = orbit(lambda s: (4 * s[0] * (1 - s[0]),), (0.3,), 1000)
    henon = orbit(lambda s: (1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]), (0.1, 0.1), 1000)
    assert exponent(logistic) == pytest.approx(math.log(2), rel=0.02)
    assert exponent(henon, horizon=7) == pytest.approx(0.419, rel=0.06)


def test_flows_have_the_exponents_that_are_known_once_neighbours_have_turned_into_the_fastest_direction():
    lorenz = flow(lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z), 0.01)
    row = orbit(lorenz, (1.0, 1.0, 20.0), 2500, every=5)
    found = exponent(row, lag=3, separation=20, horizon=50, skip=15) / 0.05
    assert found == pytest.approx(0.9056, rel=0.05)
    roessler = flow(lambda x, y, z: (-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)), 0.05)
    row = orbit(roessler, (1.0, 1.0, 1.0), 6000, skip=200, every=4)
    found = exponent(row, dim=5, lag=6, separation=50, horizon=90) / 0.2
    assert found == pytest.approx(0.0714, rel=0.15)


def test_noise_has_a_positive_exponent_too_so_that_it_alone_proves_nothing():
    assert exponent(np.random.default_rng(0).normal(size=1000).tolist()) > 0.2
