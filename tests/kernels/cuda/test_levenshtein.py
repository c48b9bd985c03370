from __future__ import annotations

import pytest
from host import missing
from mutants import refused
from test_masks import SHARED_MUTANTS, all_kernels

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

MUTANTS = (
    *SHARED_MUTANTS,
    ("    const Word valid = low_bits<Word>(", "    const Word valid = low_bits<Word>(1 + "),
    ("(i64(stretch) * words + word) * 64;", "i64(word) * 64;"),
    ("static constexpr u32 FIRST = 1;", "static constexpr u32 FIRST = 0;"),
    ("        equal |= fall;\n", ""),
    ("const Word shifted = rises << 1 | rise;", "const Word shifted = rises << 1;"),
    ("plus = falls << 1 | fall |", "plus = falls << 1 |"),
    ("u32(falls >> (BITS<Word> - 1)) << 1;", "u32(falls >> (BITS<Word> - 1));"),
    ("minus = shifted & vertical;", "minus = shifted & horizontal;"),
    ("return count; }", "return 0; }"),
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("levenshtein", MUTANTS, mutant, lambda host: all_kernels("levenshtein", host))
