from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from hypothesis import given, settings
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import word_spans

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

MIXED = [*cases.UNUSUAL, *cases.rows(60, 2)]


def check(rows, host: Host | None = None) -> None:
    arguments = naive.ragged(rows, np.uint8)
    naive.agree("word_spans", word_spans.run(host or Host(), *arguments), naive.word_spans(*arguments))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], [b"many small rows"] * 200, [b"z" * 10_000]])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_threads_agrees_with_the_oracle(order):
    check(MIXED, Host(order))


@settings(max_examples=25)
@given(cases.ANY_BYTES)
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows)


def test_offsets_may_begin_inside_the_values():
    values, offsets = naive.ragged([b"the skipped", "a 忽x1".encode(), b"the rest"], np.uint8)
    found = word_spans.run(Host(), values, offsets[1:3].copy())
    naive.agree("word_spans", found, kernels.word_spans(values, offsets[1:3].copy()))


MUTANTS = (
    ("begins |= 1u << from;", "begins |= 1u << (from & 30);"),
    ("next < chunk + 32 && next < size", "next < chunk + 31 && next < size"),
    ("first == 0xF0 && second >= 0xA0", "second >= 0xA0"),
    ("second == 0x80 && third != 0x85", "second == 0x80"),
    ("const u32 second = at + 1 < stop ?", "const u32 second = at < stop ?"),
    ("ends[nth - 1] = int(at)", "ends[nth] = int(at)"),
    ("(any || near)", "any"),
    ("near = known ? ", "near = near && known ? "),
    ("before != BETWEEN && lane == 0", "before == OF_WORD && lane == 0"),
    ("byte == '\\'' || ", ""),
    ("hard & below & ~((2u << highest(known & below)) - 1)", "hard & below"),
    ("previous = of_word >> place & 1 ? OF_WORD : of_dense >> place & 1 ? OF_DENSE : BETWEEN", "previous = before"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("word_spans", MUTANTS, mutant, lambda host: check(MIXED, host))
