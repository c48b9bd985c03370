"""Four traces side by side say what each says alone, whatever their lengths and wherever they fail."""

from __future__ import annotations

import random

import numpy as np
import pytest
from naive_ltl import random_formula

from aimds.ltl.automaton import NO, VERDICTS, automaton
from aimds.ltl.core import FragmentError
from aimds.ltl.formula import Formula
from aimds.ltl.monitor import Monitor
from aimds.ltl.parser import parse
from aimds.ltl.tables import Tables, _trail

NAMES = ("a", "b", "c", "d")


def timed(seed: int, count: int) -> list[Formula]:
    """Formulas whose automaton has one clock."""
    rng, out = random.Random(seed), [parse("G (a -> F[0,10us] b)"), parse("G (a -> O[0,9us] b)")]
    while len(out) < count:
        formula = random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True, timed=True)
        try:
            if len(automaton(formula).limits_us) == 1:
                out.append(formula)
        except FragmentError:
            continue
    return out


def traces(seed: int, sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    values = rng.integers(0, 16, offsets[-1]).astype(np.uint64)
    times = [np.sort(rng.integers(0, 4 * size + 1, size)) for size in sizes]
    return values, np.concatenate([*times, np.zeros(0, np.int64)]).astype(np.int64), offsets


@pytest.mark.parametrize("sizes", [[70, 64, 200, 65, 130], [0, 3, 1, 5, 0, 2, 2, 2], [7], [150] * 8])
def test_together_is_as_alone(sizes: list[int]) -> None:
    values, times, offsets = traces(len(sizes), sizes)
    failing = 0
    for formula in timed(3, 25):
        table = Tables.of([automaton(formula)], NAMES)
        verdicts, fails = table.trail(values, times, offsets)
        end, expected = np.empty(fails.shape, np.uint16), np.empty_like(fails)
        _trail(*table.steps, values, times, offsets, 0, end, expected)
        assert np.array_equal(fails, expected), str(formula)
        assert np.array_equal(verdicts, table.verdicts[end]), str(formula)
        failing += int((fails >= 0).sum())
    assert failing > 0


def test_a_monitor_says_the_same() -> None:
    values, times, offsets = traces(9, [12, 9, 30, 11, 5])
    for formula in timed(4, 12):
        verdicts, fails = Tables.of([automaton(formula)], NAMES).trail(values, times, offsets)
        for row in range(len(offsets) - 1):
            monitor = Monitor(formula)
            for at in range(offsets[row], offsets[row + 1]):
                mask = int(values[at])
                said = monitor.step([name for bit, name in enumerate(NAMES) if mask >> bit & 1], int(times[at]))
            if fails[row, 0] >= 0:
                assert verdicts[row, 0] == NO
            else:
                assert said.endswith("true") == VERDICTS[verdicts[row, 0]].endswith("true"), str(formula)
