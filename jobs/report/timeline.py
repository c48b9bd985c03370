"""Counts over time: which stretch to show, in bins of which width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aimds.jobs.report.verdict_files import OLDEST_US

MOST_BINS = 96
DAY_US = 86_400_000_000
_SECOND_US = 1_000_000
_WIDTHS_S = (1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 7 * 86400, 28 * 86400, 364 * 86400)
_STRAY_SHARE = 0.001
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time cut into bins: ``first_us`` (inclusive) in microseconds since 1970, UTC."""

    first_us: int
    width_us: int
    bins: int

    def start(self, index: int) -> datetime:
        """The moment bin ``index`` begins."""
        return _EPOCH + timedelta(microseconds=self.first_us + index * self.width_us)


def choose(days: Mapping[int, tuple[int, int, int]]) -> Range | None:
    """The range to draw, from days since 1970 → (rows, first, last) in microseconds; None without any row.

    Days that lie apart by more than the whole remaining stretch and hold less than 0.1 % of the rows together (a clock
    that stood at 1970) stay outside, so that they cannot squeeze everything else into one bin. Never more than
    ``MOST_BINS`` bins.
    """
    if not days:
        return None
    kept = sorted(days)
    allowance = _STRAY_SHARE * sum(rows for rows, _, _ in days.values())
    while len(kept) > 1:
        ends = [(0, kept[1] - kept[0], kept[-1] - kept[1]), (-1, kept[-1] - kept[-2], kept[-2] - kept[0])]
        strays = [(days[kept[end]][0], end) for end, gap, rest in ends if gap > max(rest, 7)]
        if not strays or min(strays)[0] > allowance:
            break
        rows, end = min(strays)
        allowance -= rows
        kept.pop(end)
    first, last = days[kept[0]][1], days[kept[-1]][2]
    for width_s in _WIDTHS_S:
        width = width_s * _SECOND_US
        start = max(first // width * width, OLDEST_US)
        bins = (last - start) // width + 1
        if bins <= MOST_BINS:
            return Range(start, width, bins)
    width = -(-(last - first + 1) // MOST_BINS)
    return Range(first, width, (last - first) // width + 1)


def label(range_: Range, index: int) -> str:
    """When bin ``index`` begins, as precisely as its width asks."""
    start = range_.start(index)
    if range_.width_us >= DAY_US:
        return f"{start:%Y-%m-%d}"
    return f"{start:%Y-%m-%d %H:%M:%S}" if range_.width_us < 60 * _SECOND_US else f"{start:%Y-%m-%d %H:%M}"


def width_name(range_: Range) -> str:
    """The bin width in words: 15 minutes, 3 hours, 1 day."""
    seconds = range_.width_us // _SECOND_US
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= unit and seconds % unit == 0:
            n = seconds // unit
            return name if n == 1 else f"{n} {name}s"
    return f"{seconds} seconds"


def ticks(range_: Range) -> list[tuple[int, str, bool]]:
    """Bins to label as (index, text, is_major): at midnights, else at round times; at most about eight."""
    marks: list[tuple[int, str, bool]] = []
    starts = [range_.start(i) for i in range(range_.bins)]
    midnights = [i for i, at in enumerate(starts) if at.hour == at.minute == at.second == 0]
    if range_.width_us >= DAY_US or len(midnights) >= 3:
        chosen = midnights if range_.width_us < DAY_US else list(range(range_.bins))
        text = "%b %Y" if range_.width_us >= 28 * DAY_US else "%d %b"
    else:
        chosen = list(range(range_.bins))
        text = "%H:%M:%S" if range_.width_us < 60 * _SECOND_US else "%H:%M"
    step = max(1, -(-len(chosen) // 8))
    for place, index in enumerate(chosen[::step]):
        word = f"{starts[index]:{text}}"
        marks.append((index, word.lstrip("0") if text == "%d %b" else word, place % 2 == 0))
    return marks


class Days:
    """Rows per day, with the first and last moment of each: what `choose` needs, in one pass over the times."""

    def __init__(self) -> None:
        self.rows: Counter[int] = Counter()
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def add(self, day: int, rows: int, first_us: int, last_us: int) -> None:
        """Count ``rows`` more rows of ``day`` (days since 1970)."""
        self.rows[day] += rows
        self._first[day] = min(first_us, self._first.get(day, first_us))
        self._last[day] = max(last_us, self._last.get(day, last_us))

    def table(self) -> dict[int, tuple[int, int, int]]:
        """Day → (rows, first, last)."""
        return {day: (rows, self._first[day], self._last[day]) for day, rows in self.rows.items()}


def moment(us: int) -> datetime:
    """Microseconds since 1970 as a UTC time."""
    return _EPOCH + timedelta(microseconds=us)
