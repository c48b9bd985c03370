"""A batch in parts, as rounds in which a session has one row at most, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.respond.scored import codes
from aimds.schema import ACTIONS, SESSION_ACTIONS, STATUSES, VERDICTS, enum
from aimds.taxonomy import THREATS

Rows = npt.NDArray[np.int64]
CHANGED: Final = (
    *("action", "session_action", "threat_type", "severity", "evidence"),
    *("session_score", "attractor", "violations", "status", "error"),
)
"""Columns of verdicts that sessions change, beside a mitigated text, which belonged to a weaker action."""


def waves(verdicts: pa.RecordBatch, senders: Sequence[str]) -> list[Rows]:
    """The rows of ``verdicts`` in rounds, the first of each session, the second, and so on: what follows from a row is
    known before the next of its session is looked at."""
    seen: dict[tuple[str | None, ...], int] = {}
    number = np.empty(verdicts.num_rows, np.int64)
    columns = (verdicts.column(name).to_pylist() for name in ("tenant", "session_id"))
    for row, (tenant, session) in enumerate(zip(*columns, strict=True)):
        key = (tenant, session, senders[row] if session is None else None)
        number[row] = seen[key] = seen.get(key, -1) + 1
    return [np.flatnonzero(number == one) for one in range(int(number.max(initial=-1)) + 1)]


def joined(verdicts: pa.RecordBatch, places: Sequence[Rows], parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """``verdicts`` with the columns CHANGED of ``parts``, each of the rows that stand at its place in ``places``."""
    order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
    names = {"action": ACTIONS, "session_action": SESSION_ACTIONS, "threat_type": THREATS, "status": STATUSES}

    def column(name: str) -> pa.Array:
        if name in names:
            found = np.concatenate([codes(part.column(name), names[name], name) for part in parts])
            return enum(names[name], found[order.to_numpy()])
        whole = [part.column(name) for part in parts]
        if name == "attractor":
            kinds = pa.concat_arrays([one.cast(pa.string()) for one in whole])
            return pc.take(kinds, order).dictionary_encode().cast(VERDICTS.field(name).type)
        return pc.take(pa.concat_arrays(whole), order)

    made = {name: column(name) for name in CHANGED}
    before, after = (codes(one, ACTIONS, "action") for one in (verdicts.column("action"), made["action"]))
    gone = pa.array(before != after)
    made["mitigated_text"] = pc.if_else(gone, pa.scalar(None, pa.large_string()), verdicts.column("mitigated_text"))
    arrays = [made.get(field.name, verdicts.column(field.name)) for field in VERDICTS]
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)
