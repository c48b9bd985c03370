"""The data contract: what is cast, what is refused, and how the refusal names column and row."""

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.errors import SchemaError
from aimds.moments import outside_years
from aimds.schema import CHANNELS, REQUESTS, VERDICTS, check_verdicts, requests


def test_a_text_column_alone_is_enough() -> None:
    batch = requests(pa.table({"text": ["a", "b"]}), first_row=10)
    assert batch.schema.equals(REQUESTS)
    assert batch.column("request_id").to_pylist() == ["10", "11"]
    assert batch.column("channel").to_pylist() == ["user", "user"]


@pytest.mark.parametrize("rows", [1, 255, 256, 1000])
def test_rows_without_ids_are_numbered_however_many_there_are(rows: int) -> None:
    found = requests(pa.table({"text": ["a"] * rows}), first_row=98).column("request_id")
    assert found.type == pa.string()
    assert found.to_pylist() == [str(98 + i) for i in range(rows)]


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


@pytest.mark.parametrize("name", ["text", "channel", "ts"])
def test_two_columns_of_one_name_are_refused(name: str) -> None:
    names = ["text", "channel", "ts", name]
    columns = [pa.array(["x"]), pa.array([CHANNELS[0]]), pa.array([0], pa.timestamp("us")), pa.nulls(1)]
    with pytest.raises(SchemaError, match=f"column '{name}': there are 2 columns of this name"):
        requests(pa.table(columns, names))


def test_two_columns_of_a_name_that_nobody_reads_do_not_matter() -> None:
    assert requests(pa.table([pa.array(["x"])] * 3, ["text", "note", "note"])).num_rows == 1


ABSURD = [
    pa.array([0, 2**62], pa.timestamp("s")),
    pa.array([None, 2**62], pa.timestamp("s", "Europe/Prague")),
    pa.array([0, -(2**62)], pa.timestamp("us")),
    pa.array([0, -(2**62)], pa.timestamp("us", "UTC")),
    pa.array([0, 253_402_300_800_000], pa.timestamp("ms", "UTC")),
    pa.array([0, -62_135_596_801], pa.timestamp("s")),
    pa.array([0, 2**30], pa.date32()),
    pa.array([0, -(2**60)], pa.date64()),
    pa.array([0, 2**62]),
    pa.array(["2026-01-01T00:00:00Z", "0000-12-31T23:59:59Z"]),
]


@pytest.mark.parametrize("column", ABSURD, ids=lambda column: str(column.type))
def test_a_time_outside_the_years_1_to_9999_names_its_row(column: pa.Array) -> None:
    for given_column in (column, column.dictionary_encode()):
        with pytest.raises(SchemaError, match="outside the years 1 to 9999") as caught:
            requests(pa.table({"text": ["a", "b"], "ts": given_column}))
        assert (caught.value.column, caught.value.row) == ("ts", 1)
    with pytest.raises(SchemaError, match="row 0"):
        requests(pa.table({"text": ["b"], "ts": column.slice(1)}))


@given(st.datetimes(timezones=st.just(datetime.UTC)), st.sampled_from(["s", "ms", "us"]))
def test_every_datetime_passes_and_finer_units_are_cut_off(at: datetime.datetime, unit: str) -> None:
    per_s = {"s": 1, "ms": 1000, "us": 1_000_000}[unit]
    seconds = (at.replace(microsecond=0) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(
        0, 1
    )
    ticks = seconds * per_s + at.microsecond * per_s // 1_000_000
    batch = requests(pa.table({"text": ["x"], "ts": pa.array([ticks], pa.timestamp(unit))}))
    assert batch.column("ts")[0].as_py() == at.replace(microsecond=ticks % per_s * (1_000_000 // per_s))


def test_no_time_in_nanoseconds_lies_outside() -> None:
    column = pa.array([-(2**63), 2**63 - 1, None], pa.timestamp("ns"))
    assert outside_years(column).to_pylist() == [False, False, None]
    assert requests(pa.table({"text": ["x"] * 3, "ts": column})).column("ts").null_count == 1
