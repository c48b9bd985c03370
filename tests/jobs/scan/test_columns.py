from __future__ import annotations

import pyarrow as pa
import pytest

from aimds.errors import ConfigError, SchemaError
from aimds.jobs.scan.columns import Columns, extra_fields, resolve

LOG = pa.schema(
    [
        ("id", pa.int64()),
        ("Prompt", pa.string()),
        ("conversation_id", pa.string()),
        ("org_id", pa.int32()),
        ("created_at", pa.timestamp("ns")),
        ("role", pa.dictionary(pa.int32(), pa.string())),
        ("turn", pa.int16()),
        ("score", pa.float32()),
    ]
)


def test_common_names_are_guessed_whatever_their_case() -> None:
    columns, notes = resolve(LOG, Columns(), "log")
    assert columns == Columns("Prompt", "conversation_id", "org_id", "created_at", "role", "turn", "id")
    assert "--text-column Prompt" in notes
    assert len(notes) == 7


def test_named_columns_are_taken_without_a_note() -> None:
    columns, notes = resolve(LOG, Columns(text="conversation_id", session_id="-", channel="-"), "log")
    assert columns.text == "conversation_id"
    assert columns.session_id is None
    assert columns.channel is None
    assert not any("text" in note or "session" in note for note in notes)


def test_a_column_with_a_name_but_not_the_type_is_not_guessed() -> None:
    columns, _ = resolve(pa.schema([("text", pa.int64()), ("prompt", pa.binary())]), Columns(), "log")
    assert columns.text == "prompt"


@pytest.mark.parametrize("kind", [pa.null(), pa.dictionary(pa.int8(), pa.null())])
def test_a_column_of_nulls_is_the_text_by_its_name_and_a_note_says_what_it_holds(kind: pa.DataType) -> None:
    columns, notes = resolve(pa.schema([("n", pa.int64()), ("prompt", kind)]), Columns(), "log")
    assert columns.text == "prompt"
    assert notes == ["--text-column prompt (holds nulls only)"]


def test_a_column_that_holds_text_is_guessed_before_one_of_nulls_with_a_better_known_name() -> None:
    schema = pa.schema([("text", pa.null()), ("request", pa.string())])
    columns, notes = resolve(schema, Columns(), "log")
    assert (columns.text, notes) == ("request", ["--text-column request"])
    assert resolve(schema, Columns(text="text"), "log")[0].text == "text"


def test_the_better_known_name_wins() -> None:
    columns, _ = resolve(pa.schema([("content", pa.string()), ("text", pa.string())]), Columns(), "log")
    assert columns.text == "text"


def test_no_such_column_lists_the_columns() -> None:
    with pytest.raises(SchemaError) as caught:
        resolve(LOG, Columns(text="txt"), "a.parquet")
    assert caught.value.column == "txt"
    for word in ("no such column", "a.parquet", "Prompt (string)", "score (float)"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "column"),
    [
        (Columns(text="turn"), "turn"),
        (Columns(text="Prompt", ts="score_list"), "score_list"),
        (Columns(text="Prompt", turn="created_at"), "created_at"),
        (Columns(text="Prompt", channel="score"), "score"),
        (Columns(text="score_list"), "score_list"),
    ],
)
def test_a_wrong_type_names_column_type_and_what_is_expected(wanted: Columns, column: str) -> None:
    schema = LOG.append(pa.field("score_list", pa.list_(pa.float32())))
    with pytest.raises(SchemaError, match=r"holds .* expected .*its columns are") as caught:
        resolve(schema, wanted, "log")
    assert caught.value.column == column


def test_a_log_without_text_says_how_to_name_the_column() -> None:
    with pytest.raises(SchemaError, match=r"--text-column.*n \(int64\)"):
        resolve(pa.schema([("n", pa.int64())]), Columns(), "log")


def test_where_only_the_type_keeps_a_column_from_being_the_text_it_is_named() -> None:
    with pytest.raises(SchemaError, match=r"can be guessed in log \(text holds int64, no text\); name it"):
        resolve(pa.schema([("text", pa.int64())]), Columns(), "log")


@pytest.mark.parametrize(
    ("names", "kind", "hint"),
    [
        (["text;session"], pa.string(), r"in log \(is the file separated by ';'\? commas are expected\); name it"),
        (["id\ttext"], pa.string(), r"in log \(is the file separated by tabs\? commas are expected\); name it"),
        (
            ["n", "Messages"],
            pa.list_(pa.struct([("content", pa.string())])),
            r"\(Messages holds list.*: one text a row",
        ),
        (["prompt"], pa.large_list(pa.string()), r"\(prompt holds .*: one text a row is expected; unnest it first\)"),
        (["text", "text"], pa.string(), r"in log \(text stands 2 times\); name it"),
        (["a;b", "c"], pa.string(), r"in log; name it"),
        (["messages", "n"], pa.int64(), r"in log; name it"),
    ],
)
def test_what_a_log_without_text_seems_to_be_is_said(names: list[str], kind: pa.DataType, hint: str) -> None:
    with pytest.raises(SchemaError, match=hint):
        resolve(pa.schema([(name, kind) for name in names]), Columns(), "log")


def test_a_column_that_stands_there_twice_is_refused_when_named_and_left_out_of_guessing() -> None:
    schema = pa.schema([("text", pa.string()), ("text", pa.string()), ("prompt", pa.string())])
    assert resolve(schema, Columns(), "log")[0].text == "prompt"
    with pytest.raises(SchemaError, match=r"stands 2 times"):
        resolve(schema, Columns(text="text"), "log")


def test_carried_columns_keep_their_type_and_may_not_shadow_a_verdict() -> None:
    fields = extra_fields(LOG, ["role"], True, "log")
    assert [(field.name, field.type) for field in fields] == [("text", pa.large_string()), ("role", pa.string())]
    with pytest.raises(ConfigError, match=r"score"):
        extra_fields(LOG, ["score"], False, "log")
    with pytest.raises(SchemaError, match=r"no such column"):
        extra_fields(LOG, ["nope"], False, "log")
