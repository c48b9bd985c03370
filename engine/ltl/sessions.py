"""Verdicts as traces: one for each tenant and session, one step a row, the events that policies ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.ids import LONG_ID
from aimds.ltl.traces import Traces, forward
from aimds.schema import ACTIONS, CHANNELS, SESSION_ACTIONS, STATUSES, UNFOLLOWED
from aimds.taxonomy import THREATS
from aimds.verdicts import named_by_session

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Masks = npt.NDArray[np.uint64]

DONE: Final = dict(zip(ACTIONS, ("allowed", "flagged", "redacted", "sandwiched", "blocked", "escalated"), strict=True))
MITIGATED: Final = ("redact", "sandwich", "block", "escalate")
INJECTIONS: Final = ("direct_injection", "indirect_injection")
EVENTS: Final = {
    "threat_detected": "the row by itself shows a threat and was not allowed",
    "injection_detected": "the threat is a direct or indirect injection",
    "jailbreak_detected": "the threat is a jailbreak",
    "threat_mitigated": "the row was redacted, sandwiched, blocked or escalated",
    "pii_detected": "personal data or a secret was found",
    "pii_redacted": "the same, and the row has a text without it",
    **{name: f"the action is {action}" for action, name in DONE.items()},
    "rate_limited": "the session action is rate_limit",
    "quarantined": "the session action is quarantine",
    "tool_called": "the row came from the tool channel: a tool was called and this is what it gave back",
    "unjudged": "the status is partial or error, and not only because a policy could not judge the session",
    **{f"channel.{name}": f"the channel is {name}" for name in CHANNELS},
    **{f"threat.{name}": f"the row by itself shows the threat type {name}" for name in THREATS if name != "none"},
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
    session of its own. A row without a time has the latest of the rows before it, the first ones the earliest.
    """
    tenant, tenants = _codes(verdicts.column("tenant"))
    session, ids = _codes(verdicts.column("session_id"))
    group = np.where(session >= 0, (tenant + 1) * (len(ids) + 1) + session, -1 - np.arange(len(session)))
    turn, time = numbers(verdicts.column("turn")), numbers(micros(verdicts.column("ts")))
    made = grouped(names, masks(verdicts, names, events), group, turn, time)
    first = made.rows[made.traces.offsets[:-1]]
    return replace(
        made,
        tenants=[tenants[code] if code >= 0 else None for code in tenant[first].tolist()],
        ids=[ids[code] if code >= 0 else None for code in session[first].tolist()],
    )


def masks(verdicts: pa.Table | pa.RecordBatch, names: Sequence[str], events: Any = None) -> Masks:
    """Which of the events ``names`` occur in each row, uint64 (N,): bit k is ``names[k]``; ``events`` adds to them."""
    found = np.zeros(verdicts.num_rows, np.uint64) if events is None else given(events, names)
    bits = {name: np.uint64(1) << np.uint64(bit) for bit, name in enumerate(names)}
    for column, of in _BY_VALUE.items():
        asked = bits.keys() & of.keys()
        if asked:
            places = _PLACES[column]
            table = np.zeros(len(places) + 1, np.uint64)
            for name in asked:
                table[[places[value] for value in of[name]]] |= bits[name]
            found |= table[_places(verdicts.column(column), places)]
    if "unjudged" in bits:
        found &= ~(_only_remarked(verdicts).astype(np.uint64) * bits["unjudged"])
    if bits.keys() & _PRIVATE:
        found |= _private(verdicts, bits)
    # What its session shows is no event of a row: policies would go on breaking on what follows from them.
    if _BY_SESSION in bits:
        found &= ~(named_by_session(verdicts).astype(np.uint64) * bits[_BY_SESSION])
    if bits.keys() & _THREATS.keys():
        caught = ~named_by_session(verdicts)
        caught &= _places(verdicts.column("action"), _PLACES["action"]) != _PLACES["action"]["allow"]
        places = _PLACES["threat_type"]
        table = np.zeros(len(places) + 1, np.uint64)
        for name in bits.keys() & _THREATS.keys():
            table[[places.get(threat, len(places)) for threat in _THREATS[name]]] |= bits[name]
        found |= np.where(caught, table[_places(verdicts.column("threat_type"), places)], np.uint64(0))
    return found


def given(events: Any, names: Sequence[str]) -> Masks:
    """Which of ``names`` the rows of ``events`` list<string> hold, uint64 (N,): bit k is ``names[k]``."""
    listed = _plain(events)
    found = np.zeros(len(listed), np.uint64)
    if listed.null_count == len(listed):
        return found
    place = pc.index_in(_plain(pc.list_flatten(listed)).cast(pa.string()), value_set=pa.array(names, pa.string()))
    known = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
    rows = pc.list_parent_indices(listed).to_numpy(zero_copy_only=False)[known]
    bits = pc.fill_null(place, 0).to_numpy(zero_copy_only=False)[known].astype(np.uint64)
    np.bitwise_or.at(found, rows, np.uint64(1) << bits)
    return found


