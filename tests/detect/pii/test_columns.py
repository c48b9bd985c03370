"""Headings of columns: what stands over a value in CSV, TSV and Markdown, and what a heading does for personal data."""

from __future__ import annotations

import csv
import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.normalize import normalize
from aimds.detect.pii import Pii
from aimds.detect.pii.columns import MAX_BYTES, Columns

CELL = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters='";|'), max_size=12)


def headings(text: str, value: str) -> list[str]:
    raw = text.encode()
    return [raw[low:high].decode() for low, high in Columns(raw).headings(raw.index(value.encode()))]


@pytest.mark.parametrize(
    "text",
    [
        "name,dob\nAnna,VALUE",
        "name;dob;city\nAnna;VALUE;Graz\n",
        "name\tdob\nAnna\tx\nEva\tVALUE",
        'name,address,dob\nAnna,"1 Elm Road, Dover, OH",VALUE',
        "intro without a table\nname,dob\nAnna,VALUE\n",
        "name,dob\r\nAnna,VALUE\r\n",
    ],
)
def test_the_heading_over_a_value_is_the_first_cell_of_its_column(text: str) -> None:
    assert [heading.strip() for heading in headings(text, "VALUE")] == ["dob"]


def test_markdown_tables_have_headings_too() -> None:
    assert headings("| name | dob |\n|---|---|\n| Anna | VALUE |", "VALUE") == [" dob "]


@pytest.mark.parametrize(
    "text",
    [
        "VALUE",
        "dob VALUE",
        "name,dob VALUE\n",
        "name,dob\nAnna and VALUE",
        "name,dob\nAnna,VALUE,x",
        f"n,{'d' * 41}\na,VALUE",
        "a,\nb,VALUE",
    ],
)
def test_what_is_no_table_has_no_headings(text: str) -> None:
    assert headings(text, "VALUE") == []


def test_long_texts_are_not_looked_at() -> None:
    text = "name,dob\nAnna,VALUE" + " " * MAX_BYTES
    assert headings(text, "VALUE") == []


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=2, max_size=6), st.integers(0, 2))
def test_columns_agree_with_a_csv_reader(rows: list[list[str]], column: int) -> None:
    rows[0] = ["first", "second", "third"]
    rows[-1][column] = "VALUE"
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    text = out.getvalue()
    assert text.count("VALUE") == 1 or rows[-1].count("VALUE") > 1
    raw = text.encode()
    found = [raw[low:high] for low, high in Columns(raw).headings(raw.rindex(b'"VALUE"') + 1)]
    assert f'"{rows[0][[i for i, cell in enumerate(rows[-1]) if cell == "VALUE"][-1]]}"'.encode() in found


@given(st.text(st.sampled_from('a"\n,;|\t'), max_size=60), st.integers(0, 60))
def test_columns_agree_with_a_reading_byte_by_byte(text: str, start: int) -> None:
    raw = text.encode()
    start = min(start, len(raw))
    expected = []
    for separator in ",;\t|":
        lines = []
        for line in text.split("\n"):
            quoted, cells = False, [""]
            for letter in line:
                quoted ^= letter == '"'
                if letter == separator and not quoted:
                    cells.append("")
                else:
                    cells[-1] += letter
            lines.append(cells)
        line = text[:start].count("\n")
        first = line
        while first and len(lines[first]) == len(lines[first - 1]) > 1:
            first -= 1
        within = start - len("\n".join(text.split("\n")[:line])) - (line > 0)
        column = sum(len(separator.join(lines[line][: k + 1])) < within for k in range(len(lines[line]) - 1))
        if first < line and lines[first][column]:
            expected.append(lines[first][column])
    found = [raw[low:high].decode() for low, high in Columns(raw).headings(start)]
    assert found == [cell for cell in expected if len(cell) <= 40]


@pytest.mark.parametrize("unit", ["\n", ",\n", 'a,"b";c\td|e\n', ",;\t|\n", ","])
def test_a_text_of_nothing_but_edges_takes_little_memory(unit: str) -> None:
    raw = (unit * (MAX_BYTES // len(unit))).encode()
    columns = Columns(raw)
    tracemalloc.start()
    list(columns.headings(len(raw) - 1))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 11 * MAX_BYTES
    assert peak < 48 * MAX_BYTES


def spans(text: str) -> list[tuple[str, str]]:
    raw = text.encode()
    pair = np.frombuffer(raw, np.uint8), np.array([0, len(raw)], np.int64)
    return [(span.kind, raw[span.start : span.end].decode()) for span in Pii.load().scan(pair, normalize(*pair))]


def test_a_heading_says_what_its_column_holds_however_far_above_it_stands() -> None:
    rows = "".join(f"person {i},{i} Elm Road,19{50 + i}-03-07,2024-01-{i:02d}\n" for i in range(10, 30))
    assert spans("name,street,dob,joined\n" + rows) == [("DATE_OF_BIRTH", f"19{50 + i}-03-07") for i in range(10, 30)]


def test_a_date_under_another_heading_is_no_birth_date() -> None:
    assert spans("dob known,name of the whole person,joined\nyes,Anna,1990-03-07\n") == []
