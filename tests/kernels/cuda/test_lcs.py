from __future__ import annotations

import pytest
from host import missing
from mutants import refused
from test_masks import SHARED_MUTANTS, all_kernels

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

MUTANTS = (
    *SHARED_MUTANTS,
    ("total = state + hit + carry;", "total = state + hit;"),
    ("u32((hit | (state & ~total)) >> (BITS<Word> - 1))", "u32(hit >> (BITS<Word> - 1))"),
    ("state = total | (state & ~mask);", "state = total | ~mask;"),
    ("ones<Word>(~state);", "ones<Word>(~state) + 1;"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("lcs", MUTANTS, mutant, lambda host: all_kernels("lcs", host))
