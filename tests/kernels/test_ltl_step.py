from __future__ import annotations

import ltl_cases as ltl
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError
from aimds.ltl.automaton import VERDICTS
from aimds.ltl.monitor import Monitor
from aimds.ltl.parser import parse

SIZES = (3, 0, 5, 1, 140, 117, 0, 2)
SAMPLE = ltl.steps(SIZES, np.random.default_rng(0))


def check(arguments=SAMPLE, oracle=naive.ltl_step) -> None:
    before = [np.array(one) for one in arguments]
    naive.agree("ltl_step", kernels.ltl_step(*arguments), oracle(*arguments))
    assert all(np.array_equal(one, other) for one, other in zip(before, arguments, strict=True))


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (900,), SIZES, (2, 3) * 100])
@pytest.mark.parametrize("texts", [(), ltl.TIMED[:1], ltl.TIMED[3:], ltl.TIMED])
def test_batches_agree_with_the_oracle(sizes, texts):
    check(ltl.steps(sizes, np.random.default_rng(1), texts))


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(0, 99))
def test_any_steps_agree_with_the_oracle(sizes, seed):
    check(ltl.steps(tuple(sizes), np.random.default_rng(seed)))


def test_verdicts_are_those_of_monitors():
    *_, sessions, values, times, _ = SAMPLE
    verdict = kernels.ltl_step(*SAMPLE)[1]
    for p, text in enumerate(ltl.TIMED):
        monitors = [Monitor(parse(text)) for _ in SIZES]
        for step, (session, value, time) in enumerate(zip(sessions, values.tolist(), times.tolist(), strict=True)):
            events = {name for bit, name in enumerate(ltl.NAMES) if value >> bit & 1}
            assert VERDICTS[verdict[step, p]] == monitors[session].step(events, time), (text, step)


def test_many_batches_leave_what_one_leaves():
    *tables, sessions, values, times, records = SAMPLE
    whole, verdict = kernels.ltl_step(*SAMPLE)
    parts, after = [], records
    for start in range(0, len(sessions), 7):
        part = (one[start : start + 7].copy() for one in (sessions, values, times))
        after, found = kernels.ltl_step(*tables, *part, after)
        parts.append(found)
    assert np.array_equal(after, whole)
    assert np.array_equal(np.concatenate(parts), verdict)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("max(known[0], moment)", "moment"),
        ("now - known[1 + first + c] > int(limits[first + c])", "now - known[1 + first + c] >= int(limits[first + c])"),
        ("known[1 + first + c] = now", "known[1 + first + c] = moment"),
        ("packed[p] = table[cell]", "pass"),
        ("after[session, : 1 + len(limits)] = known[: 1 + len(limits)]", "pass"),
    ],
)
def test_a_mutant_of_the_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(oracle=naive.mutant("ltl_step", right, wrong))


def changed(place: int, at, value: int):
    given = [np.array(one) for one in SAMPLE]
    given[place][at] = value
    return given


@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        (changed(0, 0, 60_000), "table"),
        (changed(2, (0, 0), -1), "shape"),
        (changed(2, (0, 1), 3), "shape"),
        (changed(2, (1, 3), 99), "shape"),
        (changed(2, (1, 4), 9), "shape"),
        (changed(2, (5, 5), 1 << 20), "shape"),
        (changed(3, (0, 0, 3), 65_535), "letters"),
        (changed(4, 0, -1), "limits"),
        (changed(6, 0, len(SIZES)), "sessions"),
        (changed(9, (0, -1), 1 << 20), "records"),
        ([*SAMPLE[:9], SAMPLE[9][:, :2].copy()], "records"),
    ],
)
def test_tables_that_would_reach_outside_are_refused(arguments, argument):
    with pytest.raises(KernelError) as caught:
        kernels.ltl_step(*arguments)
    assert (caught.value.kernel, caught.value.argument) == ("ltl_step", argument)
