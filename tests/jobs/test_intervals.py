"""Clopper–Pearson against published values and its own definition."""

import pytest
from scipy.stats import binom

from aimds.errors import ConfigError
from aimds.jobs.intervals import clopper_pearson


def test_nothing_in_ten_thousand_means_at_most_three_in_ten_thousand_one_sided() -> None:
    assert clopper_pearson(0, 10_000, 0.90)[1] == pytest.approx(3.0e-4, rel=0.01)


@pytest.mark.parametrize(("hits", "n"), [(1, 10), (5, 10), (37, 200), (199, 200)])
def test_each_end_leaves_the_stated_tail(hits: int, n: int) -> None:
    low, high = clopper_pearson(hits, n)
    assert binom.sf(hits - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    assert binom.cdf(hits, n, high) == pytest.approx(0.025, rel=1e-6)


def test_the_ends_of_the_range_are_exact() -> None:
    assert clopper_pearson(0, 5)[0] == 0
    assert clopper_pearson(5, 5)[1] == 1


def test_more_hits_than_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="hits = 6"):
        clopper_pearson(6, 5)
