"""The data contract: REQUESTS in, VERDICTS out, as Arrow schemas, and the checks that name the column and the row.

A batch of requests and its batch of verdicts have the same rows in the same order. ``request_id``, ``session_id`` and
``tenant`` of a verdict have up to 512 bytes: a longer one has a stand-in there (`aimds.ids`).
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import SchemaError
from aimds.moments import utc
from aimds.packing import packed
from aimds.taxonomy import THREATS

CHANNELS = ("user", "system", "assistant", "tool", "document")
ACTIONS = ("allow", "flag", "redact", "sandwich", "block", "escalate")
SESSION_ACTIONS = ("none", "rate_limit", "quarantine")
STATUSES = ("ok", "partial", "error")
PROFILES = ("fast", "cascade", "full")
LABELS = ("attack", "benign")
UNTRUSTED_CHANNELS = ("tool", "document")

_ENUM = pa.dictionary(pa.int8(), pa.string())
_TIME = pa.timestamp("us", tz="UTC")

REQUESTS = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("turn", pa.int64()),
        pa.field("tenant", pa.string()),
        pa.field("ts", _TIME),
        pa.field("channel", _ENUM, nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("events", pa.list_(pa.string())),
    ]
)

EVIDENCE = pa.struct(
    [
        pa.field("detector", pa.string(), nullable=False),
        pa.field("pattern_id", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
    ]
)
"""A finding: ``start`` and ``end`` are bytes of the original text, both 0 where it lies in the session of the row."""
SPAN = pa.struct(
    [
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
    ]
)

VERDICTS = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("turn", pa.int64()),
        pa.field("tenant", pa.string()),
        pa.field("ts", _TIME),
        pa.field("channel", _ENUM, nullable=False),
        pa.field("action", _ENUM, nullable=False),
        pa.field("session_action", _ENUM, nullable=False),
        pa.field("threat_type", _ENUM, nullable=False),
        pa.field("scores", pa.map_(_ENUM, pa.float32()), nullable=False),
        pa.field("score", pa.float32()),
        pa.field("p_value", pa.float64()),
        pa.field("harmful_score", pa.float32()),
        pa.field("severity", pa.float32()),
        pa.field("evidence", pa.list_(EVIDENCE), nullable=False),
        pa.field("spans", pa.list_(SPAN), nullable=False),
        pa.field("mitigated_text", pa.large_string()),
        pa.field("session_score", pa.float32()),
        pa.field("attractor", _ENUM),
        pa.field("violations", pa.list_(pa.string()), nullable=False),
        pa.field("status", _ENUM, nullable=False),
        pa.field("error", pa.string()),
        pa.field("profile", _ENUM, nullable=False),
        pa.field("backend", _ENUM, nullable=False),
        pa.field("engine_version", _ENUM, nullable=False),
        pa.field("model_version", _ENUM, nullable=False),
        pa.field("signature_version", _ENUM, nullable=False),
        pa.field("policy_version", _ENUM, nullable=False),
    ]
)

_REQUESTED = tuple((field.name, field) for field in REQUESTS)
"""The fields, made into Python objects once."""

FEEDBACK = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string()),
        pa.field("tenant", pa.string()),
        pa.field("ts", _TIME),
        pa.field("channel", _ENUM, nullable=False),
        pa.field("text", pa.large_string()),
        pa.field("action", _ENUM, nullable=False),
        pa.field("threat_type", _ENUM, nullable=False),
        pa.field("score", pa.float32()),
        pa.field("p_value", pa.float64()),
        pa.field("label", _ENUM, nullable=False),
        pa.field("reviewer", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("decided_at", _TIME, nullable=False),
    ]
)
"""A verdict that a person has confirmed or refuted: ``label`` is one of LABELS. Review writes it, learning reads it."""

UNFOLLOWED = "policy over sessions "
"""How the error of a verdict begins to say that a policy could not judge the session: no failure of a detector."""
_TEXT_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARY_TYPES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_UNKNOWN: Final = -1
"""Code of a channel that is none."""
_SHOWN: Final = 80
"""Characters of a value that are told of one that does not fit."""


def enum(values: tuple[str, ...], codes: Any) -> pa.DictionaryArray:
    """A dictionary column from int8 ``codes`` into ``values``; those in a numpy array are not looked at."""
    if isinstance(codes, np.ndarray) and codes.dtype == np.int8:
        return _single(values, codes.tobytes()) if len(codes) == 1 else _column(values, codes)
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), _dictionary(values))


@functools.lru_cache(maxsize=1024)
def _single(values: tuple[str, ...], code: bytes) -> pa.DictionaryArray:
    return _column(values, np.frombuffer(code, np.int8))


def _column(values: tuple[str, ...], codes: np.ndarray[Any, np.dtype[np.int8]]) -> pa.DictionaryArray:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(codes))]
    return pa.DictionaryArray.from_buffers(_ENUM, len(codes), buffers, _dictionary(values))


@functools.lru_cache(maxsize=256)
def _dictionary(values: tuple[str, ...]) -> pa.StringArray:
    return pa.array(values, pa.string())


def constant(value: str, n: int) -> pa.DictionaryArray:
    """A dictionary column of ``n`` times ``value``."""
    whole = _constant(value, room(n))
    return whole if len(whole) == n else whole.slice(0, n)


@functools.lru_cache(maxsize=64)
def _constant(value: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), _dictionary((value,)))


def empty(name: str, n: int) -> pa.Array:
    """Column ``name`` of REQUESTS or VERDICTS with ``n`` rows without a value: null, or where that may not be an empty
    list."""
    whole = _empty(name, room(n))
    return whole if len(whole) == n else whole.slice(0, n)


@functools.lru_cache(maxsize=256)
def _empty(name: str, n: int) -> pa.Array:
    field = next(field for field in (*VERDICTS, *REQUESTS) if field.name == name)
    if field.nullable:
        return pa.nulls(n, field.type)
    return pa.ListArray.from_arrays(pa.array(np.zeros(n + 1, np.int32)), pa.array([], field.type.value_type))


def room(n: int) -> int:
    """At least ``n``: a power of two, so that batches of many sizes share what is made once."""
    return 1 << (n - 1).bit_length() if n > 1 else 1


def text_column(column: pa.Array, name: str = "text") -> pa.Array:
    """``column`` as large_string, bytes unchanged: invalid UTF-8 is kept for the screener to report per row.

    Raises:
        SchemaError: it holds neither text nor bytes.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return text_column(column.dictionary_decode(), name)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.large_string())
    if pa.types.is_large_string(kind):
        return column
    if pa.types.is_large_binary(kind):
        return column.view(pa.large_string())
    if any(test(kind) for test in _TEXT_TYPES):
        return column.cast(pa.large_string())
    if any(test(kind) for test in _BINARY_TYPES):
        return pc.cast(column, options=pc.CastOptions(target_type=pa.large_string(), allow_invalid_utf8=True))
    raise SchemaError(name, f"holds {kind}, expected text (string) or bytes (binary)")


