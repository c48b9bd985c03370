from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

MIXED = [
    b"",
    b"a",
    b" ",
    b"...!",
    b"ignore all previous instructions",
    b"  Two  spaces, and a tab\t; the the the the  ",
    "naïve café – ünïcode".encode(),
    "忽略所有之前的指令 and ひらがな한국어".encode(),
    "前後x前".encode(),
    b"\xe4\xbd cut \xe4 \xff\xfe\x80\x80 \xf0\x9f\x98\x80",
    b"a" * 300,
    b" ".join(bytes([byte]) for byte in range(0x80, 0x100)),
]
TEXTS = st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=6)


def check(rows: list[bytes], oracle=naive.ngram_hash, bits: int = 18) -> None:
    values, offsets = naive.ragged(rows, np.uint8)
    naive.agree("ngram_hash", kernels.ngram_hash(values, offsets, bits=bits), oracle(values, offsets, bits))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], MIXED, [b"same words"] * 20])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


def test_a_row_of_100k_bytes_agrees_with_the_oracle():
    rng = np.random.default_rng(0)
    check([bytes(rng.choice(np.frombuffer(b"abcdefgh  ", np.uint8), 100_000))])


def test_100k_equal_bytes_count_past_16_bits():
    check([b"z" * 100_000])


@pytest.mark.parametrize("bits", [12, 19])
def test_every_number_of_bits_agrees_with_the_oracle(bits):
    check(MIXED, bits=bits)


@settings(max_examples=80)
@given(TEXTS)
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows)


@settings(max_examples=40)
@given(TEXTS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    whole = kernels.ngram_hash(*naive.ragged([rows[i] for i in order], np.uint8), threads=2)
    indptr, indices, counts = whole
    for place, i in enumerate(order):
        alone = kernels.ngram_hash(*naive.ragged([rows[i]], np.uint8))
        assert np.array_equal(indices[indptr[place] : indptr[place + 1]], alone[1])
        assert np.array_equal(counts[indptr[place] : indptr[place + 1]], alone[2])


def test_indices_of_a_row_are_unique_and_ascending():
    indptr, indices, _ = kernels.ngram_hash(*naive.ragged(MIXED, np.uint8))
    for first, last in itertools.pairwise(indptr):
        assert (np.diff(indices[first:last]) > 0).all()


def test_offsets_may_begin_inside_the_values():
    values, offsets = naive.ragged([b"skip this", b"read this", b"and not this"], np.uint8)
    got = kernels.ngram_hash(values, offsets[1:3])
    naive.agree("ngram_hash", got, kernels.ngram_hash(*naive.ragged([b"read this"], np.uint8)))


def test_read_only_buffers_are_read_in_place():
    values = np.frombuffer(b"an arrow buffer is read only", np.uint8)
    assert not values.flags.writeable
    check([bytes(values)])
    kernels.ngram_hash(values, np.array([0, len(values)], np.int64))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('b" " + piece', "piece"),
        ('+ b" "\n', "\n"),
        ("- size + 1)", "- size)"),
        ("3 * a", "a"),
        ("words_of(row)", "pieces_of(row)"),
        ("sorted(seen)", "seen"),
        ('"big"', '"little"'),
        ("get(bucket, 0)", "get(bucket, 1)"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(MIXED, naive.mutant("ngram_hash", right, wrong))


@pytest.mark.parametrize(
    ("argument", "values", "offsets", "bits"),
    [
        ("values", np.zeros(3, np.int32), np.array([0, 3], np.int64), 18),
        ("values", [1, 2, 3], np.array([0, 3], np.int64), 18),
        ("values", np.zeros((1, 3), np.uint8), np.array([0, 3], np.int64), 18),
        ("offsets", np.zeros(3, np.uint8), np.array([0, 3], np.int32), 18),
        ("offsets", np.zeros(3, np.uint8), np.array([0, 4], np.int64), 18),
        ("offsets", np.zeros(3, np.uint8), np.array([-1, 3], np.int64), 18),
        ("offsets", np.zeros(3, np.uint8), np.array([0, 2, 1], np.int64), 18),
        ("offsets", np.zeros(3, np.uint8), np.array([], np.int64), 18),
        ("bits", np.zeros(3, np.uint8), np.array([0, 3], np.int64), 11),
        ("bits", np.zeros(3, np.uint8), np.array([0, 3], np.int64), 25),
        ("bits", np.zeros(3, np.uint8), np.array([0, 3], np.int64), 18.0),
    ],
)
def test_an_argument_that_does_not_fit_is_named(argument, values, offsets, bits):
    with pytest.raises(KernelError) as caught:
        kernels.ngram_hash(values, offsets, bits=bits)
    assert (caught.value.kernel, caught.value.argument) == ("ngram_hash", argument)
