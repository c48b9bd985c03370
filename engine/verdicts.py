"""What a screening returns: the Arrow table of VERDICTS, and its rows as typed objects."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.moments import outside_years
from aimds.schema import check_verdicts
from aimds.taxonomy import NOTABLE_P

SESSIONS: Final = "sessions"
"""Detector of evidence that lies in the session of a row, up to its turn, and not in its text: it has no bytes there,
start and end are 0."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of VERDICTS (`aimds.schema`); offsets are bytes in the original UTF-8 text, end exclusive.

    ``ts`` is None too where the table holds a time outside the years 1 to 9999.
    """

    request_id: str
    session_id: str | None
    turn: int | None
    tenant: str | None
    ts: datetime.datetime | None
    channel: str
    action: str
    session_action: str
    threat_type: str
    scores: dict[str, float]
    score: float | None
    p_value: float | None
    harmful_score: float | None
    severity: float | None
    evidence: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    mitigated_text: str | None
    session_score: float | None
    attractor: str | None
    violations: list[str]
    status: str
    error: str | None
    profile: str
    backend: str
    engine_version: str
    model_version: str
    signature_version: str
    policy_version: str


_FIELDS = tuple(field.name for field in fields(Verdict))


def named_by_session(verdicts: pa.Table | pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Which of N rows have a threat type that their session shows and they by themselves do not, bool (N,).

    A table without these columns does not tell: none.
    """
    out = np.zeros(verdicts.num_rows, np.bool_)
    if not {"threat_type", "p_value"} <= set(verdicts.schema.names):
        return out
    several = pc.equal(verdicts.column("threat_type").cast(pa.string()), "multi_turn")
    alone = pc.fill_null(pc.greater(verdicts.column("p_value"), NOTABLE_P), True)
    return np.asarray(pc.fill_null(pc.and_(several, alone), False), np.bool_)


def _with_datetimes(batch: pa.RecordBatch) -> pa.RecordBatch:
    index = batch.schema.get_field_index("ts")
    column = batch.column(index)
    outside = outside_years(column)
    if not pc.any(outside).as_py():
        return batch
    return batch.set_column(index, batch.schema.field(index), pc.if_else(outside, None, column))


class Verdicts:
    """Verdicts of one call, in the order of the requests. Iterate for `Verdict` rows; ``table`` is the Arrow table."""

    def __init__(self, table: pa.Table) -> None:
        check_verdicts(table)
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Verdict]:
        for batch in self.table.to_batches(max_chunksize=4096):
            for row in _with_datetimes(batch).to_pylist(maps_as_pydicts="strict"):
                yield Verdict(**{name: row[name] for name in _FIELDS})

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice) -> Verdicts: ...
    def __getitem__(self, index: int | slice) -> Verdict | Verdicts:
        n = len(self)
        if isinstance(index, slice):
            start, stop, step = index.indices(n)
            if step != 1:
                return Verdicts(self.table.take(list(range(start, stop, step))))
            return Verdicts(self.table.slice(start, max(stop - start, 0)))
        if not -n <= index < n:
            raise IndexError(f"verdict {index} of {n}")
        return next(iter(Verdicts(self.table.slice(index % n, 1))))

    def __repr__(self) -> str:
        counts = self.table.column("action").value_counts().to_pylist()
        return f"Verdicts({len(self)}: " + ", ".join(f"{row['counts']} {row['values']}" for row in counts) + ")"
