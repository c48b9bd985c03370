"""The data contract: what is cast, what is refused, and how the refusal names column and row."""

import datetime

import pyarrow as pa
import pytest

from aimds.errors import SchemaError
from aimds.schema import REQUESTS, VERDICTS, check_verdicts, requests


def test_a_text_column_alone_is_enough() -> None:
    batch = requests(pa.table({"text": ["a", "b"]}), first_row=10)
    assert batch.schema.equals(REQUESTS)
    assert batch.column("request_id").to_pylist() == ["10", "11"]
    assert batch.column("channel").to_pylist() == ["user", "user"]


def test_a_missing_text_column_lists_the_columns_there_are() -> None:
    with pytest.raises(SchemaError, match="column 'text': missing; the columns are prompt, id"):
        requests(pa.table({"prompt": ["a"], "id": [1]}))


def test_a_value_that_cannot_be_cast_names_its_row() -> None:
    with pytest.raises(SchemaError, match="column 'turn', row 2") as caught:
        requests(pa.table({"text": list("abcd"), "turn": ["1", "2", "three", "four"]}))
    assert (caught.value.column, caught.value.row) == ("turn", 2)


def test_an_unknown_channel_names_its_row_and_the_known_ones() -> None:
    with pytest.raises(SchemaError, match="row 1: is 'phone', expected one of user, system, assistant, tool, document"):
        requests(pa.table({"text": ["a", "b"], "channel": ["user", "phone"]}))


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([[b"x"], []])])
def test_a_text_column_of_another_type_is_refused(column: pa.Array) -> None:
    with pytest.raises(SchemaError, match="column 'text': holds"):
        requests(pa.table({"text": column}))


def test_dictionary_text_naive_times_and_integer_ids_are_cast() -> None:
    table = pa.table(
        {
            "text": pa.array(["x", None, "x"]).dictionary_encode(),
            "request_id": [7, 8, 9],
            "ts": pa.array([datetime.datetime(2026, 1, 2)] * 3, pa.timestamp("ns")),
            "channel": pa.array(["tool", None, "user"]),
        }
    )
    batch = requests(table)
    assert batch.column("text").to_pylist() == ["x", None, "x"]
    assert batch.column("request_id").to_pylist() == ["7", "8", "9"]
    assert batch.column("ts")[0].as_py() == datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert batch.column("channel").to_pylist() == ["tool", "user", "user"]


def test_bytes_that_are_not_utf8_are_kept_for_the_screener() -> None:
    batch = requests(pa.table({"text": pa.array([b"\xff\xfe", b"ok"])}))
    assert bytes(batch.column("text").buffers()[2]) == b"\xff\xfeok"


def test_a_table_that_holds_no_verdicts_is_refused() -> None:
    with pytest.raises(SchemaError, match="not a table of verdicts"):
        check_verdicts(pa.table({"text": ["a"]}))
    check_verdicts(VERDICTS.empty_table())