def _channel_column(column: pa.Array) -> pa.Array:
    # Words are looked up once each: rows that repeat a long one would take a multiple of it.
    words = column.dictionary if pa.types.is_dictionary(column.type) else column
    if pa.types.is_null(words.type):
        return constant("user", len(column))
    if not any(test(words.type) for test in _TEXT_TYPES):
        raise SchemaError("channel", f"holds {words.type}, expected text: one of {', '.join(CHANNELS)}")
    filled = pc.fill_null(words.cast(pa.string()), "user")
    codes = pc.index_in(filled, value_set=pa.array(CHANNELS, pa.string())).cast(pa.int8()).fill_null(_UNKNOWN)
    if words is not column:
        codes = codes.take(column.indices).fill_null(CHANNELS.index("user"))
    row = pc.index(codes, pa.scalar(_UNKNOWN, pa.int8())).as_py()
    if row >= 0:
        word = str(column[row].as_py())
        told = repr(word) if len(word) <= _SHOWN else f"{word[:_SHOWN]!r}…"
        raise SchemaError("channel", f"is {told}, expected one of {', '.join(CHANNELS)}", row=row)
    return enum(CHANNELS, codes)


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if field.type != _TIME:
        return _checked(column, field)
    if not pa.types.is_timestamp(column.type) and not pa.types.is_date(column.type):
        column = _checked(column, field)
    return utc(column, field.name)


