from __future__ import annotations

import ltl_cases as ltl
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import ltl_batch

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

RNG = np.random.default_rng(0)
SIZES = (3, 0, 5, 1, 1, 40, 0, 17, *RNG.integers(0, 9, 140).tolist())
SAMPLE = (*ltl.traces(SIZES, RNG), *ltl.program())


def check(arguments, host: Host | None = None) -> None:
    naive.agree("ltl_batch", ltl_batch.run(host or Host(), *arguments), naive.ltl_batch(*arguments))


@pytest.mark.parametrize("sizes", [(), (0, 0), (1,), SIZES, (600,), (2, 0, 70) * 30])
@pytest.mark.parametrize("order", ORDERS)
def test_batches_agree_with_the_oracle(sizes, order):
    check((*ltl.traces(sizes, np.random.default_rng(1)), *ltl.program()), Host(order))


@pytest.mark.parametrize("texts", [(), ("true",), ltl.UNTIMED[:1], ltl.UNTIMED[2:3]])
def test_programs_of_few_parts_agree_with_the_oracle(texts):
    check((*ltl.traces(SIZES, np.random.default_rng(2)), *ltl.program(texts)))


def test_words_that_there_is_no_room_for_at_once_come_one_after_the_other(monkeypatch):
    monkeypatch.setattr(ltl_batch, "ROOM_BYTES", 2_000)
    check(SAMPLE)
    monkeypatch.setattr(ltl_batch, "GRID", 2)
    check(SAMPLE)


MUTANTS = (
    ("values[begin[0] + at]", "values[at]"),
    ("values[begin[1] + at]", "values[begin[0] + at]"),
    ("+ 32 * half + lane", "+ 16 * half + lane"),
    ("at += int(gridDim.y) * warps", "at += columns"),
    ("u64(above) << 32 | below", "u64(below) << 32 | above"),
    ("(slot[row[1] * words] & ~begun)", "slot[row[1] * words]"),
    ("(row[2] ? begun : 0)", "begun"),
    ("case 3: made = right | (left & before)", "case 3: made = right | left"),
    ("default: made = right & (left | before)", "default: made = right & left"),
    ("case 2: made = ~left", "case 2: made = left"),
    ("at ? 0 : ~u64(0)", "0"),
    ("order[base + left]) == at + 1", "order[base + left]) == at"),
    ("here = rows - base < WORD ? int(rows - base) : WORD", "here = WORD"),
    ("u64(1) << row % WORD", "u64(1) << bit"),
    ("for (int k = 0; k < keeps; k++, row += 4)", "for (int k = 0; k < 0; k++, row += 4)"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant, monkeypatch):
    monkeypatch.setattr(ltl_batch, "GRID", 2)
    refused("ltl_batch", MUTANTS, mutant, lambda host: check(SAMPLE, host))
