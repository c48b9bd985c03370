from __future__ import annotations

import naive
import numpy as np
import pytest
from host import ORDERS, Host, missing
from mutants import refused

from aimds import kernels
from aimds.kernels.cuda import nearest

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

FEATURES = 48
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 47: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}, {9: 1, 10: 2}, {45: 1}]
BANK = [[{1: 1, 5: 2}, {47: 3}], [{0: 1, 2: 2}], [dict.fromkeys(range(9), 1), {5: 1}], [{0: 1, 2: 2}]]
IDF = np.random.default_rng(0).uniform(0.5, 8, FEATURES).astype(np.float32)


def matrix(rows):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def index(groups):
    """The inverted index of unit vectors, with a gap between the numbers of the groups."""
    rows = [row for group in groups for row in group]
    owner = [3 * g for g, group in enumerate(groups) for _ in group]
    weighted = [{i: (1 + np.log(n)) * float(IDF[i]) for i, n in row.items()} for row in rows]
    lengths = [sum(x * x for x in row.values()) ** 0.5 for row in weighted]
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    values = [row[i] / length for row, length in zip(weighted, lengths, strict=True) for i in sorted(row)]
    return *kernels.build_postings(indptr, indices, np.array(values, np.float32)), np.array(owner, np.int32)


def draw(count: int, seed: int, size: int = 20):
    rng = np.random.default_rng(seed)

    def row():
        chosen = rng.permutation(FEATURES)[:size]
        return {int(i): int(n) for i, n in zip(chosen, rng.integers(1, 5, size), strict=True)}

    return [row() for _ in range(count)]


def check(rows, groups=BANK, k: int = 3, host: Host | None = None) -> None:
    arguments = (*matrix(rows), IDF, *index(groups), k)
    naive.agree("nearest", nearest.run(host or Host(), *arguments), naive.nearest(*arguments))


MANY = [list(pair) for pair in zip(draw(150, 2), draw(150, 3), strict=True)]


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], SAMPLE, [{1: 1, 2: 2}] * 40])
@pytest.mark.parametrize("groups", [[], BANK[:1], BANK])
def test_small_batches_agree_with_the_oracle(rows, groups):
    check(rows, groups)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 100])
def test_every_number_of_neighbours_agrees_with_the_oracle(order, k):
    check(SAMPLE, k=k, host=Host(order))


@pytest.mark.parametrize("k", [1, 7, 149, 150, 151])
def test_a_bank_of_more_rows_than_threads_agrees_with_the_oracle(k):
    check(draw(8, 1), MANY, k)


def test_groups_of_hundreds_of_rows_agree_with_the_oracle():
    check(draw(4, 4), [draw(300, 5), draw(1, 6), draw(290, 7)], 2)


@pytest.mark.parametrize("most", [0, 3 * 8 * 6])
def test_a_bank_that_shared_memory_does_not_hold_gives_the_same(monkeypatch, most):
    arguments = (*matrix(SAMPLE), IDF, *index(BANK), 3)
    near = nearest.run(Host(), *arguments)
    monkeypatch.setattr(nearest, "MOST_SHARED", 0)
    monkeypatch.setattr(nearest, "ROOM_BYTES", most)
    host = Host()
    far = nearest.run(host, *arguments)
    assert host.launched[0].grid[0] < len(SAMPLE)
    assert all(np.array_equal(a, b) for a, b in zip(near, far, strict=True))


def test_a_row_of_100k_features_agrees_with_the_cpu():
    size = 100_000
    rng = np.random.default_rng(8)
    counts, idf = rng.integers(1, 5, size).astype(np.float32), rng.uniform(1, 9, size).astype(np.float32)
    row = np.array([0, size], np.int64), np.arange(size, dtype=np.int32), counts, idf
    bank = np.sort(rng.integers(0, size, (40, 200)), axis=1).astype(np.int32)
    bank[:, 1:][np.diff(bank, axis=1) == 0] = 0
    kept = [np.unique(one) for one in bank]
    indices, indptr = naive.ragged(kept, np.int32)
    table = kernels.build_postings(indptr, indices, rng.uniform(0, 0.2, len(indices)).astype(np.float32))
    arguments = (*row, *table, np.repeat(np.arange(20, dtype=np.int32), 2), 3)
    naive.agree("nearest", nearest.run(Host(), *arguments), kernels.nearest(*arguments))


def test_a_row_depends_neither_on_its_neighbours_nor_on_the_order_of_threads():
    bank = index(MANY[:20])
    turned = SAMPLE[::-1]
    score, group = nearest.run(Host(), *matrix(turned), IDF, *bank, 3)
    for place, row in enumerate(turned):
        for order in ORDERS:
            alone = nearest.run(Host(order), *matrix([row]), IDF, *bank, 3)
            assert [score[place], group[place]] == [alone[0][0], alone[1][0]]


def test_of_equal_groups_the_first_is_named():
    _, group = nearest.run(Host(), *matrix(draw(3, 9)), IDF, *index([draw(2, 10)] * 70), 1)
    assert group.tolist() == [0, 0, 0]


MUTANTS = (
    ("dots.set(n, 0);\n        __syncthreads();", "dots.set(n, 0);"),
    ("unit, dots);\n        __syncthreads();", "unit, dots);"),
    ("owner[m] == owner[n]", "owner[m] > owner[n]"),
    ("double(found - above)", "double(found - above - 1)"),
    ("first = larger(first, -i64(owner[n]))", "first = larger(first, i64(owner[n]))"),
    ("__shfl_sync(ALL_LANES, value, from)", "__shfl_sync(ALL_LANES, value, from / 2)"),
    ("larger(most, dots.whole(m))", "larger(0, dots.whole(m))"),
)


def probe(host: Host) -> None:
    check(SAMPLE + draw(4, 1), MANY + BANK, 5, host)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_noticed(monkeypatch, mutant):
    monkeypatch.setattr(nearest, "MOST_BLOCKS", 1)
    refused("nearest", MUTANTS, mutant, probe)


def test_what_the_mutants_are_checked_with_passes_without_one(monkeypatch):
    monkeypatch.setattr(nearest, "MOST_BLOCKS", 1)
    for order in ORDERS:
        probe(Host(order))
