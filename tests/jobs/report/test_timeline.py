"""The stretch and the bins that counts over time are drawn in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.jobs.report import timeline

NOON = int(datetime(2025, 3, 3, 12, tzinfo=UTC).timestamp() * 1_000_000)
HOUR = 3_600_000_000


def days_of(times: list[int]) -> dict[int, tuple[int, int, int]]:
    days = timeline.Days()
    for at in times:
        days.add(at // timeline.DAY_US, 1, at, at)
    return days.table()


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_000_000), min_size=1, max_size=40))
def test_few_rows_all_lie_inside_and_the_bins_are_bounded(times: list[int]) -> None:
    found = timeline.choose(days_of(times))
    assert found is not None
    assert 1 <= found.bins <= timeline.MOST_BINS
    assert all(0 <= (at - found.first_us) // found.width_us < found.bins for at in times)


def test_no_time_gives_no_range() -> None:
    assert timeline.choose({}) is None


def test_a_clock_that_stood_at_1970_does_not_squeeze_the_rest() -> None:
    times = [NOON + i * HOUR for i in range(2000)]
    found = timeline.choose(days_of([0, *times]))
    assert found is not None
    assert found.start(0).year == 2025
    assert found.start(found.bins - 1) <= datetime(2025, 5, 26, tzinfo=UTC)


def test_an_old_day_with_many_rows_is_no_stray() -> None:
    found = timeline.choose(days_of([0] * 50 + [NOON + i * HOUR for i in range(2000)]))
    assert found is not None
    assert found.start(0).year < 1971


@pytest.mark.parametrize(
    ("span_h", "width"),
    [(0, "second"), (1, "minute"), (23, "15 minutes"), (168, "3 hours"), (720, "12 hours"), (24 * 365, "7 days")],
)
def test_the_width_follows_the_span(span_h: int, width: str) -> None:
    found = timeline.choose(days_of([NOON, NOON + span_h * HOUR]))
    assert found is not None
    assert timeline.width_name(found) == width


@given(st.integers(0, 10**15))
def test_labels_under_the_axis_are_few_and_in_order(span_us: int) -> None:
    found = timeline.choose(days_of([NOON, NOON + span_us]))
    assert found is not None
    places = [index for index, _, _ in timeline.ticks(found)]
    assert len(places) <= 8
    assert places == sorted(set(places))
    assert all(0 <= index < found.bins for index in places)


@pytest.mark.parametrize("first", [-62_135_596_800_000_000, 253_402_300_799_999_999])
@pytest.mark.parametrize("days", [0, 1, 30, 200, 2000, 20_000, 40_000])
def test_bins_at_either_end_of_time_can_be_named(first: int, days: int) -> None:
    stretch = days * timeline.DAY_US
    last = first + stretch if first < 0 else first - stretch
    found = timeline.choose(days_of([first, last]))
    assert found is not None
    assert [timeline.label(found, i) for i in range(found.bins)]
    assert timeline.ticks(found)
