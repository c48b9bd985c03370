"""Verdicts as rows, whatever file their table was read from."""

from __future__ import annotations

import pyarrow as pa
import verdict_factory as factory

from aimds.verdicts import Verdicts


def test_a_time_that_no_datetime_can_hold_is_none_and_stays_in_the_table() -> None:
    table = factory.table([factory.row(i) for i in range(4)], text=False)
    field = table.schema.field("ts")
    times = pa.array([-(2**62), 0, 2**62, None], pa.int64()).cast(field.type)
    verdicts = Verdicts(table.set_column(table.schema.get_field_index("ts"), field, times))
    assert [one.ts and one.ts.year for one in verdicts] == [None, 1970, None, None]
    assert verdicts[2].ts is None
    assert verdicts.table.column("ts").cast(pa.int64()).to_pylist() == [-(2**62), 0, 2**62, None]
