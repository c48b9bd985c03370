"""Ids of bounded length: what is kept of a session, tenant or request does not grow with the names clients choose."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_ID_BYTES: Final = 512
"""Bytes of UTF-8 of a request id, session id, tenant or sender."""
FIELDS: Final = ("request_id", "session_id", "tenant")
LONG_ID: Final = "long id: "
"""How the error of a verdict begins to say that an id has a stand-in: no failure of a detector."""


def stand_in(name: bytes) -> str:
    """What stands for a longer ``name``: 71 characters, the same for the same name, so that its session stays one."""
    return f"sha256:{hashlib.sha256(name).hexdigest()}"


def short(name: str) -> str:
    """``name``, or what stands for it where it is too long."""
    if len(name) * 4 <= MAX_ID_BYTES:
        return name
    raw = name.encode("utf-8", "surrogatepass")
    return name if len(raw) <= MAX_ID_BYTES else stand_in(raw)


def bounded(column: pa.Array, field: str, notes: dict[int, str]) -> pa.Array:
    """``column`` (string) with a `stand_in` for each id of more than MAX_ID_BYTES; ``notes`` says of which rows."""
    if column.null_count == len(column):
        return column
    ends = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, 4 * column.offset)
    # All names of a small batch together are seldom too much for one.
    if ends[-1] - ends[0] <= MAX_ID_BYTES or np.diff(ends).max() <= MAX_ID_BYTES:
        return column
    rows = pc.indices_nonzero(pc.greater(pc.binary_length(column), MAX_ID_BYTES).fill_null(False)).to_pylist()
    # As bytes: an id of another row that is not UTF-8 is no reason to fail this one.
    names = column.cast(pa.binary()).to_pylist()
    for row in rows:
        size, name = len(names[row]), stand_in(names[row])
        names[row] = name.encode()
        said = f"{LONG_ID}{field} has {size} bytes, at most {MAX_ID_BYTES} are taken: {name} stands for it"
        notes[row] = f"{notes[row]}; {said}" if row in notes else said
    return pa.array(names, pa.binary()).view(column.type)


def with_bounded(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, str]]:
    """``batch`` (REQUESTS) with bounded ids, and what is to be said of rows that had longer ones."""
    notes: dict[int, str] = {}
    for field in FIELDS:
        column = batch.column(field)
        new = bounded(column, field, notes)
        if new is not column:
            batch = batch.set_column(batch.schema.get_field_index(field), batch.schema.field(field), new)
    return batch, notes
