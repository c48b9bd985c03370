from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.jobs.scan.convert import to_requests, valid_text
from aimds.schema import REQUESTS

MOMENT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
EPOCH = int(MOMENT.timestamp())


def convert(field: str, array: pa.Array) -> tuple[list[Any], dict[int, str]]:
    batch = pa.RecordBatch.from_pydict({"t": pa.array(["x"] * len(array)), "c": array})
    numbers = pa.array(range(100, 100 + len(array)), pa.int64())
    found, notes = to_requests(batch, {"text": "t", field: "c"}, numbers)
    assert found.schema.equals(REQUESTS)
    return found.column(field).to_pylist(), notes


@pytest.mark.parametrize(
    "array",
    [
        pa.array([MOMENT], pa.timestamp("ns", tz="Europe/Berlin")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ms")),
        pa.array([EPOCH]),
        pa.array([EPOCH * 1000]),
        pa.array([EPOCH * 10**6]),
        pa.array([EPOCH * 10**9]),
        pa.array([float(EPOCH)]),
        pa.array(["2024-05-06T07:08:09Z"]),
        pa.array(["2024-05-06 09:08:09+02:00"]),
        pa.array(["2024-05-06 07:08:09"]),
        pa.array([str(EPOCH)]),
        pa.array(["2024-05-06T07:08:09Z"]).dictionary_encode(),
    ],
)
def test_a_moment_is_understood_in_every_common_form(array: pa.Array) -> None:
    assert convert("ts", array)[0] == [MOMENT]


def test_a_date_is_its_midnight_and_what_is_no_time_is_null() -> None:
    assert convert("ts", pa.array([date(2024, 5, 6)]))[0] == [datetime(2024, 5, 6, tzinfo=UTC)]
    assert convert("ts", pa.array(["soon", "", None]))[0] == [None, None, None]
    assert convert("ts", pa.array([float("nan"), float("inf"), 1e300]))[0] == [None, None, None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_moments_outside_the_years_1_to_9999_are_null(unit: str) -> None:
    per_s = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = pa.array([EPOCH * per_s, 2**63 - 1, -(2**63), None]).cast(pa.timestamp(unit))
    expected = convert("ts", ticks)[0]
    assert expected[0] == MOMENT
    assert expected[3] is None
    if unit != "ns":
        assert expected == [MOMENT, None, None, None]
    assert convert("ts", pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32()))[0] == [None, None]


def test_turns_are_whole_numbers_or_null() -> None:
    assert convert("turn", pa.array([1.0, float("nan"), 2.7, 1e300, None]))[0] == [1, None, 2, None, None]
    assert convert("turn", pa.array([2**63 + 5, 3], pa.uint64()))[0] == [None, 3]
    assert convert("turn", pa.array(["4", "four", "9" * 30, None]))[0] == [4, None, None, None]


def test_turns_in_text_are_read_as_those_in_numbers_are() -> None:
    texts = ["1.0", " 2.7 ", "-3.9", "1e3", "1e300", "nan", "inf", "1.", "9" * 5000, "0x4", "true", ""]
    expected = [1, 2, -3, 1000, None, None, None, 1, None, None, None, None]
    assert convert("turn", pa.array(texts))[0] == expected
    assert convert("turn", pa.array([str(2**61), f"{2**61}.0", f"{2**62}.0"]))[0] == [2**61, 2**61, None]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([7, None]), ["7", None]),
        (pa.array([b"\x01\xab"], pa.binary(2)), ["01ab"]),
        (pa.array([True]), ["true"]),
        (pa.array([Decimal("1.50")]), ["1.50"]),
        (pa.array([b"a\xff\xfeb"]), ["a??b"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    ],
)
def test_ids_of_any_type_become_text(array: pa.Array, expected: list[str | None]) -> None:
    assert convert("session_id", array)[0] == expected


def test_rows_without_an_id_have_their_row_number() -> None:
    assert convert("request_id", pa.array(["a", None]))[0] == ["a", "101"]
    assert convert("tenant", pa.array(["a", None]))[0] == ["a", None]


def test_roles_become_channels_and_an_unknown_one_is_a_document_with_a_note() -> None:
    found, notes = convert("channel", pa.array(["User", "function", " system ", None, "", "moderator", "AI"]))
    assert found == ["user", "tool", "system", "user", "user", "document", "assistant"]
    assert list(notes) == [5]
    assert "moderator" in notes[5]


def test_text_is_passed_on_byte_for_byte_even_where_it_is_not_utf8() -> None:
    raw = [b"ok", b"\xff\xfe\x00", b"", None, "ä".encode("latin-1")]
    batch = pa.RecordBatch.from_pydict({"t": pa.array(raw, pa.binary())})
    found, _ = to_requests(batch, {"text": "t"}, pa.array(range(5), pa.int64()))
    assert found.column("text").cast(pa.large_binary()).to_pylist() == raw


@given(st.lists(st.none() | st.binary(max_size=12), max_size=8))
def test_repaired_text_is_valid_and_as_long_as_it_was(raw: list[bytes | None]) -> None:
    broken = pa.array(raw, pa.large_binary()).view(pa.large_string())
    fixed = valid_text(broken)
    fixed.validate(full=True)
    for before, after in zip(raw, fixed.cast(pa.large_binary()).to_pylist(), strict=True):
        assert (before is None) == (after is None)
        if before is not None:
            assert len(after) == len(before)
            try:
                before.decode()
                assert after == before
            except UnicodeDecodeError:
                assert b"?" in after


SCALARS = st.none() | st.text(max_size=20)


@given(st.sampled_from(["ts", "turn", "session_id", "channel", "request_id", "tenant"]), st.lists(SCALARS, max_size=6))
def test_no_text_in_any_column_breaks_the_batch(field: str, values: list[str | None]) -> None:
    assert len(convert(field, pa.array(values, pa.string()))[0]) == len(values)


@given(
    st.sampled_from(["ts", "turn", "tenant"]),
    st.lists(st.none() | st.floats() | st.integers(-(2**62), 2**62).map(float)),
)
def test_no_number_in_any_column_breaks_the_batch(field: str, values: list[float | None]) -> None:
    assert len(convert(field, pa.array(values, pa.float64()))[0]) == len(values)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_no_integer_breaks_a_time_column(values: list[int]) -> None:
    assert len(convert("ts", pa.array(values, pa.int64()))[0]) == len(values)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([["a", "b c"], None, []]),
        pa.array([["x"], ["a", "b c"], None, []], pa.large_list(pa.large_string())).slice(1),
        pa.array([["a", "b c"], None, []], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        pa.array(['["a", "b c", 3]', None, "[]"]),
    ],
)
def test_events_are_lists_of_names(array: pa.Array) -> None:
    assert convert("events", array)[0] == [["a", "b c"], None, []]


def test_events_in_a_text_that_is_no_list_are_its_words() -> None:
    assert convert("events", pa.array(["a b", "", '{"a": 1}', "[" * 9]))[0] == [
        ["a", "b"],
        [],
        ['{"a":', "1}"],
        ["[" * 9],
    ]
