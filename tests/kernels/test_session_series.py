from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

NUMBERS = st.integers(-1000, 1000).map(lambda n: n / 16)
ROWS = st.lists(st.lists(NUMBERS, max_size=24), max_size=6)
RNG = np.random.default_rng(0)
SAMPLE = [[], [2.0], [1.0, 1.0, 1.0], [0.0, 4.0], *(RNG.normal(-5, 2, n).tolist() for n in (3, 4, 7, 20, 41))]
SAMPLE += [[-7.0] * 12 + [-2.0], [-7.0, -2.0] * 6, list(np.linspace(-6, 1, 15))]
KEPT = [3, 4, 5, 6, 7, 8, 9, 10, 11]
GROWS = [0, 1, 2, 3, 5, 8, 9, 10]


def check(rows, oracle=naive.session_series) -> None:
    arguments = naive.ragged(rows, np.float64)
    naive.agree("session_series", kernels.session_series(*arguments), oracle(*arguments))


def features(row) -> np.ndarray:
    return kernels.session_series(*naive.ragged([row], np.float64))[0]


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[3.0]], SAMPLE, [[1.0, 2.0]] * 20])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=100)
@given(ROWS)
def test_any_rows_agree_with_the_oracle_but_for_equal_cuts(rows):
    got, expected = (f(*naive.ragged(rows, np.float64)) for f in (kernels.session_series, naive.session_series))
    assert np.allclose(np.delete(got, 7, 1), np.delete(expected, 7, 1), rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(st.lists(NUMBERS, min_size=2, max_size=24), NUMBERS, st.integers(-6, 6))
def test_a_shift_moves_the_levels_only_and_a_scale_what_has_a_unit(row, shift, power):
    plain, scale = features(row), 2.0**power
    moved = features([value + shift for value in row])
    assert np.allclose(moved[:3], plain[:3] + shift)
    assert np.allclose(moved[KEPT[:4] + KEPT[5:]], plain[KEPT[:4] + KEPT[5:]], atol=1e-9)
    grown = features([value * scale for value in row])
    assert np.array_equal(grown[GROWS], plain[GROWS] * scale)
    assert np.array_equal(np.delete(grown, GROWS), np.delete(plain, GROWS))


@settings(max_examples=30)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.session_series(*naive.ragged([rows[i] for i in order], np.float64), threads=2)
    for place, i in enumerate(order):
        assert np.array_equal(whole[place], features(rows[i]))


def test_a_step_is_found_where_it_is():
    found = features([-6.0] * 5 + [-2.0] * 7)
    assert found[7] == 5
    assert found[6] == pytest.approx(1.0)


def test_rounding_of_equal_values_is_no_change():
    assert not features([0.1 + 0.2] * 3 + [0.3] * 9)[3:].any()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("slope * (n - 1)", "slope * n"),
        ("float(k)", "float(k + 1)"),
        ("row[10] / 2", "row[10]"),
        ("max(3, n // 5)", "max(3, n // 4)"),
        ("/ (i + 1) for i", "/ n for i"),
        ("** 2 / squares", "** 2 / n"),
        ("(b - a) ** 2", "abs(b - a)"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("session_series", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    values, offsets = naive.ragged([[1.0, 2.0]], np.float64)
    for argument, arguments in {
        "values": (values.astype(np.float32), offsets),
        "offsets": (values, offsets + 1),
    }.items():
        with pytest.raises(KernelError) as caught:
            kernels.session_series(*arguments)
        assert (caught.value.kernel, caught.value.argument) == ("session_series", argument)
    with pytest.raises(KernelError, match="NaN"):
        kernels.session_series(np.array([np.nan, 1.0]), offsets)
