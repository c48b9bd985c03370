"""Requests and their verdicts for tests of sessions: p-values as given, no screener needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from aimds.schema import REQUESTS, STATUSES, VERDICTS, constant, enum, requests
from aimds.taxonomy import THREATS

COLUMNS = ("session_id", "turn", "tenant", "ts", "channel", "text", "request_id")


def batch(rows: list[dict[str, Any]]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Requests and verdicts of ``rows``: any of COLUMNS, and ``p`` (default 1; None for a row nobody judged)."""
    table = {name: [row.get(name) for row in rows] for name in COLUMNS}
    table["text"] = [row.get("text", "") for row in rows]
    table["channel"] = [row.get("channel", "user") for row in rows]
    table["request_id"] = [row.get("request_id", f"r{number}") for number, row in enumerate(rows)]
    kinds = {"turn": pa.int64(), "ts": pa.timestamp("us", tz="UTC")}
    asked = requests(pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in table.items()}))
    return asked, answered(asked, [row.get("p", 1.0) for row in rows])


def answered(asked: pa.RecordBatch, p: list[float | None]) -> pa.RecordBatch:
    n = asked.num_rows
    given = {name: asked.column(name) for name in REQUESTS.names if name in VERDICTS.names}
    given |= {
        "p_value": pa.array(p, pa.float64()),
        "threat_type": enum(THREATS, np.zeros(n, np.int8)),
        "status": enum(STATUSES, np.zeros(n, np.int8)),
    }
    arrays = []
    for field in VERDICTS:
        if field.name in given:
            arrays.append(given[field.name])
        elif pa.types.is_dictionary(field.type):
            arrays.append(constant("none", n))
        elif pa.types.is_list(field.type) or pa.types.is_map(field.type):
            arrays.append(pa.array([[]] * n, field.type))
        else:
            arrays.append(pa.nulls(n, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


def ramp(session: str, turns: int, *, low: float = -0.3, high: float = -4.0, **more: Any) -> list[dict[str, Any]]:
    """A session whose p-values fall steadily."""
    return [
        {"session_id": session, "turn": k, "p": 10.0 ** (low + (high - low) * k / max(turns - 1, 1)), **more}
        for k in range(turns)
    ]
