"""The last net under the screener: whatever it raises, every row gets a verdict, and only the row at fault an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import ArtefactError, BackendError, ConfigError, SchemaError
from aimds.schema import ACTIONS, PROFILES, REQUESTS, SESSION_ACTIONS, STATUSES, VERDICTS, constant, enum
from aimds.taxonomy import CODES, THREATS

# These say that the screener itself is unfit: no row is at fault and going on would make every row an error.
_UNFIT = (ConfigError, ArtefactError, BackendError)
_MAX_ERROR_CHARS = 500
_VERSIONS = {
    "engine_version": "engine",
    "model_version": "model",
    "signature_version": "signatures",
    "policy_version": "policy",
}


class Screener(Protocol):
    """What a job needs of ``aimds.screener.Screener``."""

    config_hash: str

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """REQUESTS in, VERDICTS out: same rows, same order."""


def screen(screener: Screener, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Verdicts for ``batch`` (REQUESTS), in order, in one or more batches.

    A batch for which the screener raises, or answers other rows than were asked, is halved until the row at fault is
    alone.

    Raises:
        ConfigError, ArtefactError, BackendError: the screener is unfit for work.
        SchemaError: it answers with columns that are not VERDICTS.
    """
    try:
        verdicts = screener.screen_batch(batch)
        answered = verdicts.num_rows == batch.num_rows and verdicts.column(0).equals(batch.column(0))
        problem: str | None = None if answered else "the screener answered other rows than it was asked"
    except _UNFIT:
        raise
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem is None:
        yield _conformed(verdicts)
    elif batch.num_rows == 1:
        yield failed(screener, batch, problem)
    else:
        half = batch.num_rows // 2
        yield from screen(screener, batch.slice(0, half))
        yield from screen(screener, batch.slice(half))


def screen_except(screener: Screener, batch: pa.RecordBatch, problems: dict[int, str]) -> Iterator[pa.RecordBatch]:
    """As ``screen``, but rows in ``problems`` are not shown to the screener: their verdict is that error."""
    start = 0
    for row in sorted(problems):
        if row > start:
            yield from screen(screener, batch.slice(start, row - start))
        yield failed(screener, batch.slice(row, 1), problems[row])
        start = row + 1
    if start < batch.num_rows:
        yield from screen(screener, batch.slice(start))


def failed(screener: Screener, row: pa.RecordBatch, problem: str) -> pa.RecordBatch:
    """The verdict with status ``error`` of a ``row`` (REQUESTS, one row) that could not be judged for its ``problem``.

    The action is what the policy of ``screener`` has for it; ``flag`` where it has none.
    """
    problem = problem[:_MAX_ERROR_CHARS]
    unjudged = getattr(screener, "unjudged", None)
    if unjudged is not None:
        return _conformed(unjudged(row, problem))
    versions: dict[str, str] = getattr(screener, "versions", {})
    given: dict[str, Any] = {
        "action": enum(ACTIONS, [ACTIONS.index("flag")]),
        "session_action": enum(SESSION_ACTIONS, [SESSION_ACTIONS.index("none")]),
        "threat_type": enum(THREATS, [CODES["none"]]),
        "status": enum(STATUSES, [STATUSES.index("error")]),
        "error": pa.array([problem], pa.string()),
        "profile": constant(getattr(screener, "profile", PROFILES[0]), 1),
        "backend": constant(getattr(screener, "backend", "cpu"), 1),
    }
    given |= {column: constant(versions.get(name, "unknown"), 1) for column, name in _VERSIONS.items()}
    arrays = []
    for field in VERDICTS:
        if field.name in REQUESTS.names:
            arrays.append(row.column(field.name))
        elif field.name in given:
            arrays.append(given[field.name])
        elif pa.types.is_list(field.type) or pa.types.is_map(field.type):
            arrays.append(pa.array([[]], field.type))
        else:
            arrays.append(pa.nulls(1, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


def _conformed(verdicts: pa.RecordBatch) -> pa.RecordBatch:
    if verdicts.schema.equals(VERDICTS):
        return verdicts
    arrays = []
    for field in VERDICTS:
        index = verdicts.schema.get_field_index(field.name)
        if index < 0:
            raise SchemaError(field.name, "missing from the screener's verdicts")
        column = verdicts.column(index)
        if column.type != field.type:
            raise SchemaError(field.name, f"holds {column.type} in the screener's verdicts, expected {field.type}")
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


def counts(verdicts: pa.RecordBatch) -> dict[str, dict[str, int]]:
    """How often each action, threat type and status occurs."""
    found: dict[str, dict[str, int]] = {}
    for key, column in (("actions", "action"), ("threats", "threat_type"), ("statuses", "status")):
        values = pc.value_counts(verdicts.column(column).cast(pa.string()))
        found[key] = {item["values"]: item["counts"] for item in values.to_pylist()}
    return found


def add_counts(total: dict[str, dict[str, int]], more: dict[str, dict[str, int]]) -> None:
    """Add ``more`` to ``total`` in place."""
    for key, values in more.items():
        into = total.setdefault(key, {})
        for name, count in values.items():
            into[name] = into.get(name, 0) + count
