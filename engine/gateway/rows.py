"""Requests out of JSON and verdicts into JSON: one object a row, with the names of the data contract."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from aimds.gateway.problem import Problem
from aimds.schema import CHANNELS, REQUESTS, VERDICTS, enum

Channel = Literal["user", "system", "assistant", "tool", "document"]
BRIEF = ("request_id", "session_id", "turn", "action", "session_action", "threat_type", "score", "status", "error")
"""Fields of a verdict where the client asks for ``verdict=brief``."""
ENUMS = tuple(field.name for field in VERDICTS if pa.types.is_dictionary(field.type))
_CODES = {name: code for code, name in enumerate(CHANNELS)}


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One request, as a JSON object. ``deadline_ms`` from its arrival, ``urgency`` 0 to 7; None: as in the headers.

    For an id of more than 512 bytes its hash stands in the verdict, which says so.
    """

    text: str
    request_id: str | None = None
    session_id: str | None = None
    turn: int | None = None
    tenant: str | None = None
    ts: datetime | None = None
    channel: Channel = "user"
    events: list[str] | None = None
    deadline_ms: float | None = None
    urgency: int | None = None


class Turns(msgspec.Struct, forbid_unknown_fields=True):
    """What a session said, in order."""

    turns: list[Row]


class Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a model's response."""

    text: str


_ROW = msgspec.json.Decoder(Row)
_TURNS = msgspec.json.Decoder(Turns)
_CHUNK = msgspec.json.Decoder(Chunk)
_ENCODER = msgspec.json.Encoder()


def _decoded(decoder: msgspec.json.Decoder[Any], content: bytes, what: str) -> Any:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise _unfit(what, error, decoder.type.__struct_fields__) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(content, what, error) from None


def _unfit(what: str, error: msgspec.ValidationError, fields: tuple[str, ...]) -> Problem:
    told = str(error)
    known: tuple[str, ...] = ()
    if "Invalid enum value" in told:
        # The channel is the only field with known values.
        known = CHANNELS
    elif "unknown field" in told:
        known = Row.__struct_fields__ if "`$.turns[" in told else fields
    if not known:
        return Problem("unprocessable", f"{what}: {told}")
    return Problem("unprocessable", f"{what}: {told}; known are {', '.join(known)}", known=list(known))


def _malformed(content: bytes, what: str, error: Exception) -> Problem:
    # What msgspec raises where bytes are not UTF-8 differs by its version.
    try:
        content.decode()
    except UnicodeDecodeError as bad:
        return Problem("malformed", f"{what} is not UTF-8: byte {bad.object[bad.start]:#04x} in it")
    return Problem("malformed", f"{what} is not JSON: {error}")


def row(content: bytes, what: str = "the body") -> Row:
    """The request in ``content``.

    Raises:
        Problem: not UTF-8, not JSON, or not a request; says where.
    """
    return checked(_decoded(_ROW, content, what), what)


def turns(content: bytes) -> list[Row]:
    """The requests of a session: one object, or an object with a list ``turns``.

    Raises:
        Problem: as `row`; or there is no turn.
    """
    found: Turns | None = None
    try:
        found = _TURNS.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError) and "`$.turns" in str(error):
            raise _unfit("the body", error, Turns.__struct_fields__) from None
        try:
            return [row(content)]
        except Problem as problem:
            if isinstance(error, msgspec.ValidationError) and "unknown field `turns`" in problem.detail:
                raise _unfit("the body", error, Turns.__struct_fields__) from None
            raise
    if not found.turns:
        raise Problem("unprocessable", "turns is empty")
    return [checked(one, f"turn {i}") for i, one in enumerate(found.turns)]


def chunk(content: bytes, what: str) -> str:
    """The text of one piece of a response.

    Raises:
        Problem: as `row`.
    """
    return str(_decoded(_CHUNK, content, what).text)


def checked(one: Row, what: str) -> Row:
    """``one``, if its numbers are in range.

    Raises:
        Problem: ``unprocessable``.
    """
    if one.turn is not None and not -(1 << 63) <= one.turn < 1 << 63:
        raise Problem("unprocessable", f"{what}: turn is not a 64-bit number")
    if one.urgency is not None and not 0 <= one.urgency <= 7:
        raise Problem("unprocessable", f"{what}: urgency = {one.urgency}, expected 0 to 7")
    if one.deadline_ms is not None and not 0 < one.deadline_ms < float("inf"):
        raise Problem("unprocessable", f"{what}: deadline_ms = {one.deadline_ms}, expected a positive number")
    if one.ts is not None and one.ts.tzinfo is None:
        one.ts = one.ts.replace(tzinfo=UTC)
    try:
        if one.ts is not None:
            one.ts = one.ts.astimezone(UTC)
    except OverflowError:
        raise Problem("unprocessable", f"{what}: ts is outside the years 1 to 9999") from None
    return one


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """``rows`` as REQUESTS, in their order; a ``request_id`` must be set."""
    arrays = [
        pa.array([one.request_id for one in rows], pa.string()),
        pa.array([one.session_id for one in rows], pa.string()),
        pa.array([one.turn for one in rows], pa.int64()),
        pa.array([one.tenant for one in rows], pa.string()),
        pa.array([one.ts for one in rows], REQUESTS.field("ts").type),
        enum(CHANNELS, np.array([_CODES[one.channel] for one in rows], np.int8)),
        pa.array([one.text for one in rows], pa.large_string()),
        pa.array([one.events for one in rows], pa.list_(pa.string())),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REQUESTS)


def objects(verdicts: pa.RecordBatch, names: Sequence[str] = tuple(VERDICTS.names)) -> list[dict[str, Any]]:
    """The fields ``names`` of each verdict in JSON types, as `aimds check --json` gives them; times in ISO 8601."""
    columns = [_plain(name, verdicts.column(name)) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def lines(verdicts: pa.RecordBatch, *, brief: bool = False) -> list[bytes]:
    """Each verdict as a JSON object, without a line end."""
    found = objects(verdicts, BRIEF if brief else tuple(VERDICTS.names))
    return [_ENCODER.encode(one) for one in found]


def encoded(value: Any) -> bytes:
    """``value`` as JSON."""
    return _ENCODER.encode(value)


def _plain(name: str, column: pa.Array) -> list[Any]:
    n = len(column)
    if name in ENUMS:
        words = column.dictionary.to_pylist()
        if not column.null_count:
            return [words[code] for code in column.indices.to_numpy().tolist()]
        return [None if code is None else words[code] for code in column.indices.to_pylist()]
    if name == "scores":
        return _maps(column)
    if name in ("evidence", "spans", "violations"):
        offsets = column.offsets.to_numpy()
        if offsets[-1] == offsets[0]:
            return [[] for _ in range(n)]
        return list(column.to_pylist())
    if column.null_count == n:
        return [None] * n
    if name == "ts":
        return [None if at is None else at.isoformat() for at in column.to_pylist()]
    if pa.types.is_floating(column.type) and not column.null_count:
        return list(column.to_numpy().tolist())
    return list(column.to_pylist())


def _maps(column: pa.MapArray) -> list[dict[str, float]]:
    bounds = column.offsets.to_numpy().tolist()
    # The children are the whole ones: a slice of a map counts its offsets from their beginning.
    words = column.keys.dictionary.to_pylist()
    codes, values = column.keys.indices.to_numpy().tolist(), column.items.to_numpy().tolist()
    names = [words[code] for code in codes]
    return [dict(zip(names[a:b], values[a:b], strict=True)) for a, b in itertools.pairwise(bounds)]
