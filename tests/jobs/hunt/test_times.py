from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from aimds.jobs.hunt import times
from aimds.jobs.hunt.times import MOST, WIDTH, WIDTHS_S, Bins
from aimds.moments import YEARS_S

SECONDS = st.lists(st.integers(1_700_000_000, 1_700_400_000) | st.integers(YEARS_S[0], YEARS_S[1] - 1), max_size=400)
HOUR = 3600


def counted(*parts: list[int]) -> Bins:
    bins: Bins = {}
    for part in parts:
        times.count(bins, np.array(part, np.int64))
    return bins


def test_widths_are_multiples_of_one_another() -> None:
    assert all(wide % narrow == 0 for narrow, wide in pairwise(WIDTHS_S))


@given(SECONDS, SECONDS)
def test_all_rows_are_counted_in_few_stretches_whatever_their_times(one: list[int], other: list[int]) -> None:
    bins = counted(one, other)
    assert sum(n for at, n in bins.items() if at != WIDTH) == len(one) + len(other)
    assert len(bins) - 1 <= MOST or not bins


@given(SECONDS, st.integers(0, 400))
def test_parts_add_up_to_the_whole_in_any_order(seconds: list[int], cut: int) -> None:
    whole, parts = counted(seconds), [counted(seconds[:cut]), counted(seconds[cut:])]
    for order in (parts, parts[::-1]):
        total: Bins = {}
        for part in order:
            times.add(total, part)
        if whole:
            wide = max(whole[WIDTH], total[WIDTH])
            assert times.widened(total, wide) == times.widened(whole, wide)
        else:
            assert total == {}


@given(SECONDS)
@example([0, -59_754_240_001])
@example([-59_754_240_001, 239_016_960_000])
@example([YEARS_S[0], YEARS_S[1] - 1])
def test_the_range_to_draw_is_never_finer_than_the_counts_and_loses_no_row(seconds: list[int]) -> None:
    bins = counted(seconds)
    range_ = times.choose(bins)
    if not seconds:
        assert range_ is None
        return
    assert range_ is not None
    assert range_.width_us >= bins[WIDTH] * 1_000_000
    assert 1 <= range_.bins <= 96
    values, outside = times.counts(bins, range_)
    assert sum(values) + outside == len(seconds)
    assert sum(values) >= len(seconds) * 0.99


def test_a_day_is_drawn_in_stretches_of_a_day_and_a_clock_at_1970_stays_outside() -> None:
    start = int(datetime(2025, 3, 3, tzinfo=UTC).timestamp())
    bins = counted([start + i * HOUR for i in range(24)] * 100, [5])
    range_ = times.choose(bins)
    assert range_ is not None
    assert range_.start(0) == datetime(2025, 3, 3, tzinfo=UTC)
    assert (range_.width_us, range_.bins) == (900 * 1_000_000, 93)
    values, outside = times.counts(bins, range_)
    assert values[::4] == [100] * 24
    assert outside == 1


def test_no_row_makes_no_count() -> None:
    assert counted([], []) == {}
