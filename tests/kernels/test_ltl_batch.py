from __future__ import annotations

import importlib
import tracemalloc

import ltl_cases as ltl
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError
from aimds.ltl.checker import truth
from aimds.ltl.parser import parse

cpu = importlib.import_module("aimds.kernels.cpu.ltl_batch")
RNG = np.random.default_rng(0)
SIZES = (3, 0, 5, 1, 1, 40, 0, 17, *RNG.integers(0, 9, 140).tolist())
SAMPLE = (*ltl.traces(SIZES, RNG), *ltl.program())


def check(arguments=SAMPLE, oracle=naive.ltl_batch) -> None:
    naive.agree("ltl_batch", kernels.ltl_batch(*arguments), oracle(*arguments))


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0, 0), (1,), (2500,), (5, 0, 64, 1025), (3, 4, 0) * 700])
def test_batches_agree_with_the_oracle(sizes):
    check((*ltl.traces(sizes, np.random.default_rng(1)), *ltl.program()))


@given(st.lists(st.lists(st.integers(0, 2**11 - 1), max_size=12), max_size=70), st.integers(0, len(ltl.UNTIMED)))
def test_any_rows_agree_with_the_oracle(rows, count):
    check((*ltl.ragged(rows), *ltl.program(ltl.UNTIMED[:count])))


@pytest.mark.parametrize("steps", [1, 2, 5, 64])
@pytest.mark.parametrize("texts", [ltl.UNTIMED, ltl.UNTIMED[:1], ("G (e0 -> F e1)", "F (e3 & X e4)")])
def test_rows_that_are_longer_than_what_is_held_at_once_agree_with_the_oracle(steps, texts, monkeypatch):
    monkeypatch.setattr(cpu, "STEPS", steps)
    values, offsets = ltl.traces((0, 1, 4, 5, 6, 10, 11, 64, 65, 66, 129, *[9] * 70), np.random.default_rng(5))
    check((values, offsets, *ltl.program(texts)))


def test_a_formula_of_one_slot_holds_at_every_row_that_has_steps():
    values, offsets = ltl.traces((2, 0, 1), RNG)
    assert ltl.held(kernels.ltl_batch(values, offsets, *ltl.program(("true",))), 3) == [[True, False, True]]


def test_memory_does_not_grow_with_the_length_of_a_row():
    def peak(length):
        values = np.zeros(length, np.uint64)
        tracemalloc.start()
        kernels.ltl_batch(values, np.array([0, length]), *ltl.program())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # What still grows is the past at every 4,096th step, 128 bytes a slot.
    short, long = peak(1 << 15), peak(1 << 19)
    assert long - short < 2 * (1 << 19)


def test_bits_are_what_the_formulas_mean():
    values, offsets = ltl.traces(SIZES[:40], np.random.default_rng(2))
    found = ltl.held(kernels.ltl_batch(values, offsets, *ltl.program()), 40)
    for text, line in zip(ltl.UNTIMED, found, strict=True):
        for row, held in enumerate(line):
            steps = [
                (k, frozenset(name for bit, name in enumerate(ltl.NAMES) if int(value) >> bit & 1))
                for k, value in enumerate(values[offsets[row] : offsets[row + 1]])
            ]
            assert held == (bool(steps) and truth(parse(text), steps, ended=True)), (text, row)


def test_neither_order_nor_threads_nor_neighbours_change_a_row():
    values, offsets = ltl.traces(SIZES, RNG)
    whole = ltl.held(kernels.ltl_batch(values, offsets, *ltl.program()), len(SIZES))
    order = RNG.permutation(len(SIZES))
    rows = [values[offsets[row] : offsets[row + 1]].tolist() for row in order]
    turned = ltl.held(kernels.ltl_batch(*ltl.ragged(rows), *ltl.program(), threads=2), len(SIZES))
    assert [[line[row] for row in order] for line in whole] == turned


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("held[right] or (held[left] and held[slot])", "held[right] or held[left]"),
        ("held[right] and (held[left] or held[slot])", "held[right] and held[left]"),
        ("code == 6 and place == 0", "code == 6"),
        ("steps[::-1]", "steps"),
        ("held[slot] = left == 1", "held[slot] = True"),
        ("if program is before", "if False"),
    ],
)
def test_a_mutant_of_the_oracle_is_noticed(right, wrong):
    with pytest.raises((AssertionError, IndexError)):
        check(oracle=naive.mutant("ltl_batch", right, wrong))


def changed(place: int, row: int | None, column: int, value: int):
    given = [np.array(one) if isinstance(one, np.ndarray) else one for one in SAMPLE]
    if row is None:
        given[place][column] = value
    else:
        given[place][row, column] = value
    return given


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (changed(2, None, 0, 64), "shifts"),
        (changed(2, None, 0, -1), "shifts"),
        (changed(3, 0, 0, 8), "past"),
        (changed(3, 0, 1, 1 << 20), "past"),
        (changed(3, -1, 1, 0), "past"),
        (changed(4, 0, 0, 7), "future"),
        (changed(4, 0, 2, -1), "future"),
        (changed(4, int(np.flatnonzero(SAMPLE[4][:, 0] == 6)[0]), 2, 2), "future"),
        (changed(5, None, 0, SAMPLE[-1]), "results"),
    ],
)
def test_programs_that_would_reach_outside_are_refused(arguments, argument):
    with pytest.raises(KernelError) as caught:
        kernels.ltl_batch(*arguments)
    assert (caught.value.kernel, caught.value.argument) == ("ltl_batch", argument)
