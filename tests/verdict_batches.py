"""Batches of VERDICTS as the engine makes them, from rows of `verdict_factory`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import verdict_factory

from aimds.schema import ACTIONS, SESSION_ACTIONS, VERDICTS, enum


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    """Allowed verdicts in which ``rows`` change fields; the actions have the dictionaries of the engine."""
    table = verdict_factory.table([verdict_factory.row(i, **row) for i, row in enumerate(rows)], text=False)
    plain = table.combine_chunks().to_batches()[0]
    columns = []
    for field in VERDICTS:
        column = plain.column(field.name)
        if field.name in ("action", "session_action"):
            names = ACTIONS if field.name == "action" else SESSION_ACTIONS
            column = enum(names, [names.index(value) for value in column.to_pylist()])
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=VERDICTS)
