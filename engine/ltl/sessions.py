"""Verdicts as traces: one for each tenant and session, one step a row, the events that policies ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.ltl.traces import Traces, forward
from aimds.schema import ACTIONS, CHANNELS
from aimds.taxonomy import THREATS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

DONE: Final = dict(zip(ACTIONS, ("allowed", "flagged", "redacted", "sandwiched", "blocked", "escalated"), strict=True))
MITIGATED: Final = ("redact", "sandwich", "block", "escalate")
INJECTIONS: Final = ("direct_injection", "indirect_injection")
EVENTS: Final = {
    "threat_detected": "a threat type was found and the row was not allowed",
    "injection_detected": "the threat is a direct or indirect injection",
    "jailbreak_detected": "the threat is a jailbreak",
    "threat_mitigated": "the row was redacted, sandwiched, blocked or escalated",
    "pii_detected": "personal data or a secret was found",
    "pii_redacted": "the same, and the row has a text without it",
    **{name: f"the action is {action}" for action, name in DONE.items()},
    "rate_limited": "the session action is rate_limit",
    "quarantined": "the session action is quarantine",
    "tool_called": "the row came from the tool channel: a tool was called and this is what it gave back",
    "unjudged": "the status is partial or error",
    **{f"channel.{name}": f"the channel is {name}" for name in CHANNELS},
    **{f"threat.{name}": f"the threat type is {name}" for name in THREATS if name != "none"},
}
"""Events that every verdict gives, and when. All others come from the column ``events`` of the requests."""


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """B sessions. ``rows`` int64 (N,): row of each step in the table; ``turns`` int64 (N,), counted from 0 where the
    table has none; ``tenants`` and ``ids`` of each session, None where there is none; ``clocked`` bool (B,): has times.
    """

    traces: Traces
    rows: Ints
    turns: Ints
    tenants: list[str | None]
    ids: list[str | None]
    clocked: Flags


def sessions(verdicts: pa.Table | pa.RecordBatch, names: Sequence[str], events: Any = None) -> Sessions:
    """The sessions in ``verdicts``, with the events ``names``; ``events`` list<string> adds events to each row.

    Steps go by turn where every row of a session has one, else by time, then by row. A row without a session is a
    session of its own. A row without a time has that of the row before, the first ones that of the first with a time.
    """
    n = verdicts.num_rows
    rows = np.arange(n)
    tenant, tenants = _codes(verdicts.column("tenant"))
    session, ids = _codes(verdicts.column("session_id"))
    group = np.where(session >= 0, (tenant + 1) * (len(ids) + 1) + session, -1 - rows)
    group = np.unique(group, return_inverse=True)[1].ravel()
    turn, has_turn = _numbers(verdicts.column("turn"))
    time, has_time = _numbers(_plain(verdicts.column("ts")).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()))
    counts = np.bincount(group, minlength=0)
    by_turn = (np.bincount(group, has_turn, minlength=len(counts)) == counts)[group]
    order = np.lexsort((rows, np.where(has_time, time, 0), np.where(by_turn, turn, 0), group))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    times, clocked = _filled(time[order], has_time[order], offsets)
    masks = np.zeros(n, np.uint64)
    for bit, name in enumerate(names):
        masks |= _occurs(verdicts, name, events).astype(np.uint64) << np.uint64(bit)
    place = np.arange(n) - np.repeat(offsets[:-1], counts)
    return Sessions(
        Traces(tuple(names), masks[order], offsets, forward(times, offsets)),
        order.astype(np.int64),
        np.where(by_turn[order], turn[order], place).astype(np.int64),
        [tenants[code] if code >= 0 else None for code in tenant[order[offsets[:-1]]].tolist()],
        [ids[code] if code >= 0 else None for code in session[order[offsets[:-1]]].tolist()],
        clocked,
    )


def _plain(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _codes(column: Any) -> tuple[Ints, list[str]]:
    made = _plain(column).cast(pa.string()).dictionary_encode()
    return pc.fill_null(made.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64), made.dictionary.to_pylist()


def _numbers(column: Any) -> tuple[Ints, Flags]:
    plain = _plain(column)
    valid = plain.is_valid().to_numpy(zero_copy_only=False)
    return pc.fill_null(plain.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), valid


def _filled(time: Ints, known: Flags, offsets: Ints) -> tuple[Ints, Flags]:
    n = len(time)
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    ends = np.repeat(offsets[1:], np.diff(offsets))
    before = np.maximum.accumulate(np.where(known, np.arange(n), -1))
    after = np.minimum.accumulate(np.where(known, np.arange(n), n)[::-1])[::-1]
    source = np.where(before >= starts, before, np.where(after < ends, after, -1))
    filled = np.where(source >= 0, time[source], 0) if n else time
    return filled.astype(np.int64), (source >= 0)[offsets[:-1]]


def _occurs(table: Any, name: str, events: Any) -> Flags:
    n = table.num_rows
    found = np.zeros(n, np.bool_)
    if name in EVENTS:
        found |= pc.fill_null(_of_verdict(table, name), False).to_numpy(zero_copy_only=False)
    if events is not None:
        listed = _plain(events)
        same = pc.equal(_plain(pc.list_flatten(listed)).cast(pa.string()), name)
        parents = pc.list_parent_indices(listed).to_numpy(zero_copy_only=False)
        found[parents[pc.fill_null(same, False).to_numpy(zero_copy_only=False)]] = True
    return found


def _of_verdict(table: Any, name: str) -> Any:
    def among(column: str, *values: str) -> Any:
        return pc.is_in(_plain(table.column(column)).cast(pa.string()), value_set=pa.array(values, pa.string()))

    kind, _, value = name.partition(".")
    if value:
        return among("channel" if kind == "channel" else "threat_type", value)
    found = pc.and_(pc.invert(among("threat_type", "none")), pc.invert(among("action", "allow")))
    private = pc.greater(pc.list_value_length(_plain(table.column("spans"))), 0)
    match name:
        case "threat_detected":
            return found
        case "injection_detected":
            return pc.and_(found, among("threat_type", *INJECTIONS))
        case "jailbreak_detected":
            return pc.and_(found, among("threat_type", "jailbreak"))
        case "threat_mitigated":
            return among("action", *MITIGATED)
        case "pii_detected":
            return private
        case "pii_redacted":
            return pc.and_(private, _plain(table.column("mitigated_text")).is_valid())
        case "rate_limited" | "quarantined":
            return among("session_action", "rate_limit" if name == "rate_limited" else "quarantine")
        case "tool_called":
            return among("channel", "tool")
        case "unjudged":
            return among("status", "partial", "error")
    return among("action", next(action for action, done in DONE.items() if done == name))
