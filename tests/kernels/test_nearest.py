from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds import kernels
from aimds.errors import KernelError

FEATURES = 48
ROW = st.dictionaries(st.integers(0, FEATURES - 1), st.integers(1, 9), max_size=12)
ROWS = st.lists(ROW, max_size=6)
GROUPS = st.lists(st.lists(ROW.filter(bool), min_size=1, max_size=3), max_size=5)
SAMPLE = [{}, {0: 1}, {1: 2, 5: 1, 47: 7}, dict.fromkeys(range(FEATURES), 3), {7: 65000}, {9: 1, 10: 2}]
BANK = [[{1: 1, 5: 2}, {47: 3}], [{0: 1, 2: 2}], [dict.fromkeys(range(9), 1), {5: 1}], [{0: 1, 2: 2}]]
IDF = np.random.default_rng(0).uniform(0.5, 8, FEATURES).astype(np.float32)


def matrix(rows: list[dict[int, int]]):
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    counts, _ = naive.ragged([[row[i] for i in sorted(row)] for row in rows], np.float32)
    return indptr, indices, counts


def index(groups: list[list[dict[int, int]]]):
    """The inverted index of unit vectors, with a gap between the numbers of the groups."""
    rows = [row for group in groups for row in group]
    owner = [3 * g for g, group in enumerate(groups) for _ in group]
    weighted = [{i: (1 + np.log(n)) * float(IDF[i]) for i, n in row.items()} for row in rows]
    lengths = [sum(x * x for x in row.values()) ** 0.5 for row in weighted]
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    values = [row[i] / length for row, length in zip(weighted, lengths, strict=True) for i in sorted(row)]
    return *kernels.build_postings(indptr, indices, np.array(values, np.float32)), np.array(owner, np.int32)


def check(rows, groups=BANK, k: int = 3, oracle=naive.nearest) -> None:
    arguments = (*matrix(rows), IDF, *index(groups), k)
    naive.agree("nearest", kernels.nearest(*arguments), oracle(*arguments))


@pytest.mark.parametrize("rows", [[], [{}], [{}, {}], [{3: 1}], SAMPLE, [{1: 1, 2: 2}] * 20])
@pytest.mark.parametrize("groups", [[], BANK[:1], BANK])
def test_small_batches_agree_with_the_oracle(rows, groups):
    check(rows, groups)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 100])
def test_every_number_of_neighbours_agrees_with_the_oracle(k):
    check(SAMPLE, k=k)


def test_a_row_of_every_feature_and_a_bank_of_many_rows_agree_with_the_oracle():
    rng = np.random.default_rng(1)

    def draw():
        return {int(i): int(n) for i, n in zip(rng.permutation(FEATURES)[:20], rng.integers(1, 5, 20), strict=True)}

    check([draw() for _ in range(20)], [[draw(), draw()] for _ in range(60)], k=4)


@settings(max_examples=40)
@given(ROWS, GROUPS, st.integers(1, 4))
def test_any_rows_agree_with_the_oracle(rows, groups, k):
    arguments = (*matrix(rows), IDF, *index(groups), k)
    score, nearest = kernels.nearest(*arguments)
    expected, _ = naive.nearest(*arguments)
    assert np.allclose(score, expected, atol=1e-5)
    # Two groups may be equally near but for the last bit; the one named is as near as any.
    owner = arguments[-2]
    for row, group in enumerate(nearest.tolist()):
        if group >= 0:
            own = [[r for r, g in zip((r for gs in groups for r in gs), owner, strict=True) if g == group]]
            alone = naive.nearest(*matrix([rows[row]]), IDF, *index(own), 1)[0][0]
            assert alone == pytest.approx(naive.nearest(*matrix([rows[row]]), IDF, *index(groups), 1)[0][0], abs=1e-6)
        else:
            assert score[row] == 0.0


@settings(max_examples=15)
@given(ROWS.filter(bool), st.randoms())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(rows, random):
    order = random.sample(range(len(rows)), len(rows))
    bank = index(BANK)
    whole = kernels.nearest(*matrix([rows[i] for i in order]), IDF, *bank, 3, threads=2)
    for place, i in enumerate(order):
        alone = kernels.nearest(*matrix([rows[i]]), IDF, *bank, 3)
        assert [whole[0][place], whole[1][place]] == [alone[0][0], alone[1][0]]


def test_a_row_of_the_bank_is_its_own_nearest_at_cosine_one():
    score, nearest = kernels.nearest(*matrix([{1: 1, 5: 2}, {9: 1}]), IDF, *index(BANK), 1)
    assert score == pytest.approx([1.0, 0.0], abs=1e-6)
    assert nearest.tolist() == [0, -1]


def test_postings_hold_every_value_of_the_bank_where_its_feature_is_looked_up():
    rng = np.random.default_rng(2)
    # Multiples of 64 all want the same slots.
    rows = [{int(i) * 64: 1 for i in rng.permutation(40)[:9]} for _ in range(30)]
    indices, indptr = naive.ragged([sorted(row) for row in rows], np.int32)
    values = rng.uniform(size=len(indices)).astype(np.float32)
    keys, post_offsets, post_rows, post_values = kernels.build_postings(indptr, indices, values)
    for row, (own, parts) in enumerate(zip(naive.rows_of(indices, indptr), naive.rows_of(values, indptr), strict=True)):
        for feature, part in zip(own, parts, strict=True):
            slot = feature % len(keys)
            while keys[slot] != feature:
                assert keys[slot] >= 0
                slot = (slot + 1) % len(keys)
            posts = slice(post_offsets[slot], post_offsets[slot + 1])
            assert dict(zip(post_rows[posts].tolist(), post_values[posts].tolist(), strict=True))[row] == part
    assert len(post_rows) == len(indices)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("1.0 + math.log(n)", "float(n)"),
        ("/ norm if", "if"),
        ("max(near.get(group, -FAR), dot)", "near.get(group, 0.0) + dot"),
        ("(-near[group], group)", "(-near[group], -group)"),
        ("[:k]", "[:1]"),
        ("if shared else -1", ""),
    ],
)
def test_a_wrong_oracle_is_noticed(right, wrong):
    with pytest.raises(AssertionError):
        check(SAMPLE, oracle=naive.mutant("nearest", right, wrong))


def test_an_argument_that_does_not_fit_is_named():
    names = ("indptr", "indices", "counts", "idf", "keys", "post_offsets", "post_rows", "post_values", "owner", "k")
    good = dict(zip(names, (*matrix([{1: 1}, {47: 2}]), IDF, *index(BANK), 2), strict=True))
    wrong = {
        "indices": good["indices"] + 1,
        "counts": good["counts"][:1],
        "keys": np.abs(good["keys"]),
        "post_offsets": good["post_offsets"] * 9,
        "post_rows": good["post_rows"] + 6,
        "post_values": good["post_values"][1:],
        "owner": good["owner"].astype(np.int64),
        "k": 0,
    }
    for argument, value in wrong.items():
        with pytest.raises(KernelError) as caught:
            kernels.nearest(**{**good, argument: value})
        assert (caught.value.kernel, caught.value.argument) == ("nearest", argument)
