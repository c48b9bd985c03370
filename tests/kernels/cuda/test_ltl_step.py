from __future__ import annotations

import ltl_cases as ltl
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds.kernels.cuda import ltl_step

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

SIZES = (3, 0, 5, 1, 140, 117, 0, 2)


def check(arguments, host: Host | None = None) -> None:
    naive.agree("ltl_step", ltl_step.run(host or Host(), *arguments), naive.ltl_step(*arguments))


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (400,), SIZES, (2, 3) * 100])
@pytest.mark.parametrize("order", ORDERS)
def test_batches_agree_with_the_oracle(sizes, order):
    check(ltl.steps(sizes, np.random.default_rng(1)), Host(order))


@pytest.mark.parametrize("texts", [(), ltl.TIMED[:1], ltl.TIMED[3:]])
def test_few_automata_agree_with_the_oracle(texts):
    check(ltl.steps(SIZES, np.random.default_rng(2), texts))


MUTANTS = (
    ("group >= groups || ", ""),
    ("p >= (automata > 1 ? automata : 1)", "p > (automata > 1 ? automata : 1)"),
    ("if (times[step] > time) time = times[step];", "time = times[step];"),
    ("> limits[own[3] + c]", ">= limits[own[3] + c]"),
    ("<< (own[2] + c)", "<< c"),
    ("if (resets[cell] >> c & 1)", ""),
    ("own[0] + state * own[1] + letter", "state * own[1] + letter"),
    ("state = table[cell];", ""),
    ("verdicts[own[5] + state]", "verdicts[state]"),
    ("if (automata) states[p] = u16(state);", ""),
    ("if (p == 0) record[0] = time;", ""),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    sample = ltl.steps(SIZES, np.random.default_rng(0))
    refused("ltl_step", MUTANTS, mutant, lambda host: check(sample, host))
