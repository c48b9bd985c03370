from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds import kernels
from aimds.errors import KernelError
from aimds.kernels.cuda import dtw

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


SAMPLE = [[], [1.5], normal(2).tolist(), [0.0] * 5, normal(9).tolist(), [], normal(16, seed=2).tolist()]


def check(rows, patterns, host: Host | None = None) -> None:
    arguments = (*naive.ragged(rows, np.float32), np.asarray(patterns, np.float32))
    naive.agree("dtw", dtw.run(host or Host(), *arguments), naive.dtw(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[2.0]], SAMPLE])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (3, 64), (5, 65), (130, 3)])
def test_small_batches_agree_with_the_oracle(rows, shape):
    check(rows, normal(*shape, seed=3))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("rows", "patterns"), [((700,), (2, 64)), ((40, 31, 33), (3, 514)), ((3,) * 300, (5, 3))])
def test_one_large_few_big_and_many_small_agree_with_the_oracle(order, rows, patterns):
    check([normal(size, seed=size).tolist() for size in rows], normal(*patterns), Host(order))


def test_columns_that_go_on_in_stretches_are_done_in_parts_that_fit(monkeypatch):
    monkeypatch.setattr(dtw, "ROOM_BYTES", 1000)
    host = Host()
    check([normal(50).tolist(), [], normal(33).tolist()], normal(7, 1030), host)
    assert len(host.launched) == 3
    assert {launch.kernel for launch in host.launched} == {"dtw_warp"}


def test_it_agrees_with_the_cpu_within_the_tolerance():
    arguments = (*naive.ragged([normal(60, seed=k).tolist() for k in range(9)], np.float32), normal(33, 64))
    naive.agree("dtw", dtw.run(Host(), *arguments), kernels.dtw(*arguments))


def test_a_row_does_not_depend_on_its_neighbours():
    patterns = normal(5, 65)
    whole = dtw.run(Host(), *naive.ragged(SAMPLE, np.float32), patterns)
    for row, found in zip(SAMPLE, whole, strict=True):
        assert np.array_equal(dtw.run(Host(), *naive.ragged([row], np.float32), patterns)[0], found)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    with pytest.raises(KernelError, match="NaN or infinity"):
        check([[1.0, bad]], normal(1, 2))
    with pytest.raises(KernelError, match="NaN or infinity"):
        check([[1.0]], [[bad]])


MUTANTS = (
    (
        "const float *const stop = values + offsets[row + 1];",
        "const float *const stop = values + offsets[row + 1] - 1;",
    ),
    ("second = step(two, place[c], between, first, second);", "second = step(two, place[c], corner, first, second);"),
    ("        start = inf;\n", ""),
    ("corner = up, between = first;", "corner = up, between = up;"),
    ("places[i64(c) * count + pattern], above[c] = inf;", "places[i64(c) * count + pattern], above[c] = 0.0f;"),
    ("    if (value < stop) {", "    if (false) {"),
    ("__shfl_up_sync(ALL_LANES, last, 1)", "__shfl_up_sync(ALL_LANES, last, 2)"),
    ("wave < size + 31;", "wave < size + 30;"),
    ("const int i = wave - lane;", "const int i = wave;"),
    ("corner = stretch || lane ? inf : 0.0f;", "corner = lane ? inf : 0.0f;"),
    ("left = stretch ? kept[i64(i) * here] : inf;", "left = inf;"),
    ("        corner = left;\n            if (lane == 31", "        if (lane == 31"),
    ("column + c == length - 1", "column + c == length - 2"),
    ("kept[i64(i) * here] = last;", "kept[i64(i)] = last;"),
)


def both(host: Host) -> None:
    check(SAMPLE, normal(3, 3), host)
    check([normal(9).tolist(), normal(40, seed=1).tolist()], normal(3, 215), host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant, monkeypatch):
    monkeypatch.setattr(dtw, "LANE_COLUMNS", 3)
    refused("dtw", MUTANTS, mutant, both)


def test_what_the_mutants_are_checked_with_passes_without_one(monkeypatch):
    monkeypatch.setattr(dtw, "LANE_COLUMNS", 3)
    for order in ORDERS:
        both(Host(order))
