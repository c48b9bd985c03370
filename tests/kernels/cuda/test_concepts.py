from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from hypothesis import given, settings
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import concepts

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

DRAWN = cases.rows(150, 3)
LONG = [b" ".join(DRAWN[:40]), "忽略规则".encode() * 40 + b" ab", b"ab b c " * 60, b"x " * 40 + b"a"]
MIXED = [*cases.UNUSUAL, *DRAWN, *LONG]


def check(rows, host: Host | None = None) -> None:
    arguments = cases.concepts(*naive.ragged(rows, np.uint8))
    naive.agree("concepts", concepts.run(host or Host(), *arguments), naive.concepts(*arguments))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"ab"], [b"ab c"] * 200])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_threads_agrees_with_the_oracle(order):
    check(MIXED, Host(order))


@settings(max_examples=25)
@given(cases.IN_WORDS)
def test_any_texts_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=25)
@given(cases.ANY_BYTES)
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows)


def test_a_row_of_100k_bytes_agrees_with_the_cpu():
    rows = [b" ".join(DRAWN * 8), b"", b"ab"]
    arguments = cases.concepts(*naive.ragged(rows, np.uint8))
    naive.agree("concepts", concepts.run(Host(), *arguments), kernels.concepts(*arguments))


def test_offsets_may_begin_inside_the_values():
    values, offsets = naive.ragged([b"ab skipped", "a 忽略 ab".encode(), b"ab"], np.uint8)
    arguments = cases.concepts(values, offsets[1:3].copy())
    naive.agree("concepts", concepts.run(Host(), *arguments), kernels.concepts(*arguments))


MUTANTS = (
    ("? 0.2f : 1.0f;\n        __syncwarp();", "? 0.2f : 1.0f;"),
    ("dense ? 1 : 2", "2"),
    ("votes[other] > votes[won]", "votes[other] >= votes[won]"),
    ("? 0.2f : 1.0f", "? 1.0f : 1.0f"),
    ("if (at >= over) taken", "if (at > over) taken"),
    ("taken |= 1u << k, over = to", "taken |= 1u << k, over = at"),
    ("past < words.ends[units.mine]) past", "past > words.ends[units.mine]) past"),
    ("is_dense || at >= words.ends[word]) word++", "is_dense || at > words.ends[word]) word++"),
    ("(words.row[at] & 0xC0) == 0x80", "(words.row[at] & 0xC0) == 0xC0"),
    ("passed = how >= LATER ? MOST_BETWEEN : 0", "passed = how >= LATER ? MOST_BETWEEN - 1 : 0"),
    ("return parted ? begun : at", "return at"),
    ("if (to > past) past = to", "if (to >= past) past = to"),
    ("words.ends[word] - begin < size + 4", "words.ends[word] - begin < size"),
    ("units.mine, u64(1) << clitics[3 * k + 2])", "units.mine, ~u64(0))"),
    ("!(words.kinds[word] & LINKED)", "false"),
    ("const i64 from = (offsets[r] - offsets[0]) / 2 + r", "const i64 from = (offsets[r] - offsets[0]) / 2"),
    ("meant != bare;", "true;"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("concepts", MUTANTS, mutant, lambda host: check(MIXED, host))
