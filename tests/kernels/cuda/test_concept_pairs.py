from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import concept_pairs

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

RNG = np.random.default_rng(0)
SAMPLE = [RNG.integers(0, 9, size).tolist() for size in (3, 0, 1, 40, 2, 120)] + [[7] * 30, list(range(70))]


def check(rows, reach=8, host: Host | None = None) -> None:
    arguments = (*naive.ragged(rows, np.uint8), reach)
    naive.agree("concept_pairs", concept_pairs.run(host or Host(), *arguments), naive.concept_pairs(*arguments))


@pytest.mark.parametrize("rows", [[], [[]], [[], []], [[3]], [[1, 2]] * 200])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("reach", [0, 1, 8, 64])
def test_every_reach_and_every_order_of_threads_agree_with_the_oracle(order, reach):
    check(SAMPLE, reach, Host(order))


@settings(max_examples=25)
@given(cases.ANY_CONCEPTS, st.integers(0, 64))
def test_any_concepts_agree_with_the_oracle(rows, reach):
    check(rows, reach)


def test_a_row_of_10k_concepts_agrees_with_the_cpu():
    arguments = (*naive.ragged([RNG.integers(0, 239, 10_000).tolist(), [1]], np.uint8), 8)
    naive.agree("concept_pairs", concept_pairs.run(Host(), *arguments), kernels.concept_pairs(*arguments))


def test_offsets_may_begin_inside_the_concepts():
    values, offsets = naive.ragged([[1, 2, 3], [4, 5], [6]], np.uint8)
    found = concept_pairs.run(Host(), values, offsets[1:3].copy(), 8)
    naive.agree("concept_pairs", found, kernels.concept_pairs(values, offsets[1:3].copy(), 8))


MUTANTS = (
    ("else atomicMin(&firsts[table + slot], place);", ""),
    ("first == second ? LONE : concept[second]", "concept[second]"),
    ("first == second || a <= b ?", "true ?"),
    ("if (second >= size) return FREE;", "if (second > size) return FREE;"),
    ("held != FREE && row.feature(held) != feature", "held != FREE && held != place"),
    ("atomicAdd(&times[table + slot], 1)", "times[table + slot] = 1"),
    ("(1u << lane) - 1)", "(2u << lane) - 1)"),
    ("to += __popc(found);", "to += 32;"),
    ("slot + 1 < 2 * i64(places()) ? slot + 1 : 0", "slot + 1"),
)


def probe(host: Host) -> None:
    check(SAMPLE, host=host)
    # Of some of these the last slot of the table is wanted twice.
    for row in np.random.default_rng(1).permuted(np.tile(np.arange(99), (60, 1)), axis=1)[:, :3].tolist():
        check([row], 0, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("concept_pairs", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    probe(Host())
