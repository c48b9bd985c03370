"""Lines of the file of holds (`aimds.respond.hold_file`): a hash and JSON each, written and read."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import msgspec

from aimds.ids import MAX_ID_BYTES, short
from aimds.respond.held import Hold, Key

KINDS: Final = ("quarantine", "rate_limit")
MOST_LINE: Final = 64 << 20
"""Bytes of a line; a longer one is none."""
LATEST: Final = 1e11
"""Seconds since 1970; a time that no calendar has could not be shown."""
Change = tuple[str, Key, Hold | None]
"""Kind, whose hold, and the hold; None: it is over."""
Held = dict[str, dict[Key, Hold]]
"""What is held, by kind, in the order of the changes, as in memory: of too many, the one held longest goes."""
_HASH: Final = 16
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
_Name = Annotated[str, msgspec.Meta(max_length=MAX_ID_BYTES // 4)]
_Time = Annotated[float, msgspec.Meta(ge=0, lt=LATEST)]


class _Usual(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A line as nearly all are: of sound values, without a name that would have to become shorter."""

    kind: Literal["quarantine", "rate_limit"]
    tenant: _Name | None
    session: _Name | None
    sender: str | None
    since: _Time = -1.0
    until: _Time | None = None
    request_id: str | None = None


_DECODE = msgspec.json.Decoder(list[_Usual]).decode


def line(change: Change) -> bytes:
    """``change`` as a line."""
    kind, key, hold = change
    values: list[Any] = [kind, *key]
    if hold is not None:
        values += [hold.since, None if math.isinf(hold.until) else hold.until, hold.request_id]
    text = _ENCODER.encode(values).encode()
    return _hash(text) + b" " + text + b"\n"


def _hash(text: bytes) -> bytes:
    return sha256(text).hexdigest()[:_HASH].encode()


def take(lines: list[bytes], found: Held) -> int:
    """Take what ``lines`` say into ``found``; how many of them are damaged, or of values that cannot be."""
    return 0 if _together(lines, found) else _singly(lines, found)


def _together(lines: list[bytes], found: Held) -> bool:
    """Take ``lines`` into ``found``, together; False where one of them is not as nearly all are: then none was taken,
    since to take some once more would change their order."""
    if max(map(len, lines), default=0) >= MOST_LINE:
        return False
    texts = [line[_HASH + 1 :] for line in lines]
    digests = b"".join([sha256(text).digest()[: _HASH // 2] for text in texts])
    if b"".join([line[: _HASH + 1] for line in lines]).decode("latin-1") != digests.hex(" ", _HASH // 2) + " ":
        return False
    try:
        read = _DECODE(b"[" + b",".join(texts) + b"]")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False
    if len(read) != len(lines):
        return False
    for one in read:
        if (one.session is None) == (one.sender is None) or (one.session is None and one.kind == "quarantine"):
            return False
        if one.request_id is None and one.since >= 0:
            return False
    endless = math.inf
    for one in read:
        held, key = found[one.kind], (one.tenant, one.session, one.sender)
        until, request_id = one.until, one.request_id
        if request_id is None:
            held.pop(key, None)
            continue
        before = held.get(key)
        if before is not None and before.since != one.since:
            # It was over and began anew; one that is held longer keeps its place.
            del held[key]
        held[key] = Hold(one.since, endless if until is None else until, request_id)
    return True


def _singly(lines: list[bytes], found: Held) -> int:
    """Take those of ``lines`` that are sound into ``found``; how many are not."""
    damaged = 0
    for line in lines:
        change = None if len(line) >= MOST_LINE else _change(line)
        if change is None:
            damaged += 1
            continue
        kind, key, hold = change
        before = found[kind].get(key)
        if before is not None and (hold is None or before.since != hold.since):
            del found[kind][key]
        if hold is not None:
            found[kind][key] = hold
    return damaged


def _change(line: bytes) -> Change | None:
    # None: damaged, or of values that cannot be.
    hashed, text = line[:_HASH], line[_HASH + 1 :]
    if line[_HASH : _HASH + 1] != b" " or _hash(text) != hashed:
        return None
    try:
        values = json.loads(text)
    except (RecursionError, ValueError):
        return None
    if not isinstance(values, list) or len(values) not in (4, 7) or values[0] not in KINDS:
        return None
    kind, tenant, session, sender = values[:4]
    if not all(one is None or isinstance(one, str) for one in (tenant, session, sender)):
        return None
    # Without a session there is only the sender, and a sender is limited, never shut out.
    if (session is None) == (sender is None) or (session is None and kind == "quarantine"):
        return None
    bounded = [None if one is None else short(one) for one in (tenant, session)]
    key: Key = (bounded[0], bounded[1], sender)
    if len(values) == 4:
        return kind, key, None
    since, until, request_id = values[4:]
    until = math.inf if until is None else until
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (since, until))
    if not numbers or not isinstance(request_id, str):
        return None
    try:
        since, until = float(since), float(until)
    except OverflowError:
        return None
    # Json reads NaN and Infinity.
    if not 0 <= since < LATEST or not (0 <= until < LATEST or values[5] is None):
        return None
    return kind, key, Hold(since, until, request_id)
