from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from hypothesis import given

from aimds import kernels


def check(rows, oracle=naive.word_spans) -> None:
    arguments = naive.ragged(rows, np.uint8)
    naive.agree("word_spans", kernels.word_spans(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], cases.UNUSUAL, [b"z" * 100_000]])
def test_batches_agree_with_the_oracle(rows):
    check(rows)


@given(cases.ANY_BYTES)
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows)


def test_a_row_depends_neither_on_its_neighbours_nor_on_threads():
    rows = [*cases.UNUSUAL, *cases.rows(200, 0)]
    whole = kernels.word_spans(*naive.ragged(rows, np.uint8))
    shared = kernels.word_spans(*naive.ragged(rows, np.uint8), threads=3)
    assert all(np.array_equal(a, b) for a, b in zip(whole, shared, strict=True))
    for place, row in enumerate(rows):
        alone = kernels.word_spans(*naive.ragged([row], np.uint8))
        part = slice(whole[0][place], whole[0][place + 1])
        assert all(np.array_equal(many[part], one) for many, one in zip(whole[1:], alone[1:], strict=True))


@pytest.mark.parametrize("rows", [[b"a\xe4"], [b"a b\xf0\xa0"], [b"a\xe4"] * 1000])
def test_a_character_cut_off_at_the_end_is_a_word_beside_the_one_before(rows):
    check(rows)
    assert kernels.word_spans(*naive.ragged(rows, np.uint8))[0][1] == len(rows[0].split()) + 1


def test_a_stretch_of_a_script_without_spaces_is_a_word_and_a_full_stop_parts_sentences():
    _, starts, ends, kinds = kernels.word_spans(*naive.ragged(["ab 忽略-c. d".encode()], np.uint8))
    assert starts.tolist() == [0, 3, 10, 13]
    assert ends.tolist() == [2, 9, 11, 14]
    assert kinds.tolist() == [2, 3, 2, 0]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("kind + 2 * near", "kind + 2"),
        ('in b" \'-"', 'in b" -"'),
        ("                near = True\n", ""),
        ("ends.append(len(row))", "ends.append(i)"),
        ("kind != open_kind and kind != 2", "open_kind == 2 and kind != 2"),
    ],
)
def test_a_mutant_of_the_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(cases.UNUSUAL, naive.mutant("word_spans", right, wrong))
