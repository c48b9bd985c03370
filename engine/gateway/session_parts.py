"""What is remembered of sessions, cut by slots and put together again: for shards that hand sessions to each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.actors.shards import SLOTS
from aimds.analyze.snapshot import Copied
from aimds.analyze.turns import key_of, keys
from aimds.respond.held import Key

Ints = npt.NDArray[np.int64]
_SENDER: Final = "\0"
"""Before the name of a sender that stands for its rows without a session: no session of that name is in its tenant."""


def slots_of(verdicts: pa.RecordBatch, senders: list[str]) -> Ints:
    """The slot of each of B rows, int64 (B,): that of its session, of its sender where it has none."""
    out = np.empty(verdicts.num_rows, np.int64)
    named = verdicts.column("session_id").is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(named)
    if len(rows):
        who = verdicts.select(["tenant", "session_id"])
        out[rows] = of_keys(keys(who if len(rows) == len(named) else who.take(pa.array(rows))))
    others = np.flatnonzero(~named)
    if len(others):
        tenants = verdicts.column("tenant").take(pa.array(others)).to_pylist()
        found: dict[tuple[str | None, str], int] = {}
        for row, tenant in zip(others.tolist(), tenants, strict=True):
            key = (tenant, senders[row])
            if key not in found:
                found[key] = slot_of((tenant, None, senders[row]))
            out[row] = found[key]
    return out


def of_keys(known: npt.NDArray[np.uint64]) -> Ints:
    """The slots of sessions known by keys uint64 (B, 2), int64 (B,)."""
    return (known[:, 0] % np.uint64(SLOTS)).astype(np.int64)


def slot_of(key: Key) -> int:
    """The slot of what is held."""
    tenant, session, sender = key
    name = f"{_SENDER}{sender}" if session is None else session
    return int.from_bytes(key_of(tenant, name)[:8], "little") % SLOTS


def chosen(state: Copied, slots: npt.NDArray[np.bool_]) -> Copied:
    """Of what `snapshot.copied` or `watched` gave, the sessions in those of ``slots`` bool (SLOTS,) that are true."""
    return _placed(state, np.flatnonzero(slots[of_keys(state[1]["keys"])]))


def merged(one: Copied, other: Copied) -> Copied:
    """The sessions of both, which have none in common, the one seen longest ago first."""
    (header, arrays), (more, added) = one, other
    together = {name: np.concatenate([array, added[name]]) for name, array in arrays.items()}
    count = len(arrays["keys"])
    joint = {**header}
    if "monitors" in header:
        joint["monitors"] = [
            [*first, *([place + count, state] for place, state in then)]
            for first, then in zip(header["monitors"], more["monitors"], strict=True)
        ]
        joint["owing"] = [*header["owing"], *([place + count, *who] for place, *who in more["owing"])]
        joint["owed"] = [*header["owed"], *more["owed"]]
    return _placed((joint, together), np.argsort(together["seen"], kind="stable"))


def _placed(state: Copied, order: Ints) -> Copied:
    header, arrays = state
    places = {old: new for new, old in enumerate(order.tolist())}
    out: dict[str, Any] = {**header, "sessions": len(order)}
    if "monitors" in header:
        out["monitors"] = [
            [[places[place], kept] for place, kept in listed if place in places] for listed in header["monitors"]
        ]
        both = [
            ([places[place], *who], names)
            for (place, *who), names in zip(header["owing"], header["owed"], strict=True)
            if place in places
        ]
        out["owing"], out["owed"] = [who for who, _ in both], [names for _, names in both]
    return out, {name: array[order] for name, array in arrays.items()}
