"""Rows per stretch of time, counted in little memory: the stretches are as short as few enough of them allow.

Counts are a plain dict that travels as JSON: "width" is the width of a stretch in seconds, and each other key is the
number of a stretch since 1970. Widths are multiples of one another, so wider ones are made of narrower ones exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aimds.jobs.report import timeline
from aimds.jobs.report.timeline import Range
from aimds.jobs.report.verdict_files import OLDEST_US

Bins = dict[str, int]
WIDTH = "width"
MOST = 256
"""Stretches that are kept apart."""
_DAY_S = 86400
WIDTHS_S = (
    *(1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 43200),
    *(_DAY_S, 7 * _DAY_S, 28 * _DAY_S, 364 * _DAY_S, 36400 * _DAY_S, 72800 * _DAY_S),
)
"""The widest parts all the years that dates have into fewer stretches than are drawn."""
_US = 1_000_000


def _from(width: int) -> tuple[int, ...]:
    return WIDTHS_S[WIDTHS_S.index(width) :]


def count(bins: Bins, seconds: npt.NDArray[np.int64]) -> None:
    """Count rows at ``seconds`` int64 (n,) since 1970 into ``bins``."""
    if not len(seconds):
        return
    for width in _from(bins.get(WIDTH, 1)):
        found, rows = np.unique(seconds // width, return_counts=True)
        if len(found) <= MOST:
            break
    add(bins, {WIDTH: width, **{str(at): n for at, n in zip(found.tolist(), rows.tolist(), strict=True)}})


def add(total: Bins, more: Bins) -> None:
    """Add ``more`` to ``total`` in place, widening where there would be more than MOST stretches."""
    if not more:
        return
    parts = [dict(total), dict(more)]
    for width in _from(max(total.get(WIDTH, 1), more[WIDTH])):
        joined: Bins = {}
        for part in parts:
            for at, n in widened(part, width).items():
                joined[str(at)] = joined.get(str(at), 0) + n
        if len(joined) <= MOST:
            break
    total.clear()
    total.update({WIDTH: width, **joined})


def widened(bins: Bins, width: int) -> dict[int, int]:
    """Rows by number of a stretch of ``width`` seconds, a multiple of that of ``bins``."""
    out: dict[int, int] = {}
    for at, n in bins.items():
        if at != WIDTH:
            place = int(at) * bins[WIDTH] // width
            out[place] = out.get(place, 0) + n
    return out


def choose(bins: Bins) -> Range | None:
    """The range to draw, as `timeline.choose` chooses it, in stretches no shorter than those of ``bins``."""
    days = timeline.Days()
    for at, n in bins.items():
        if at != WIDTH:
            begun = int(at) * bins[WIDTH] * _US
            days.add(begun // timeline.DAY_US, n, begun, begun)
    found = timeline.choose(days.table())
    if found is None:
        return None
    last = found.first_us + found.width_us * found.bins - 1
    for width_us in (width * _US for width in _from(bins[WIDTH])):
        first = max(found.first_us // width_us * width_us, OLDEST_US)
        # To the end of the last stretch: the first may be cut at the oldest date, and then its end is what counts.
        stretches = ((last // width_us + 1) * width_us - 1 - first) // width_us + 1
        if width_us >= found.width_us and stretches <= timeline.MOST_BINS:
            break
    return Range(first, width_us, stretches)


def counts(bins: Bins, range_: Range) -> tuple[list[int], int]:
    """Rows in each stretch of ``range_``, and how many lie outside of it."""
    values, outside = [0] * range_.bins, 0
    for at, n in widened(bins, range_.width_us // _US).items():
        # By the stretch's last moment: the first one of all time begins before there are dates.
        place = ((at + 1) * range_.width_us - 1 - range_.first_us) // range_.width_us
        if 0 <= place < range_.bins:
            values[place] += n
        else:
            outside += n
    return values, outside
