"""From a batch of a log's own columns to a batch of REQUESTS, never failing for one odd value.

A time or turn that cannot be read becomes null. Broken UTF-8 in an id becomes ``?``. A channel nobody knows is
screened as ``document``, the least trusted one, and an id that is too long has a stand-in; the verdict says so. The
text itself is passed on byte for byte.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds import schema
from aimds.detect.failures import UNKNOWN_CHANNEL
from aimds.ids import FIELDS, bounded
from aimds.moments import YEARS_S

_EVENTS = pa.list_(pa.string())
_TIME = pa.timestamp("us", tz="UTC")
_ALIASES = {"function": "tool", "tool_result": "tool", "developer": "system", "human": "user", "ai": "assistant",
            "bot": "assistant", "model": "assistant", "gpt": "assistant"}  # fmt: skip
_KNOWN = pa.array([*schema.CHANNELS, *_ALIASES], pa.string())
_CODES = np.array(
    [*range(len(schema.CHANNELS)), *(schema.CHANNELS.index(name) for name in _ALIASES.values())], dtype=np.int8
)
_USER, _DOCUMENT = schema.CHANNELS.index("user"), schema.CHANNELS.index("document")


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("aimds.same_length", _question_marks)


def valid_text(array: pa.Array) -> pa.Array:
    """``array`` (string or large_string) with each byte that is not UTF-8 replaced by one ``?``: offsets stay."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raw = array.cast(pa.large_binary())
        fixed = [None if v is None else v.decode("utf-8", "aimds.same_length") for v in raw.to_pylist()]
        return pa.array(fixed, array.type)
    return array


