from __future__ import annotations

import itertools

import numpy as np
import pytest

from aimds.analyze.attractors import TYPES
from aimds.jobs.sessions import motions

ALL = [
    (kind, name, make)
    for family in (motions.LEARNT, motions.HELD_OUT)
    for kind, makers in family.items()
    for name, make in makers.items()
]


def test_both_families_have_all_types_and_no_system_in_common():
    assert tuple(motions.LEARNT) == tuple(motions.HELD_OUT) == TYPES[:5]
    names = [name for _, name, _ in ALL]
    assert len(set(names)) == len(names)
    makers = [make for _, _, make in ALL]
    assert len(set(makers)) == len(makers)


@pytest.mark.parametrize(("kind", "name", "make"), ALL)
@pytest.mark.parametrize("size", [32, 150])
def test_a_system_is_finite_and_the_same_for_the_same_seed(kind, name, make, size):
    series = make(size, np.random.default_rng(4))
    assert series.shape == (size,)
    assert np.isfinite(series).all()
    assert series.std() > 0
    assert np.array_equal(series, make(size, np.random.default_rng(4)))


@pytest.mark.parametrize(("kind", "name", "make"), [one for one in ALL if one[0] == "fixed_point"])
def test_a_fixed_point_is_where_a_system_ends(kind, name, make):
    series = make(200, np.random.default_rng(1))
    assert np.abs(series[-20:] - series[-1]).max() < 0.01 * series.std()


def test_a_logistic_cycle_comes_back_and_logistic_chaos_does_not():
    cycle = motions.LEARNT["periodic"]["logistic cycle"](64, np.random.default_rng(0))
    chaos = motions.LEARNT["chaotic"]["logistic"](64, np.random.default_rng(0))
    assert min(np.abs(cycle[k:] - cycle[:-k]).max() for k in (2, 3, 4)) < 1e-3
    assert min(np.abs(chaos[k:] - chaos[:-k]).max() for k in range(1, 20)) > 0.1


def test_what_is_drawn_takes_the_systems_of_a_type_in_turn():
    series, kinds, systems = motions.drawn(motions.HELD_OUT, 40, 5, 0.1, np.random.default_rng(0))
    assert len(series) == 25
    assert [kind for kind, _ in itertools.groupby(kinds)] == list(TYPES[:5])
    assert systems[5:10] == ["sawtooth", "square", "harmonics", "sawtooth", "square"]
