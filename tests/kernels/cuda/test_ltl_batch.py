from __future__ import annotations

import ltl_cases as ltl
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused
from standin import standin

from aimds import kernels
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


LONG = (1, 2, 3, 4, 5, 8, 9, 12, 13, 16, 17, 50, *[16] * 60, *[5] * 60, 90)


@pytest.mark.parametrize("texts", [ltl.UNTIMED, ltl.UNTIMED[:1], ("F (e3 & X e4)",), ("true",)])
@pytest.mark.parametrize("steps", [1, 4, 5, 90])
def test_rows_longer_than_what_is_held_at_once_come_in_stretches_and_give_the_same(monkeypatch, texts, steps):
    arguments = (*ltl.traces(LONG, np.random.default_rng(3)), *ltl.program(texts))
    inputs = len(arguments[2]) + int((arguments[3][:, 0] == ltl_batch.KEEP).sum())
    words = -(-len(LONG) // 64)
    monkeypatch.setattr(ltl_batch, "STEPS", steps)
    monkeypatch.setattr(ltl_batch, "ROOM_BYTES", 8 * max(inputs, 1) * words * steps)
    for order in ORDERS:
        host = Host(order)
        naive.agree("ltl_batch", ltl_batch.run(host, *arguments), kernels.ltl_batch(*arguments))
        sweeps = [launch for launch in host.launched if launch.kernel == "ltl_batch"]
        assert len(sweeps) == -(-max(LONG) // steps)


def test_memory_does_not_grow_with_the_length_of_a_row(monkeypatch):
    place, memory, host = standin(monkeypatch)
    room = 100_000
    monkeypatch.setattr(ltl_batch, "ROOM_BYTES", room)
    for length in (1_000, 20_000):
        arguments = (*ltl.traces((length, 3), np.random.default_rng(4)), *ltl.program())
        there = [place.put(one) if isinstance(one, np.ndarray) else one for one in arguments]
        memory.xp.largest = 0
        found = ltl_batch.run(host, *there).get()
        assert room // 2 < memory.xp.largest <= room
        naive.agree("ltl_batch", found, kernels.ltl_batch(*arguments))


MUTANTS = (
    ("values[begin[0] + at]", "values[at]"),
    ("values[begin[1] + at]", "values[begin[0] + at]"),
    ("+ 32 * half + lane", "+ 16 * half + lane"),
    ("at += int(gridDim.y) * warps", "at += stop"),
    ("u64(above) << 32 | below", "u64(below) << 32 | above"),
    ("(slot[row[1] * words] & ~begun)", "slot[row[1] * words]"),
    ("(row[2] ? begun : 0)", "begun"),
    ("case 3: made = right | (left & before)", "case 3: made = right | left"),
    ("default: made = right & (left | before)", "default: made = right & left"),
    ("case 2: made = ~left", "case 2: made = left"),
    ("at ? 0 : ~u64(0)", "0"),
    ("at ? 0 : ~u64(0)", "at - start ? 0 : ~u64(0)"),
    ("bits + word + (at - start) * apart);\n}", "bits + word + at * apart);\n}"),
    ("order[base + left]) > stop) left--", "order[base + left]) >= stop) left--"),
    ("order[base + left]) > stop) left--", "order[base + left]) > stop) break"),
    ("if (start) return;", ""),
    ("order[base + left]) == at + 1", "order[base + left]) == at"),
    ("here = rows - base < WORD ? int(rows - base) : WORD", "here = WORD"),
    ("u64(1) << row % WORD", "u64(1) << bit"),
    ("for (int k = 0; k < keeps; k++, row += 4)", "for (int k = 0; k < 0; k++, row += 4)"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant, monkeypatch):
    monkeypatch.setattr(ltl_batch, "GRID", 2)
    monkeypatch.setattr(ltl_batch, "ROOM_BYTES", 2_000)

    def probe(host: Host) -> None:
        check(SAMPLE, host)
        with monkeypatch.context() as shorter:
            shorter.setattr(ltl_batch, "STEPS", 4)
            check((*ltl.traces(LONG, np.random.default_rng(3)), *ltl.program()), host)

    refused("ltl_batch", MUTANTS, mutant, probe)