def _as_name(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_fixed_size_binary(kind):
        return pa.array([None if v is None else v.hex() for v in array.to_pylist()], pa.string())
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        return array.cast(pa.string())
    if pa.types.is_temporal(kind):
        return array.cast(pa.string())
    return valid_text(schema.text_column(array)).cast(pa.string())


def _as_id(array: pa.Array) -> pa.Array:
    # CSV has no null, and what has no name would be one with all others that have none.
    names = _as_name(array)
    return pc.if_else(pc.equal(names, ""), pa.scalar(None, names.type), names)


def _as_turn(array: pa.Array) -> pa.Array:
    if not pa.types.is_integer(array.type) and not pa.types.is_floating(array.type):
        return pa.array([_count(value) for value in _words(array)], pa.int64())
    if pa.types.is_floating(array.type):
        floats = array.cast(pa.float64())
        array = pc.if_else(pc.and_(pc.is_finite(floats), pc.less(pc.abs(floats), 2.0**62)), pc.trunc(floats), None)
    elif array.type == pa.uint64():
        array = pc.if_else(pc.less(array, pa.scalar(1 << 62, pa.uint64())), array, None)
    return array.cast(pa.int64(), safe=False)


def _words(array: pa.Array) -> list[str | None]:
    return valid_text(schema.text_column(array)).to_pylist()  # type: ignore[no-any-return]


def _count(value: str | None) -> int | None:
    try:
        number: float = int(value or "")
    except ValueError:
        # Many a writer makes 1.0 of every whole number in a column where one value is missing.
        try:
            number = float(value or "")
        except ValueError:
            return None
    return int(number) if abs(number) < 1 << 62 else None


def _as_time(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_null(kind):
        return pa.nulls(len(array), _TIME)
    if pa.types.is_timestamp(kind):
        return _within_years(array).cast(pa.timestamp("us", tz=kind.tz or "UTC"), safe=False).cast(_TIME)
    if pa.types.is_date(kind):
        return _within_years(array.cast(pa.timestamp("ms"))).cast(pa.timestamp("us")).cast(_TIME)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _from_epoch(array)
    return pa.array([_parse(value) for value in _words(array)], _TIME)


def _within_years(array: pa.Array) -> pa.Array:
    """Timestamps outside the years 1 to 9999, which many readers cannot represent, become null."""
    per_s = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
    low, high = (max(-(1 << 63), min(edge * per_s, (1 << 63) - 1)) for edge in YEARS_S)
    ticks = array.view(pa.int64())
    return pc.if_else(pc.and_(pc.greater_equal(ticks, low), pc.less(ticks, high)), array, None)


def _from_epoch(array: pa.Array) -> pa.Array:
    """Epoch numbers in s, ms, µs or ns, told apart by size: 10^11 s lies in the year 5138, 10^11 ms in 1973."""
    numbers = np.asarray(array.cast(pa.float64(), safe=False).fill_null(np.nan), dtype=np.float64)
    size = np.abs(numbers)
    scale = np.select([size < 1e11, size < 1e14, size < 1e17], [1e6, 1e3, 1.0], default=1e-3)
    micros = numbers * scale
    good = np.isfinite(micros) & (micros >= YEARS_S[0] * 1e6) & (micros < YEARS_S[1] * 1e6)
    return pa.array(np.where(good, micros, 0).round().astype(np.int64), mask=~good).cast(_TIME)


def _parse(value: str | None) -> datetime | None:
    if value is None:
        return None
    value = value.strip()
    try:
        if value.replace(".", "", 1).isdigit() and len(value) > 8:
            return _from_epoch(pa.array([float(value)]))[0].as_py()  # type: ignore[no-any-return]
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _as_channel(array: pa.Array, notes: dict[int, str]) -> pa.Array:
    names = pc.utf8_lower(pc.utf8_trim_whitespace(valid_text(schema.text_column(array)).cast(pa.string())))
    found = pc.index_in(names, value_set=_KNOWN)
    known = np.asarray(found.fill_null(-1))
    codes = np.where(known >= 0, _CODES[np.maximum(known, 0)], _USER).astype(np.int8)
    unknown = np.flatnonzero(
        (known < 0) & np.asarray(names.is_valid()) & np.asarray(pc.not_equal(names, "").fill_null(False))
    )
    codes[unknown] = _DOCUMENT
    for row in unknown:
        said = f"{UNKNOWN_CHANNEL}{names[int(row)].as_py()[:80]!r}: screened as document"
        notes[int(row)] = f"{said}; {notes[int(row)]}" if int(row) in notes else said
    return schema.enum(schema.CHANNELS, codes)


def as_events(array: pa.Array) -> pa.Array:
    """Lists of names, or text that is a list in JSON or names parted by spaces, as list<string>."""
    if not pa.types.is_nested(array.type):
        return pa.array([_listed(value) for value in _words(array)], _EVENTS)
    sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    names = valid_text(schema.text_column(plain(pc.list_flatten(array)))).cast(pa.string())
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, names, mask=array.is_null())


def _listed(value: str | None) -> list[str] | None:
    if value is None:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value.split()
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else value.split()


_CONVERT: dict[str, Callable[[pa.Array], pa.Array]] = {
    "session_id": _as_id,
    "tenant": _as_id,
    "request_id": _as_id,
    "ts": _as_time,
    "turn": _as_turn,
    "events": as_events,
}


def plain(array: pa.Array) -> pa.Array:
    """``array`` without dictionary or extension type."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def carried(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """``column`` of a log as a column of type ``kind`` of the output; text in it becomes valid UTF-8."""
    column = plain(column) if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = valid_text(column)
    return column if column.type == kind else column.cast(kind)


def unnamed(batch: pa.RecordBatch, used: dict[str, str]) -> npt.NDArray[np.bool_]:
    """Which rows of ``batch`` have no id, bool (n,); as `to_requests`."""
    if "request_id" not in used:
        return np.ones(batch.num_rows, np.bool_)
    given = _as_id(plain(batch.column(used["request_id"])))
    return np.asarray(given.is_null().to_numpy(zero_copy_only=False), np.bool_)


def to_requests(batch: pa.RecordBatch, used: dict[str, str], rows: pa.Array) -> tuple[pa.RecordBatch, dict[int, str]]:
    """``batch`` as REQUESTS, and for each row that needs one a note for its verdict.

    ``used`` maps REQUESTS fields to columns of ``batch``; ``rows`` (n,) int64 are row numbers in the file, the
    ``request_id`` of rows that have none.
    """
    notes: dict[int, str] = {}
    columns: dict[str, Any] = {}
    for field, name in used.items():
        array = plain(batch.column(name))
        if field == "text":
            columns[field] = schema.text_column(array)
        elif field == "channel":
            columns[field] = _as_channel(array, notes)
        else:
            columns[field] = _CONVERT[field](array)
    for field in FIELDS:
        if field in columns:
            columns[field] = bounded(columns[field], field, notes)
    numbers = rows.cast(pa.string())
    given = columns.get("request_id")
    columns["request_id"] = numbers if given is None else pc.coalesce(given, numbers)
    return schema.requests(pa.RecordBatch.from_pydict(columns)), notes
