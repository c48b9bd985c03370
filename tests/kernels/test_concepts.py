from __future__ import annotations

import concept_cases as cases
import naive
import numpy as np
import pytest
from hypothesis import given, settings

from aimds import kernels
from aimds.errors import KernelError

DRAWN = cases.rows(300, 1)


def arguments(rows):
    return cases.concepts(*naive.ragged(rows, np.uint8))


def check(rows, oracle=naive.concepts) -> None:
    given_rows = arguments(rows)
    naive.agree("concepts", kernels.concepts(*given_rows), oracle(*given_rows))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b""], [b"ab"], cases.UNUSUAL, DRAWN, [b"".join(DRAWN)]])
def test_batches_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=50)
@given(cases.IN_WORDS)
def test_any_texts_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=50)
@given(cases.ANY_BYTES)
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows)


def test_a_row_depends_neither_on_its_neighbours_nor_on_threads():
    whole, shared = kernels.concepts(*arguments(DRAWN)), kernels.concepts(*arguments(DRAWN), threads=3)
    assert all(np.array_equal(a, b) for a, b in zip(whole, shared, strict=True))
    for place, row in enumerate(DRAWN[:60]):
        alone = kernels.concepts(*arguments([row]))
        part = slice(whole[4][place], whole[4][place + 1])
        assert whole[0][place] == alone[0][0]
        assert all(np.array_equal(many[part], one) for many, one in zip(whole[1:4], alone[1:4], strict=True))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("votes[main] == top", "False"),
        ("i >= over", "True"),
        ("concept != bare", "True"),
        ("to if dense else max(to, end)", "to"),
        ("1 if dense else 2", "2"),
        ("0.2 if dense else 1.0", "1.0"),
        ("0xD6 <= row[i] <= 0xDB", "False"),
        ("end - i >= len(one[0]) + 4", "True"),
    ],
)
def test_a_mutant_of_the_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check([*cases.UNUSUAL, *DRAWN], naive.mutant("concepts", right, wrong))


def test_what_does_not_fit_is_named():
    given_rows = arguments([b"ab"])
    with pytest.raises(KernelError, match="main"):
        kernels.concepts(*given_rows[:-3], 4, *given_rows[-2:])
    with pytest.raises(KernelError, match="starts") as caught:
        kernels.concepts(*given_rows[:3], given_rows[3].astype(np.int64), *given_rows[4:])
    assert caught.value.argument == "starts"


def test_stems_that_would_reach_outside_are_refused():
    langs, part_from = np.zeros(1, np.uint8), np.array([0, 1], np.int32)
    parts, pool = np.array([[0, 2, 0]], np.int32), np.frombuffer(b"ab", np.uint8)
    none = np.zeros((0, 3), np.int32)
    assert len(kernels.build_stems(langs, langs, part_from, parts, pool, none).facts) == 1
    for changed in (
        (langs, langs, part_from[:1], parts, pool, none),
        (langs, langs, part_from, parts + np.array([0, 1, 0], np.int32), pool, none),
        (langs + np.uint8(64), langs, part_from, parts, pool, none),
        (langs, langs, part_from, parts, pool, np.array([[0, 2, 64]], np.int32)),
        (langs, langs, part_from, parts, pool, np.array([[1, 1, 0]], np.int32)),
    ):
        with pytest.raises(KernelError):
            kernels.build_stems(*changed)
