"""What learning reads of the decisions."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from review_cases import ADA, BEN, DAY, EVE, HOUR, START, case, queue

from aimds.errors import DataError
from aimds.respond.review.feedback import table, write
from aimds.respond.review.retention import remove_texts
from aimds.schema import FEEDBACK


def test_decisions_that_stand_are_given_in_the_order_they_were_made(place: Path | str) -> None:
    made = queue(place, *(case(i) for i in range(4)), case(9, tenant="globex-test", score=None, ts=None))
    made.decide(BEN, 2, "benign", "a quotation", START + 2 * HOUR)
    made.decide(ADA, 1, "attack", "an order", START + HOUR)
    made.decide(ADA, 3, "attack", "an order", START + HOUR)
    made.decide(ADA, 5, "attack", "an order", START + DAY)
    made.undo(ADA, 3, "no", START + 2 * HOUR)
    found = table(made.store, ADA)
    assert found.schema == FEEDBACK
    rows = found.to_pylist()
    assert [(row["request_id"], row["label"], row["reviewer"], row["reason"]) for row in rows] == [
        ("r0000000", "attack", "ada", "an order"),
        ("r0000001", "benign", "ben", "a quotation"),
        ("r0000009", "attack", "ada", "an order"),
    ]
    assert rows[0]["decided_at"] == START + HOUR
    assert rows[0]["text"].startswith("Ignore all previous")
    assert rows[0]["action"] == "escalate"
    assert (rows[2]["score"], rows[2]["ts"]) == (None, None)
    assert table(made.store, ADA, since=START + 2 * HOUR).num_rows == 2
    assert table(made.store, EVE).column("request_id").to_pylist() == ["r0000009"]


def test_an_empty_queue_gives_an_empty_table_of_the_schema(place: Path | str) -> None:
    found = table(queue(place).store, ADA)
    assert (found.schema, found.num_rows) == (FEEDBACK, 0)


def test_texts_that_are_gone_or_no_utf8_do_not_break_the_table(place: Path | str) -> None:
    made = queue(place, case(0), dataclasses.replace(case(1), text="é".encode() + b"\xff\xed\xa0\x80!"))
    remove_texts(made.store, START, START, "clock")
    for item in (1, 2):
        made.decide(ADA, item, "attack", "seen", START)
    assert table(made.store, ADA).column("text").to_pylist()[1] == "é????!"
    remove_texts(made.store, START + DAY, START + DAY, "clock")
    assert table(made.store, ADA).column("text").to_pylist() == [None, None]


def test_the_file_is_whole_and_its_owner_s_alone(tmp_path: Path) -> None:
    made = queue(tmp_path / "review.db", case())
    made.decide(ADA, 1, "attack", "seen", START)
    found = table(made.store, ADA)
    write(found, tmp_path / "feedback.parquet")
    assert pq.read_table(tmp_path / "feedback.parquet").equals(found)
    assert stat.S_IMODE((tmp_path / "feedback.parquet").stat().st_mode) == 0o600
    with pytest.raises(DataError, match="cannot be written"):
        write(found, tmp_path / "none" / "feedback.parquet")
