"""Average linkage: equal to SciPy's where every pair is known, blind to the order of the links."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from aimds.analyze.linkage import average


@given(seed=st.integers(0, 10_000), count=st.integers(2, 14), cut=st.floats(0.3, 0.9))
def test_groups_are_those_of_scipy_where_all_pairs_are_known(seed: int, count: int, cut: float) -> None:
    likeness = np.random.default_rng(seed).random((count, count))
    likeness = (likeness + likeness.T) / 2
    first, second = np.triu_indices(count, 1)
    values = likeness[first, second]
    ours = average(count, first.tolist(), second.tolist(), values.tolist(), cut=cut, unknown=0.0)
    np.fill_diagonal(likeness, 1.0)
    theirs = fcluster(linkage(squareform(1 - likeness, checks=False), "average"), 1 - cut, "distance")
    assert (ours[:, None] == ours).tolist() == (theirs[:, None] == theirs).tolist()


@given(seed=st.integers(0, 1000))
def test_order_of_the_links_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(12, 1)
    kept = rng.random(len(first)) < 0.4
    first, second = first[kept], second[kept]
    values = np.round(rng.random(len(first)), 1)  # many equal ones
    once = average(12, first.tolist(), second.tolist(), values.tolist(), cut=0.4, unknown=0.2)
    mixed = rng.permutation(len(first))
    again = average(12, first[mixed].tolist(), second[mixed].tolist(), values[mixed].tolist(), cut=0.4, unknown=0.2)
    assert once.tolist() == again.tolist()


def test_one_text_that_is_like_two_families_does_not_chain_them() -> None:
    # 0-1 and 3-4 are pairs; 2 is like 1 and like 3.
    groups = average(5, [0, 1, 2, 3], [1, 2, 3, 4], [0.9, 0.5, 0.5, 0.9], cut=0.3, unknown=0.0)
    assert len(set(groups.tolist())) > 1


def test_pairs_without_a_link_count_as_unknown() -> None:
    links = ([0, 0], [1, 2], [0.8, 0.5])
    assert average(3, *links, cut=0.4, unknown=0.35).tolist() == [0, 0, 0]
    assert average(3, *links, cut=0.4, unknown=0.2).tolist() == [0, 0, 2]


def test_groups_are_named_by_their_lowest_item_and_joins_are_told() -> None:
    joins: list[None] = []
    groups = average(4, [1, 2], [3, 3], [0.9, 0.9], cut=0.5, unknown=0.5, joined=lambda: joins.append(None))
    assert groups.tolist() == [0, 1, 1, 1]
    assert len(joins) == 2


def test_nothing_gives_nothing() -> None:
    assert average(0, [], [], [], cut=0.5, unknown=0.0).tolist() == []
    with pytest.raises(ValueError, match="zip"):
        average(2, [0], [1], [], cut=0.5, unknown=0.0)
