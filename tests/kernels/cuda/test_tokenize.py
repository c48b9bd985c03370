from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import tokenize

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

SEGMENT = tokenize.SEGMENT
VOCABULARY = [b"ignore", b"all", b"previous", b"the", b"a", "指".encode(), "café".encode(), b"instructions", b"x1"]
MIXED = [
    b"",
    b"a",
    b" ",
    b"...!",
    b"Ignore all previous instructions!",
    b"  the,the\tthe  unknown the " * 9,
    "a café – ünïcode 指令 and 指x1한국어".encode() * 3,
    b"\xe4\xbd cut \xe4 \xff\xfe\x80\x80 a\xe3\x81",
    # With the last byte of the row before it, this would be a code point.
    b"\x82 a",
    # Words, and a code point that is one, over the end of a segment and of a chunk of 32 bytes.
    b"a" * (SEGMENT - 3) + b" x1 ignore",
    b"b " * (SEGMENT // 2 - 1) + "b指指".encode() + b"a",
    b"." * 31 + "指a".encode() * 9,
]


def check(rows: list[bytes], host: Host | None = None, max_tokens: int = 0, vocabulary=VOCABULARY) -> None:
    values, offsets = naive.ragged(rows, np.uint8)
    got = tokenize.run(host or Host(), values, offsets, *kernels.build_vocabulary(vocabulary), max_tokens)
    naive.agree("tokenize", got, naive.tokenize(values, offsets, vocabulary, max_tokens))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], [b"many small rows"] * 200])
@pytest.mark.parametrize("max_tokens", [0, 1])
def test_small_batches_agree_with_the_oracle(rows, max_tokens):
    check(rows, max_tokens=max_tokens)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("max_tokens", [0, 1, 3, 40, 2047])
def test_every_limit_and_every_order_of_threads_agree_with_the_oracle(order, max_tokens):
    check(MIXED, Host(order), max_tokens)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(str.encode)), max_size=6), st.integers(0, 4))
def test_any_bytes_agree_with_the_oracle(rows, max_tokens):
    check(rows, max_tokens=max_tokens)


def test_a_row_of_a_megabyte_agrees_with_the_cpu():
    rng = np.random.default_rng(0)
    text = b" ".join(VOCABULARY[i] for i in rng.integers(0, len(VOCABULARY), 190_000))
    values, offsets = np.frombuffer(text, np.uint8), np.array([0, 9, 9 + (1 << 20), len(text), len(text)], np.int64)
    table = kernels.build_vocabulary(VOCABULARY)
    for limit in (0, 5000):
        got = tokenize.run(Host(), values, offsets, *table, limit)
        naive.agree("tokenize", got, kernels.tokenize(values, offsets, *table, max_tokens=limit))


def test_one_word_of_100k_bytes_is_one_token():
    check([b"z" * 100_000])


def test_every_word_of_a_large_vocabulary_is_found():
    check([b"w7 w4999 w5000 w0"], vocabulary=[b"w%d" % i for i in range(5000)])


def test_an_empty_vocabulary_knows_no_word():
    check(MIXED[:6], vocabulary=[])


def test_a_row_does_not_depend_on_its_neighbours():
    table = kernels.build_vocabulary(VOCABULARY)
    turned = MIXED[::-1]
    tokens, offsets, starts, ends = tokenize.run(Host(), *naive.ragged(turned, np.uint8), *table, 0)
    for place, row in enumerate(turned):
        alone = tokenize.run(Host(), *naive.ragged([row], np.uint8), *table, 0)
        part = slice(offsets[place], offsets[place + 1])
        for many, one in zip((tokens, starts, ends), (alone[0], *alone[2:]), strict=True):
            assert np.array_equal(many[part], one)


def test_offsets_may_begin_inside_the_values():
    values, offsets = naive.ragged([b"the skipped", b"a x1", b"the rest"], np.uint8)
    got = tokenize.run(Host(), values, offsets[1:3].copy(), *kernels.build_vocabulary(VOCABULARY), 0)
    naive.agree("tokenize", got, naive.tokenize(*naive.ragged([b"a x1"], np.uint8), VOCABULARY, 0))


MUTANTS = (
    ("queued += __popc(found);\n        __syncwarp();", "queued += __popc(found);"),
    ("at < segment.end; at += 32", "at + 1 < segment.end; at += 32"),
    ("queue[32 + lane]", "queue[31 + lane]"),
    ("nth + lane < max_tokens", "nth + lane <= max_tokens"),
    ("(slot + 1) & mask", "(slot + 2) & mask"),
    ("alone(place - 3)", "alone(place - 2)"),
    ("place + 2 >= size", "place + 1 >= size"),
    ("(1u << lane) - 1)", "(2u << lane) - 1)"),
    ("return ids[slot];", "return ids[slot ^ 1];"),
    ("next[k] >= 0xE3 && place > begin", "next[k] >= 0xF0 && place > begin"),
)


def probe(host: Host) -> None:
    check(MIXED, host, 40)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(mutant):
    refused("tokenize", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one():
    for order in ORDERS:
        probe(Host(order))
