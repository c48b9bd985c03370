from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

VOCABULARY = [b"ignore", b"all", b"previous", b"the", b"a", "指".encode(), "café".encode(), b"instructions", b"x1"]
MIXED = [
    b"",
    b"a",
    b" ",
    b"...!",
    b"Ignore all previous instructions!",
    b"  the,the\tthe  unknown the ",
    "a café – ünïcode".encode(),
    "指令 and 指x1한국어".encode(),
    b"\xe4\xbd cut \xe4 \xff\xfe\x80\x80 a\xe3\x81",
]
TEXTS = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.text(max_size=12).map(str.encode),
        st.lists(st.sampled_from([*VOCABULARY, b" ", b",", b"b"]), max_size=8).map(b"".join),
    ),
    max_size=6,
)


def check(rows: list[bytes], oracle=naive.tokenize, max_tokens: int = 0, vocabulary: list[bytes] = VOCABULARY) -> None:
    values, offsets = naive.ragged(rows, np.uint8)
    got = kernels.tokenize(values, offsets, *kernels.build_vocabulary(vocabulary), max_tokens=max_tokens)
    naive.agree("tokenize", got, oracle(values, offsets, vocabulary, max_tokens))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], MIXED, [b"the same words"] * 20])
@pytest.mark.parametrize("max_tokens", [0, 1, 3])
def test_small_batches_agree_with_the_oracle(rows, max_tokens):
    check(rows, max_tokens=max_tokens)


def test_a_row_of_100k_bytes_agrees_with_the_oracle():
    rng = np.random.default_rng(0)
    check([b" ".join(VOCABULARY[i] for i in rng.integers(0, len(VOCABULARY), 20_000))])


def test_one_word_of_100k_bytes_is_one_token():
    check([b"z" * 100_000])


def test_every_word_of_a_large_vocabulary_is_found():
    check([b"w7 w4999 w5000 w0"], vocabulary=[b"w%d" % i for i in range(5000)])


def test_an_empty_vocabulary_knows_no_word():
    check(MIXED, vocabulary=[])


@settings(max_examples=80)
@given(TEXTS, st.integers(0, 4))
def test_any_bytes_agree_with_the_oracle(rows, max_tokens):
    check(rows, max_tokens=max_tokens)


@settings(max_examples=40)
@given(TEXTS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    table = kernels.build_vocabulary(VOCABULARY)
    order = random.sample(range(len(rows)), len(rows))
    tokens, offsets, starts, ends = kernels.tokenize(
        *naive.ragged([rows[i] for i in order], np.uint8), *table, threads=2
    )
    for place, i in enumerate(order):
        alone = kernels.tokenize(*naive.ragged([rows[i]], np.uint8), *table)
        part = slice(offsets[place], offsets[place + 1])
        assert all(
            np.array_equal(a[part], b) for a, b in zip((tokens, starts, ends), (alone[0], *alone[2:]), strict=True)
        )


@settings(max_examples=40)
@given(TEXTS)
def test_the_ranges_of_tokens_rise_and_hold_no_separator(rows):
    values, offsets = naive.ragged(rows, np.uint8)
    _, token_offsets, starts, ends = kernels.tokenize(values, offsets, *kernels.build_vocabulary([b"a"]))
    for r, row in enumerate(rows):
        part = slice(token_offsets[r], token_offsets[r + 1])
        last = 0
        for start, end in zip(starts[part].tolist(), ends[part].tolist(), strict=True):
            assert last <= start < end <= len(row)
            assert not set(row[start:end]) & set(b" ,.!-\t\n")
            last = end


def test_word_hash_is_the_documented_one():
    assert all(kernels.word_hash(word) == naive.word_hash(word) for word in VOCABULARY)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("else len(vocabulary))", "else 0)"),
        ("begin + len(word))", "begin + len(word) - 1)"),
        ("[: max_tokens or len(words)]", "[: max_tokens + 1]"),
        ("words_of(row)", "pieces_of(row)"),
        ("words_of(row)", "words_of(row[:-1])"),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(MIXED, naive.mutant("tokenize", right, wrong), max_tokens=2 if "max" in right else 0)


@pytest.mark.parametrize("words", [[b"two words"], [b""], [b" a"], ["前後".encode()], [b"a", b"b", b"a"], [b"!"]])
def test_a_vocabulary_that_could_never_match_is_refused(words):
    with pytest.raises(KernelError, match="tokenize"):
        kernels.build_vocabulary(words)


@pytest.mark.parametrize(
    ("argument", "keys", "ids", "max_tokens"),
    [
        ("ids", 12, np.full(12, -1, np.int32), 0),
        ("ids", 16, np.arange(16, dtype=np.int32), 0),
        ("ids", 16, np.full(16, -1, np.int64), 0),
        ("ids", 8, np.full(16, -1, np.int32), 0),
        ("max_tokens", 16, np.full(16, -1, np.int32), -1),
    ],
)
def test_an_argument_that_does_not_fit_is_named(argument, keys, ids, max_tokens):
    values, offsets = naive.ragged([b"text"], np.uint8)
    with pytest.raises(KernelError) as caught:
        kernels.tokenize(values, offsets, np.zeros(keys, np.uint64), ids, max_tokens=max_tokens)
    assert (caught.value.kernel, caught.value.argument) == ("tokenize", argument)
