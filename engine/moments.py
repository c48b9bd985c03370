"""Columns of times: which lie in the years that a datetime can hold, and all of them as UTC microseconds."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import SchemaError

YEARS_S = (-62_135_596_800, 253_402_300_800)
"""The years 1 to 9999 UTC in seconds since 1970, end exclusive: all that a datetime can hold."""
_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_INT64 = (-(1 << 63), (1 << 63) - 1)


def outside_years(column: pa.Array) -> pa.BooleanArray:
    """Where the timestamps or dates of ``column`` lie outside the years 1 to 9999 UTC; null where they are null."""
    kind = column.type
    per_s = _PER_S[kind.unit] if pa.types.is_timestamp(kind) else _PER_S["ms"]
    if pa.types.is_date32(kind):
        ticks, first, last = column.cast(pa.int32()), YEARS_S[0] // 86400, YEARS_S[1] // 86400 - 1
    else:
        # 64 bits of nanoseconds end before the years do.
        ticks = column.cast(pa.int64())
        first, last = max(YEARS_S[0] * per_s, _INT64[0]), min(YEARS_S[1] * per_s - 1, _INT64[1])
    return pc.or_(pc.less(ticks, first), pc.greater(ticks, last))


def utc(column: pa.Array, name: str) -> pa.Array:
    """The timestamps or dates of ``column`` as UTC microseconds, finer ones cut off; without a zone they are UTC.

    Raises:
        SchemaError: one lies outside the years 1 to 9999; names the column, ``name``, and the row.
    """
    wrong = pc.index(outside_years(column), pa.scalar(True)).as_py()
    if wrong >= 0:
        # The text of such a time cannot be asked of Arrow or Python.
        ticks = column.slice(wrong, 1).cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())[0].as_py()
        raise SchemaError(name, f"is {ticks} ({column.type}), outside the years 1 to 9999", row=wrong)
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    return column.cast(pa.timestamp("us", tz="UTC"), safe=False)
