from __future__ import annotations

import csv
import io
import json
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
        where = Slice(0, index * unit_rows, min((index + 1) * unit_rows, group.rows), 0, at)
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
