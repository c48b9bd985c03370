"""Near copies by MinHash: bins agree as n-grams overlap, and a chain of copies leads to one original."""

from __future__ import annotations

import numpy as np

from aimds.analyze.copies import BINS, EMPTY, originals, signatures


def rows(*features: list[int]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.cumsum([0, *map(len, features)]).astype(np.int64)
    return indptr, np.array([one for row in features for one in sorted(row)], np.int32)


def test_share_of_equal_bins_follows_the_overlap() -> None:
    shared, own, other = list(range(800)), list(range(1000, 1200)), list(range(2000, 2200))
    found = signatures(*rows([*shared, *own], [*shared, *other]))
    # 800 of 1,200 different features are shared; 64 bins have a standard error of 0.06.
    assert abs((found[0] == found[1]).mean() - 800 / 1200) < 0.18


def test_same_features_agree_in_every_bin_and_few_leave_bins_empty() -> None:
    found = signatures(*rows([5, 9, 70], [5, 9, 70], []))
    assert (found[0] == found[1]).all()
    assert 1 <= (found[0] != EMPTY).sum() <= 3
    assert (found[2] == EMPTY).all()
    assert found.shape == (3, BINS)


def test_copies_lead_to_originals_and_never_to_copies() -> None:
    base = list(range(1000))
    found = signatures(*rows(base, [*base[20:], *range(5000, 5020)], list(range(7000, 8000)), [*base, 9999]))
    assert originals(found).tolist() == [0, 0, 2, 0]


def test_half_an_overlap_is_no_copy() -> None:
    found = signatures(*rows(list(range(1000)), list(range(500, 1500))))
    assert originals(found).tolist() == [0, 1]