def grouped(
    names: Sequence[str], found: Masks, group: Ints, turn: tuple[Ints, Flags], time: tuple[Ints, Flags]
) -> Sessions:
    """The sessions of N rows, each known by its number in ``group`` int64 (N,); ``tenants`` and ``ids`` stay empty.

    Args:
        found: uint64 (N,), as `masks` gives them.
        turn, time: numbers int64 (N,) and whether a row has one, bool (N,); times in microseconds.
    """
    n = len(found)
    group = np.unique(group, return_inverse=True)[1].ravel()
    counts = np.bincount(group, minlength=0)
    by_turn = (np.bincount(group, turn[1], minlength=len(counts)) == counts)[group]
    order = np.lexsort((np.arange(n), moments(*time, group), np.where(by_turn, turn[0], 0), group))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    times, clocked = _filled(time[0][order], time[1][order], offsets)
    place = np.arange(n) - np.repeat(offsets[:-1], counts)
    return Sessions(
        Traces(tuple(names), found[order], offsets, forward(times, offsets)),
        order.astype(np.int64),
        np.where(by_turn[order], turn[0][order], place).astype(np.int64),
        [],
        [],
        # No time passes in a session of one row.
        clocked | (counts == 1),
    )


def moments(time: Ints, known: Flags, group: Ints) -> Ints:
    """Numbers int64 (N,) to order the rows of each group by time: one without goes with the latest of those before it.

    Args:
        time, known: int64 (N,) and whether a row has one, bool (N,).
        group: int64 (N,), numbers from 0.
    """
    if known.all():
        return time
    n = len(time)
    rank = np.where(known, np.unique(time, return_inverse=True)[1].ravel() + 1, 0)
    order = np.argsort(group, kind="stable")
    latest = np.empty(n, np.int64)
    latest[order] = np.maximum.accumulate(group[order] * (n + 1) + rank[order]) % (n + 1)
    return np.where(known, rank, latest)


def micros(column: Any) -> Any:
    """A column of timestamps as int64 microseconds."""
    return _plain(column).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())


def _plain(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _codes(column: Any) -> tuple[Ints, list[str]]:
    made = _plain(column).cast(pa.string()).dictionary_encode()
    return pc.fill_null(made.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64), made.dictionary.to_pylist()


def numbers(column: Any) -> tuple[Ints, Flags]:
    """A column of whole numbers as int64 (N,), 0 where there is none, and whether there is one, bool (N,)."""
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


def _places(column: Any, known: Mapping[str, int]) -> Ints:
    # Place of each row's value, the one behind the last for what is not known and for none.
    plain = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    plain = plain if pa.types.is_dictionary(plain.type) else plain.dictionary_encode()
    words = plain.dictionary.to_pylist()
    table = np.array([*(known.get(word, len(known)) for word in words), len(known)])
    codes = pc.fill_null(plain.indices, len(words)) if plain.null_count else plain.indices
    return np.asarray(table[codes.to_numpy(zero_copy_only=False)], np.int64)


def _only_remarked(table: Any) -> Flags:
    # A policy could not judge the session, or an id was too long; the row itself was judged in full.
    if "error" not in table.schema.names:
        return np.zeros(table.num_rows, np.bool_)
    partial = _places(table.column("status"), _PLACES["status"]) == _PLACES["status"]["partial"]
    if partial.any():
        error = _plain(table.column("error")).cast(pa.string())
        remark = pc.or_(pc.starts_with(error, UNFOLLOWED), pc.starts_with(error, LONG_ID))
        partial &= pc.fill_null(remark, False).to_numpy(zero_copy_only=False)
    return np.asarray(partial, np.bool_)


def _private(table: Any, bits: Mapping[str, np.uint64]) -> Masks:
    size = pc.fill_null(pc.list_value_length(_plain(table.column("spans"))), 0)
    private = size.to_numpy(zero_copy_only=False) > 0
    redacted = private & _plain(table.column("mitigated_text")).is_valid().to_numpy(zero_copy_only=False)
    none = np.uint64(0)
    found = np.where(private, bits.get("pii_detected", none), none)
    return np.asarray(found | np.where(redacted, bits.get("pii_redacted", none), none), np.uint64)


_PLACES: Final = {
    column: {name: place for place, name in enumerate(values)}
    for column, values in {
        "action": ACTIONS,
        "session_action": SESSION_ACTIONS,
        "channel": CHANNELS,
        "threat_type": THREATS,
        "status": STATUSES,
    }.items()
}
_BY_VALUE: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "action": {**{name: (action,) for action, name in DONE.items()}, "threat_mitigated": MITIGATED},
    "session_action": {"rate_limited": ("rate_limit",), "quarantined": ("quarantine",)},
    "channel": {**{f"channel.{name}": (name,) for name in CHANNELS}, "tool_called": ("tool",)},
    "threat_type": {f"threat.{name}": (name,) for name in THREATS if name != "none"},
    "status": {"unjudged": ("partial", "error")},
}
"""Events that one column alone gives, by its values."""
_PRIVATE: Final = {"pii_detected", "pii_redacted"}
_BY_SESSION: Final = "threat.multi_turn"
"""The one event by threat type that a session may have given."""
_THREATS: Final = {
    "threat_detected": (*(name for name in THREATS if name != "none"), "one that is not known"),
    "injection_detected": INJECTIONS,
    "jailbreak_detected": ("jailbreak",),
}
"""Events of rows that were not allowed, by threat type."""
