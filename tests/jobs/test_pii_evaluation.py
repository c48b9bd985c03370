"""Precision and recall of PII: what counts as found, exact, correct; labels in characters, spans in bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.detect.pii import KINDS
from aimds.errors import DataError, SchemaError
from aimds.jobs.pii_evaluation import ENTITIES, NAMES, evaluate_pii


def label(text: str, value: str, name: str) -> dict[str, Any]:
    start = text.index(value)
    return {"start": start, "end": start + len(value), "type": name}


def write(path: Path, rows: list[tuple[str, str, list[tuple[str, str]]]]) -> Path:
    table = {
        "source": [source for source, _, _ in rows],
        "text": [text for _, text, _ in rows],
        "spans_json": [json.dumps([label(text, *pair) for pair in pairs]) for _, text, pairs in rows],
    }
    pq.write_table(pa.table(table), path)
    return path


def table(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["source"], row["entity"]): row for row in evaluate_pii(path)}


def test_found_exact_missed_and_unlabelled_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pii.parquet",
        [
            ("a", "é 日本 anna@example.com", [("anna@example.com", "EMAIL_ADDRESS")]),
            ("a", "to bob@example.com.", [("bob@example.com.", "EMAIL_ADDRESS")]),
            ("a", "eve at example dot com", [("eve at example dot com", "EMAIL_ADDRESS")]),
            ("a", "cc dan@example.com", []),
            ("a", "by Anna", [("Anna", "PERSON")]),
        ],
    )
    row = table(path)["a", "EMAIL"]
    assert (row["n"], row["found"], row["predicted"], row["correct"]) == (3, 2, 3, 2)
    assert row["recall"] == pytest.approx(2 / 3)
    assert row["exact"] == pytest.approx(1 / 3)
    assert row["precision"] == pytest.approx(2 / 3)
    assert row["recall_low"] < row["recall"] < row["recall_high"]


def test_a_span_of_another_entity_is_correct_but_not_typed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pii.parquet",
        [("a", "SSN 123-45-6789", [("123-45-6789", "PHONE_NUMBER")]), ("a", "x 666", [("666", "US_SSN")])],
    )
    row = table(path)["a", "SSN"]
    assert (row["predicted"], row["correct"], row["typed"]) == (1, 1, 0.0)


def test_an_entity_its_source_never_labels_is_not_scored_but_a_source_without_labels_is(tmp_path: Path) -> None:
    rows = [
        ("labelled", "SSN 123-45-6789", [("123-45-6789", "US_SSN")]),
        ("labelled", "mail anna@example.com", []),
        ("clean", "mail anna@example.com", []),
    ]
    found = table(write(tmp_path / "pii.parquet", rows))
    assert ("labelled", "EMAIL") not in found
    assert (found["clean", "EMAIL"]["predicted"], found["clean", "EMAIL"]["precision"]) == (1, 0.0)
    assert found["clean", "EMAIL"]["recall"] is None


def test_what_has_no_kind_here_is_counted_apart_and_not_scored(tmp_path: Path) -> None:
    rows = [
        ("a", "Anna of 1 Elm Road, anna@example.com", [("Anna", "PERSON"), ("1 Elm Road", "STREET_ADDRESS")]),
        ("a", "Eva", [("Eva", "PERSON")]),
    ]
    found = table(write(tmp_path / "pii.parquet", rows))
    assert {key[1]: (row["covered"], row["n"], row["texts"]) for key, row in found.items() if key[1] != "EMAIL"} == {
        "PERSON": (False, 2, 2),
        "STREET_ADDRESS": (False, 1, 2),
    }
    assert found["a", "PERSON"]["recall"] is None
    assert found["a", "PERSON"]["precision"] is None


def test_a_source_without_labels_says_how_many_spans_are_false_alarms(tmp_path: Path) -> None:
    rows = [("clean", "mail anna@example.com or bob@example.com", []), ("clean", "hello", []), ("quiet", "hello", [])]
    found = table(write(tmp_path / "pii.parquet", rows))
    assert (found["clean", "ANY"]["texts"], found["clean", "ANY"]["predicted"]) == (2, 2)
    assert (found["quiet", "ANY"]["texts"], found["quiet", "ANY"]["predicted"]) == (1, 0)


def test_every_name_maps_to_an_entity_and_every_entity_to_known_kinds() -> None:
    assert set(NAMES.values()) == set(ENTITIES)
    assert all(kinds <= set(KINDS) for kinds in ENTITIES.values())


def test_a_file_that_is_no_table_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        evaluate_pii(broken)
    with pytest.raises(DataError):
        evaluate_pii(tmp_path / "absent.parquet")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "half.parquet")
    with pytest.raises(SchemaError, match="spans_json"):
        evaluate_pii(tmp_path / "half.parquet")
