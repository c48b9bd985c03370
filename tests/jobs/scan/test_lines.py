from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.lines import LineTable
from aimds.jobs.scan.reading import ReadError, Slice

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CSV_TEXT = st.text(st.sampled_from('ab,"\n ä'), max_size=8)


def table(folder: Path, content: bytes, kind: str) -> LineTable:
    path = folder / f"log.{kind}"
    path.write_bytes(content)
    return LineTable(Source(str(path), "", path.name, kind))


def read(lines: LineTable, unit_rows: int, columns: list[str]) -> list[tuple[int, list[Any], str]]:
    """Every row of every unit: number, cells, problem."""
    found = []
    [group] = lines.layout(unit_rows)
    for index, at in enumerate(group.offsets):
        where = Slice(0, index * unit_rows, min((index + 1) * unit_rows, group.rows), 0, at, group.alone)
        for chunk in lines.chunks(where, columns):
            for row in range(chunk.batch.num_rows):
                cells = [chunk.batch.column(name)[row].as_py() for name in columns]
                found.append((chunk.numbers[row].as_py(), cells, chunk.problems.get(row, "")))
    assert len(found) == group.rows
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT, st.none() | TEXT), min_size=1, max_size=9),
    unit=st.integers(1, 5),
    blank=st.booleans(),
)
def test_json_lines_are_read_the_same_in_units_of_any_size(
    tmp_path: Path, rows: list[tuple[str, str | None]], unit: int, blank: bool
) -> None:
    lines = [json.dumps({"text": text, "id": ident}, ensure_ascii=False) for text, ident in rows]
    content = ("\n\n" if blank else "\n").join(lines).encode()
    found = read(table(tmp_path, content, "jsonl"), unit, ["text", "id"])
    assert [cells for _, cells, _ in found] == [list(row) for row in rows]
    assert [number for number, _, _ in found] == list(range(len(rows)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CSV_TEXT, CSV_TEXT), min_size=1, max_size=9), unit=st.integers(1, 5))
def test_csv_records_with_line_ends_in_quotes_are_read_the_same_in_units_of_any_size(
    tmp_path: Path, rows: list[tuple[str, str]], unit: int
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([("text", "id"), *rows])
    found = read(table(tmp_path, out.getvalue().encode(), "csv"), unit, ["text", "id"])
    assert [cells for _, cells, _ in found] == [list(row) for row in rows]


def test_a_bad_json_line_is_reported_for_itself_alone(tmp_path: Path) -> None:
    found = read(table(tmp_path, b'{"text": "a"}\n{"text": \n[1]\n{"text": "b"}', "jsonl"), 2, ["text"])
    assert [cells[0] for _, cells, _ in found] == ["a", None, None, "b"]
    assert [bool(problem) for _, _, problem in found] == [False, True, True, False]
    assert "not a JSON record" in found[1][2]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("17", "a number"), ("1.5", "a number"), ("true", "true or false"), ("[]", "a list"), ('{"a": 1}', "an object")],
)
def test_what_is_no_string_where_the_text_should_be_is_a_problem_of_its_row(
    tmp_path: Path, value: str, kind: str
) -> None:
    content = f'{{"text": "a", "n": 1}}\n{{"text": {value}, "n": 2}}\n{{"text": null}}\n{{"n": 3}}\n'
    lines = table(tmp_path, content.encode(), "jsonl")
    [chunk] = lines.chunks(Slice(0, 0, 4, 0, 0), ["text", "n"], "text")
    assert chunk.problems == {1: f"text is {kind}, expected a string"}
    assert chunk.batch.column("n").to_pylist() == ["1", "2", None, "3"]
    [chunk] = lines.chunks(Slice(0, 0, 4, 0, 0), ["text", "n"], "n")
    assert sorted(chunk.problems) == [0, 1, 3]


def test_a_csv_record_with_too_many_or_few_fields_is_reported(tmp_path: Path) -> None:
    found = read(table(tmp_path, b"text,id\na,1\nb\nc,2,3\nd,4\n", "csv"), 10, ["text", "id"])
    assert [problem for _, _, problem in found] == [
        "",
        "not a CSV record: 1 fields, the header has 2",
        "not a CSV record: 3 fields, the header has 2",
        "",
    ]


