"""Which column of a log means what: named by a flag or guessed from its name, and checked against its type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa

from aimds.errors import ConfigError, SchemaError
from aimds.schema import VERDICTS

UNUSED = "-"
AS_JSON = {b"aimds": b"json"}
"""Metadata of a column of JSON Lines that holds objects or lists: never texts to screen, carried as JSON text."""
NO_TEXT = {b"aimds": b"no text"}
"""Metadata of a column of JSON Lines with no string at its beginning: nulls, numbers, true or false."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Column of the input behind each REQUESTS field. As a wish, None means guess and "-" means none;
    ``events`` is for policies over sessions."""

    text: str | None = None
    session_id: str | None = None
    tenant: str | None = None
    ts: str | None = None
    channel: str | None = None
    turn: str | None = None
    request_id: str | None = None
    events: str | None = UNUSED

    def used(self) -> dict[str, str]:
        """REQUESTS field → input column, for those there are."""
        return {field: name for field, name in asdict(self).items() if name and name != UNUSED}


_OTHER_MARKS = {";": "';'", "\t": "tabs"}
"""What parts the fields of tables that are called CSV and have no commas, and its name."""
FLAGS = {
    "text": "--text-column",
    "session_id": "--session-column",
    "tenant": "--tenant-column",
    "ts": "--time-column",
    "channel": "--channel-column",
    "turn": "--turn-column",
    "request_id": "--id-column",
    "events": "--events-column",
}
NAMES = {
    "text": (
        "text prompt content message input query user_input user_prompt prompt_text user_message input_text "
        "body utterance question instruction request"
    ),
    "session_id": "session_id session conversation_id conversation thread_id chat_id dialog_id dialogue_id",
    "tenant": "tenant tenant_id org_id organization_id organisation_id customer_id account_id",
    "ts": "ts timestamp time created_at datetime event_time date",
    "channel": "channel role",
    "turn": "turn turn_index turn_id turn_number message_index",
    "request_id": "request_id id message_id event_id uuid",
    "events": "events",
}


def _values(kind: pa.DataType) -> pa.DataType:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_text(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (
        t.is_string,
        t.is_large_string,
        t.is_string_view,
        t.is_binary,
        t.is_large_binary,
        t.is_binary_view,
        t.is_null,
    )
    return any(test(kind) for test in tests)


def _is_name(kind: pa.DataType) -> bool:
    t = pa.types
    more = (t.is_fixed_size_binary, t.is_integer, t.is_boolean, t.is_floating, t.is_temporal, t.is_decimal)
    return _is_text(kind) or any(test(kind) for test in more)


def _is_time(kind: pa.DataType) -> bool:
    t = pa.types
    return _is_text(kind) or t.is_timestamp(kind) or t.is_date(kind) or t.is_integer(kind) or t.is_floating(kind)


def _is_count(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind)


def is_events(kind: pa.DataType) -> bool:
    """Whether a column of this type can name events."""
    t = pa.types
    listed = t.is_list(kind) or t.is_large_list(kind)
    return _is_text(_values(kind.value_type)) if listed else _is_text(kind)


def _is_list(kind: pa.DataType) -> bool:
    t = pa.types
    return any(test(kind) for test in (t.is_list, t.is_large_list, t.is_fixed_size_list))


_ACCEPTS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "text": (_is_text, "text (string or binary)"),
    "session_id": (_is_name, "text or a number"),
    "tenant": (_is_name, "text or a number"),
    "ts": (_is_time, "a timestamp, a date, epoch numbers or ISO 8601 text"),
    "channel": (_is_text, "text"),
    "turn": (_is_count, "a number"),
    "request_id": (_is_name, "text or a number"),
    "events": (is_events, "lists of names, or text: a list in JSON, or names parted by spaces"),
}


def resolve(schema: pa.Schema, wanted: Columns, label: str) -> tuple[Columns, list[str]]:
    """The columns to use of an input with ``schema``, and one note for each that was guessed.

    Raises:
        SchemaError: a named column is not there, has the wrong type or stands there twice, or no text column can be
            guessed; the message lists the columns.
    """
    chosen: dict[str, str | None] = {}
    notes: list[str] = []
    wishes = asdict(wanted)
    named = {name for name in wishes.values() if name}
    for field, wish in wishes.items():
        accepts, expected = _ACCEPTS[field]
        if wish == UNUSED and field != "text":
            continue
        if wish is not None:
            index = _index(schema, wish, label)
            if not accepts(_values(schema.field(index).type)):
                raise SchemaError(
                    wish, f"holds {schema.field(index).type} in {label}, expected {expected}; {_listing(schema)}"
                )
            chosen[field] = wish
        else:
            name = chosen[field] = _guess(schema, field, named)
            if name:
                remark = _without_text(schema.field(name)) if field == "text" else ""
                notes.append(f"{FLAGS[field]} {name}{remark and f' ({remark})'}")
    if not chosen["text"]:
        names = ", ".join(NAMES["text"].split()[:6])
        raise SchemaError(
            "text",
            f"no text column ({names}, …) can be guessed in {label}{_unfit(schema, named)}; name it with "
            f"--text-column; {_listing(schema)}",
        )
    return Columns(**chosen), notes


def _guess(schema: pa.Schema, field: str, taken: set[str]) -> str | None:
    accepts, _ = _ACCEPTS[field]
    fitting = [name for name in _called(schema, field, taken) if accepts(_values(schema.field(name).type))]
    if field == "text":
        # A column that has the name and no text is better than none: each of its rows gets a verdict that says so.
        fitting.sort(key=lambda name: bool(_without_text(schema.field(name))))
    return next(iter(fitting), None)


def _called(schema: pa.Schema, field: str, taken: set[str]) -> Iterator[str]:
    """The columns with a name that is guessed for ``field``, the best known name first."""
    by_name = {name.lower(): str(name) for name in reversed(schema.names)}
    for candidate in NAMES[field].split():
        name = by_name.get(candidate)
        if name is not None and name not in taken and len(schema.get_all_field_indices(name)) == 1:
            yield name


def _without_text(field: pa.Field) -> str:
    """Why there may be nothing to screen in ``field``, which may be read as text; empty where nothing says so."""
    if pa.types.is_null(_values(field.type)):
        return "holds nulls only"
    return "no text in its first records" if field.metadata == NO_TEXT else ""


def _unfit(schema: pa.Schema, taken: set[str]) -> str:
    """Why no column is the text, in brackets, where their names or types show it; empty where nothing does."""
    if len(schema) == 1 and (mark := next((mark for mark in _OTHER_MARKS if mark in schema.names[0]), "")):
        return f" (is the file separated by {_OTHER_MARKS[mark]}? commas are expected)"
    for candidate in (*NAMES["text"].split(), "messages"):
        field = next((one for one in schema if one.name.lower() == candidate and one.name not in taken), None)
        if field is None:
            continue
        if (times := len(schema.get_all_field_indices(field.name))) > 1:
            return f" ({field.name} stands {times} times)"
        if _is_list(_values(field.type)):
            return f" ({field.name} holds {field.type}: one text a row is expected; unnest it first)"
        if candidate != "messages":
            return f" ({field.name} holds {field.type}, no text)"
    return ""


def _index(schema: pa.Schema, name: str, label: str) -> int:
    found = schema.get_all_field_indices(name)
    if not found:
        raise SchemaError(name, f"no such column in {label}; {_listing(schema)}")
    if len(found) > 1:
        raise SchemaError(name, f"stands {len(found)} times in {label}; {_listing(schema)}")
    return int(found[0])


def _listing(schema: pa.Schema) -> str:
    shown = [f"{field.name} ({field.type})" for field in list(schema)[:60]]
    return "its columns are " + (", ".join(shown) or "(none)") + (" …" if len(schema) > 60 else "")


def extra_fields(
    schema: pa.Schema, carry: Iterable[str], with_text: bool, label: str, own: pa.Schema = VERDICTS
) -> list[pa.Field]:
    """Fields of the output beyond its ``own``: ``text`` (large_string) when asked for, then the carried columns.

    Raises:
        SchemaError: a carried column is not in the input.
        ConfigError: a carried column has the name of a verdict column.
    """
    fields = [pa.field("text", pa.large_string())] if with_text else []
    for name in carry:
        if name in own.names or any(made.name == name for made in fields):
            raise ConfigError("carry", name, "a column whose name is not one of the output's own")
        field = schema.field(_index(schema, name, label))
        kind = pa.large_string() if field.metadata == AS_JSON else field.type
        fields.append(pa.field(name, kind.value_type if pa.types.is_dictionary(kind) else kind))
    return fields
