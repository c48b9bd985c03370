"""What a hunt writes: one row for each pattern or signature that a row of the input holds, and what it counts."""

from __future__ import annotations

import pyarrow as pa

from aimds.jobs.hunt import times
from aimds.jobs.scan.rows import add_counts
from aimds.jobs.scan.work import Counts, Kind
from aimds.schema import REQUESTS

_ENUM = pa.dictionary(pa.int8(), pa.string())

HITS = pa.schema(
    [
        *(REQUESTS.field(name) for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel")),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("pattern_id", pa.string(), nullable=False),
        pa.field("threat_type", _ENUM, nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("view", _ENUM),
        pa.field("excerpt", pa.string()),
        pa.field("excerpt_start", pa.int32()),
    ]
)
"""``row``: the row in the input file, from 0. ``start``, ``end``: bytes in the original text, end exclusive. ``score``
in (0, 1]: for a pattern how far within its threshold, for a signature its own. ``view``: ``text``, or what the stretch
was decoded from; null for a signature. ``excerpt`` begins at byte ``excerpt_start`` of the text; both are
null where excerpts are off or the text could not be searched for what to mask."""

READ, HIT = "read", "hit"
"""Counts of rows by time: all, and those with a hit."""
ENDS = "ends"
FIRST, LAST = "first", "last"
"""The first and last time of a row, in microseconds since 1970."""


def add(total: Counts, more: Counts) -> None:
    """Add the counts ``more`` to ``total`` in place."""
    for name in (READ, HIT):
        times.add(total.setdefault(name, {}), more.get(name, {}))
    ends = total.setdefault(ENDS, {})
    for name, pick in ((FIRST, min), (LAST, max)):
        known = [counts[ENDS][name] for counts in (total, more) if name in counts.get(ENDS, {})]
        if known:
            ends[name] = pick(known)
    add_counts(total, {name: counts for name, counts in more.items() if name not in (READ, HIT, ENDS)})


KIND = Kind("hunt", "hits", HITS, add)