def _checked(column: pa.Array, field: pa.Field) -> pa.Array:
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        row = _first_bad_row(column, field)
        raise SchemaError(field.name, f"cannot become {field.type}: {error}", row=row) from error
    except pa.ArrowNotImplementedError as error:
        raise SchemaError(field.name, f"holds {column.type}, expected {field.type}") from error


def _first_bad_row(column: pa.Array, field: pa.Field) -> int | None:
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(field.type)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low if high > low else None


def requests(table: pa.RecordBatch | pa.Table, *, first_row: int = 0) -> pa.RecordBatch:
    """``table`` as one batch of REQUESTS: columns cast, missing optional ones null, unknown ones left out.

    ``request_id`` defaults to the row number counted from ``first_row``; ``channel`` to ``user``. A null text is kept:
    the screener answers that row alone with status ``error``.

    Raises:
        SchemaError: no ``text`` column, two columns of one name, or a column that cannot be cast or holds a time
            outside the years 1 to 9999 (names the column and the first bad row).
    """
    names = table.schema.names
    if "text" not in names:
        raise SchemaError("text", f"missing; the columns are {', '.join(names) or '(none)'}")
    for name, _ in _REQUESTED if len(set(names)) < len(names) else ():
        if names.count(name) > 1:
            raise SchemaError(name, f"there are {names.count(name)} columns of this name, expected one")
    n = table.num_rows
    arrays = []
    for name, field in _REQUESTED:
        if name not in names:
            arrays.append(_missing(name, n, first_row))
            continue
        column = table.column(name)
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if name == "text":
            arrays.append(text_column(column))
        elif name == "channel":
            arrays.append(_channel_column(column))
        elif name == "request_id" and column.null_count:
            arrays.append(pc.coalesce(_cast(column, field), _missing(name, n, first_row)))
        else:
            arrays.append(_cast(column, field))
    return pa.RecordBatch.from_arrays(arrays, schema=REQUESTS)


_MANY = 256
"""Rows from which on Arrow writes their numbers sooner than Python does."""


def _missing(name: str, n: int, first_row: int) -> pa.Array:
    if name == "request_id":
        if n < _MANY:
            return packed([b"%d" % row for row in range(first_row, first_row + n)], pa.string())
        return pa.array(np.arange(first_row, first_row + n)).cast(pa.string())
    return enum(CHANNELS, np.zeros(n, np.int8)) if name == "channel" else empty(name, n)


def check_verdicts(table: pa.Table | pa.RecordBatch) -> None:
    """Raise SchemaError when ``table`` lacks a column of VERDICTS or holds it in another type."""
    if table.schema.equals(VERDICTS):
        return
    for field in VERDICTS:
        index = table.schema.get_field_index(field.name)
        if index < 0:
            raise SchemaError(field.name, "missing; this is not a table of verdicts")
        if table.schema.field(index).type != field.type and field.name not in _STORED_AS_STRING:
            raise SchemaError(field.name, f"holds {table.schema.field(index).type}, expected {field.type}")


_STORED_AS_STRING = frozenset(field.name for field in VERDICTS if pa.types.is_dictionary(field.type))

assert len(THREATS) < 128, "threat codes are int8"
