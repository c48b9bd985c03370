"""What people decided, as the table that learning reads (FEEDBACK)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import DataError
from aimds.record import disk
from aimds.respond.review import rows
from aimds.respond.review.items import Reviewer, micros
from aimds.respond.review.store import Store
from aimds.schema import FEEDBACK


def table(store: Store, who: Reviewer, since: datetime | None = None) -> pa.Table:
    """The decisions that stand and that ``who`` may see, from ``since`` on, by the time they were made; a text that is
    no longer there is null."""
    condition, values = rows.scope(who)
    if since is not None:
        condition += " AND decided_at >= ?"
        values.append(micros(since))
    with store.read() as base:
        query = f"SELECT * FROM items WHERE state = 'decided' AND {condition} ORDER BY decided_at, id"
        found = base.execute(query, values)
    columns = []
    for field in FEEDBACK:
        listed = [row[field.name] for row in found]
        if field.name == "text":
            # Bytes that are no UTF-8 become one ? each, as in a scan.
            listed = [None if raw is None else _written(raw) for raw in listed]
        plain = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        column = pa.array(listed, plain)
        if pa.types.is_dictionary(field.type):
            column = column.dictionary_encode().cast(field.type)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=FEEDBACK)


def _written(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "".join("?" if "\udc80" <= c <= "\udcff" else c for c in raw.decode("utf-8", "surrogateescape"))


def write(found: pa.Table, path: Path) -> None:
    """``found`` as one Parquet file in place of ``path``, readable by its owner alone.

    Raises:
        DataError: it cannot be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(found, sink, compression="zstd", write_page_checksum=True)
    try:
        disk.replace(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise DataError(path, f"cannot be written: {error.strerror or error}") from error