@pytest.mark.parametrize("unit", [1, 2, 3, 100])
def test_a_quote_that_nothing_closes_costs_its_own_record_alone(tmp_path: Path, unit: int) -> None:
    content = b'id,text\n1,"two\nlines"\n2,"open\n3,ignore all\n\n4,c","open too\n5,a ""b""\n6,last'
    found = read(table(tmp_path, content, "csv"), unit, ["id", "text"])
    assert [cells for _, cells, problem in found if not problem] == [
        ["1", "two\nlines"],
        ["3", "ignore all"],
        ["5", 'a ""b""'],
        ["6", "last"],
    ]
    problem = "not a CSV record: a quote in it is not closed"
    assert {number: said for number, _, said in found if said} == {1: problem, 3: problem}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.text(st.sampled_from('ab,""\n'), max_size=40), unit=st.integers(1, 5))
def test_any_csv_is_read_the_same_in_units_of_any_size(tmp_path: Path, content: str, unit: int) -> None:
    lines = table(tmp_path, ("a,b\n" + content).encode(), "csv")
    assert read(lines, unit, ["a", "b"]) == read(lines, 100, ["a", "b"])


def test_a_header_whose_quote_is_not_closed_is_none(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="has no header: a quote in it is not closed"):
        table(tmp_path, b'id,"text\n1,a\n2,b\n', "csv")


def test_blank_lines_before_the_header_are_no_records(tmp_path: Path) -> None:
    found = read(table(tmp_path, b"\n\r\ntext,id\na,1\n", "csv"), 1, ["text", "id"])
    assert found == [(0, ["a", "1"], "")]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_opening_and_reading_hold_few_large_records_at_once(tmp_path: Path, kind: str) -> None:
    size, count = 1 << 20, 48
    record = json.dumps({"text": "a" * size}) if kind == "jsonl" else "a" * size
    header = "" if kind == "jsonl" else "text\n"
    content = (header + f"{record}\n" * count).encode()
    (tmp_path / f"log.{kind}").write_bytes(content)
    source = Source(str(tmp_path / f"log.{kind}"), "", f"log.{kind}", kind)
    tracemalloc.start()
    try:
        lines = LineTable(source)
        [group] = lines.layout(count)
        sizes = [chunk.batch.num_rows for chunk in lines.chunks(Slice(0, 0, count, 0, group.offsets[0]), ["text"])]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == count
    assert max(sizes) <= 4
    assert peak < 20 * size


def test_bytes_that_are_no_utf8_are_kept_and_numbers_become_text(tmp_path: Path) -> None:
    lines = table(tmp_path, b'\xef\xbb\xbf{"text": "a\xffb", "n": 12}\n{"text": "\\ud800", "n": {"x": 1}}\n', "jsonl")
    chunk = next(lines.chunks(Slice(0, 0, 2, 0, 0), ["text", "n"]))
    assert chunk.batch.column("text").cast("large_binary").to_pylist() == [b"a\xffb", b"?"]
    assert chunk.batch.column("n").to_pylist() == ["12", '{"x": 1}']


def test_columns_of_lists_and_objects_are_seen_as_such(tmp_path: Path) -> None:
    lines = table(tmp_path, b'{"messages": [{"a": 1}], "meta": {"b": 2}, "text": null}\n', "jsonl")
    assert [str(kind) for kind in lines.schema.types] == ["list<item: null>", "struct<>", "large_string"]


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", "jsonl"), (b"\n\n", "jsonl"), (b"no json\n", "jsonl"), (b"", "csv")]
)
def test_a_file_without_a_record_says_so(tmp_path: Path, content: bytes, kind: str) -> None:
    with pytest.raises(ReadError, match=r"holds no"):
        table(tmp_path, content, kind)


def test_a_file_that_has_become_shorter_is_an_error(tmp_path: Path) -> None:
    lines = table(tmp_path, b'{"text": "a"}\n' * 3, "jsonl")
    with pytest.raises(ReadError, match=r"ends 2 records early"):
        list(lines.chunks(Slice(0, 0, 5, 0, 0), ["text"]))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bytes_that_are_no_text_are_called_so(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=rf"not UTF-8 text .* is it {kind}\?"):
        table(tmp_path, b"\x00\x01\rP\x00\xffA\r\x00B\n" * 9, kind)
