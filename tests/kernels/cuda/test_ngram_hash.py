from __future__ import annotations

import itertools

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import ngram_hash

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

TILE = 1024
MIXED = [
    b"",
    b"a",
    b" ",
    b"...!",
    b"  Two  spaces, and a tab\t; the the the the  ",
    "naïve café 前後x前 and ひらがな한국어".encode(),
    b"\xe4\xbd cut \xe4 \xff\xfe\x80\x80 \xf0\x9f\x98\x80",
    b"same words same words " * 12,
    # The last byte of a row is the last of a tile; a word goes over the end of a tile, and so do separators.
    (b"ab " * TILE)[: TILE - 1] + b"c",
    b"x" * (TILE - 3) + b"words" + b" " * TILE + b"more",
]


def check(rows: list[bytes], host: Host | None = None, bits: int = 18, oracle=naive.ngram_hash) -> None:
    values, offsets = naive.ragged(rows, np.uint8)
    naive.agree("ngram_hash", ngram_hash.run(host or Host(), values, offsets, bits), oracle(values, offsets, bits))


@pytest.mark.parametrize("rows", [[], [b""], [b"", b"", b""], [b"x"], MIXED, [b"many small rows"] * 40])
def test_small_batches_agree_with_the_oracle(rows):
    check(rows)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [12, 18, 20])
def test_every_number_of_bits_and_every_order_of_threads_agree_with_the_oracle(order, bits):
    check(MIXED, Host(order), bits)


@settings(max_examples=15)
@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=4))
def test_any_bytes_agree_with_the_oracle(rows):
    check(rows, bits=12)


def test_few_big_rows_agree_with_the_cpu():
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"abcdefghijklmnop    ,\xe3\x81\x82", np.uint8)
    check([bytes(rng.choice(letters, 9000)) for _ in range(3)], oracle=_cpu)


def test_a_row_of_a_megabyte_agrees_with_the_cpu():
    rng = np.random.default_rng(1)
    values = rng.choice(np.frombuffer(b"abcdefgh  ", np.uint8), 9 + (1 << 20))
    offsets = np.array([0, 5, 5 + (1 << 20), 9 + (1 << 20)], np.int64)
    naive.agree("ngram_hash", ngram_hash.run(Host(), values, offsets, 18), _cpu(values, offsets, 18))


def test_one_word_of_100k_bytes_counts_past_16_bits():
    check([b"z" * 100_000], oracle=_cpu)


@pytest.mark.parametrize("blocks", [1, 3, 100])
def test_the_number_of_blocks_changes_nothing(monkeypatch, blocks):
    monkeypatch.setattr(ngram_hash, "MOST_BLOCKS", blocks)
    check(MIXED)


def test_a_row_does_not_depend_on_its_neighbours():
    turned = MIXED[::-1]
    indptr, indices, counts = ngram_hash.run(Host(), *naive.ragged(turned, np.uint8), 18)
    for place, row in enumerate(turned):
        alone = ngram_hash.run(Host(), *naive.ragged([row], np.uint8), 18)
        part = slice(indptr[place], indptr[place + 1])
        assert np.array_equal(indices[part], alone[1])
        assert np.array_equal(counts[part], alone[2])


def test_indices_of_a_row_are_unique_and_ascending():
    indptr, indices, _ = ngram_hash.run(Host(), *naive.ragged(MIXED, np.uint8), 20)
    for first, last in itertools.pairwise(indptr):
        assert (np.diff(indices[first:last]) > 0).all()


def test_offsets_may_begin_inside_the_values():
    values, offsets = naive.ragged([b"skip this", b"read this", b"and not this"], np.uint8)
    got = ngram_hash.run(Host(), values, offsets[1:3].copy(), 18)
    naive.agree("ngram_hash", got, naive.ngram_hash(*naive.ragged([b"read this"], np.uint8), 18))


MUTANTS = (
    ("totals[warp] = upto;\n    __syncthreads();", "totals[warp] = upto;"),
    ("}\n        __syncthreads();\n        const u64 squeezed_end", "}\n        const u64 squeezed_end"),
    ("row.hash(begin);\n        }\n        __syncthreads();", "row.hash(begin);\n        }"),
    ("tile <= row.size", "tile < row.size"),
    ("m < mask; m++", "m < mask - 1; m++"),
    ("if (CLEARED) mask = 0;", ""),
    ("        }\n        __syncthreads();\n        each_feature", "        }\n        each_feature"),
    ("row.at(first - 1)", "row.at(first)"),
    ("if (p >= 3)", "if (p >= 4)"),
    ("text.words[(w - 1) & WORDS]", "text.words[(w + 1) & WORDS]"),
    ("if (lane >= step)", "if (lane > step)"),
    ("if (w < warp) sum", "if (w <= warp) sum"),
)


def probe(host: Host) -> None:
    check(MIXED, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(monkeypatch, mutant):
    monkeypatch.setattr(ngram_hash, "MOST_BLOCKS", 2)
    refused("ngram_hash", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one(monkeypatch):
    monkeypatch.setattr(ngram_hash, "MOST_BLOCKS", 2)
    for order in ORDERS:
        probe(Host(order))


def _cpu(values, offsets, bits):
    return kernels.ngram_hash(values, offsets, bits=bits)
