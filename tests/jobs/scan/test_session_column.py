"""A scan of a log with sessions says of each row what the live sessions would have said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_screener import FakeScreener
from scan_data import fake, fingerprint, log, scan

from aimds.analyze.sessions import Sessions
from aimds.jobs.scan import Columns, parts, session_column
from aimds.schema import check_verdicts, requests


def talks(path: Path, sessions: int = 30, turns: int = 9, *, shuffled: bool = False) -> pa.Table:
    """A log of conversations, interleaved; some rows belong to none."""
    rng = np.random.default_rng(0)
    rows = []
    for turn in range(turns):
        for who in rng.permutation(sessions).tolist():
            role = ["user", "assistant", "tool"][turn % 3 if who % 2 else 0]
            said = "I'm sorry, but I can't do that." if role == "assistant" else f"hello again number {who} at {turn}"
            rows.append({"session_id": f"s{who}" if who else None, "turn": turn, "role": role, "text": said})
    if shuffled:
        rows = [rows[k] for k in rng.permutation(len(rows)).tolist()]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path, row_group_size=100)
    return table


def live(table: pa.Table) -> list[float | None]:
    named = table.rename_columns(["session_id", "turn", "channel", "text"])
    asked = requests(named)
    return Sessions().observe(asked, FakeScreener().screen_batch(asked), 0.0).column("session_score").to_pylist()


def test_a_scan_says_what_the_live_sessions_say(tmp_path: Path) -> None:
    table = talks(tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / "a.parquet")
    check_verdicts(found)
    assert session_column.MARKS.name not in found.column_names
    assert found["session_score"].to_pylist() == live(table)
    assert found["session_score"].null_count == sum(who is None for who in table["session_id"].to_pylist())


def test_rows_in_any_order_are_followed_by_their_turn(tmp_path: Path) -> None:
    talks(tmp_path / "a.parquet")
    talks(tmp_path / "b.parquet", shuffled=True)
    scan([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "out", carry=("text",), columns=Columns("text"))
    one, other = (pq.read_table(tmp_path / "out" / name).to_pylist() for name in ("a.parquet", "b.parquet"))
    key = lambda row: (row["session_id"] or "", row["turn"], row["text"])  # noqa: E731
    scores = [[row["session_score"] for row in sorted(rows, key=key)] for rows in (one, other)]
    assert scores[0] == scores[1]


def test_rows_without_a_time_are_followed_where_they_came_as_live(tmp_path: Path) -> None:
    table = talks(tmp_path / "a.parquet", sessions=6, turns=12)
    rng = np.random.default_rng(1)
    times = [None if rng.random() < 0.4 else 1_700_000_000_000_000 + 1_000_000 * k for k in range(len(table))]
    columns = {"session_id": table["session_id"], "ts": pa.array(times, pa.timestamp("us", tz="UTC"))}
    columns |= {"channel": table["role"], "text": table["text"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out")
    asked = requests(pa.table(columns))
    said = Sessions().observe(asked, FakeScreener().screen_batch(asked), 0.0).column("session_score").to_pylist()
    assert pq.read_table(tmp_path / "out" / "a.parquet")["session_score"].to_pylist() == said


@pytest.mark.parametrize("pass_rows", [7, 100])
def test_the_bytes_do_not_depend_on_passes_units_or_workers(tmp_path: Path, monkeypatch, pass_rows: int) -> None:
    talks(tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "whole", unit_rows=1000)
    monkeypatch.setattr(session_column, "PASS_ROWS", pass_rows)
    monkeypatch.setattr(session_column, "CHUNK_ROWS", 5)
    scan(tmp_path / "a.parquet", tmp_path / "parts", unit_rows=1000)
    assert fingerprint(tmp_path / "parts") == fingerprint(tmp_path / "whole")
    one, other = (pq.read_table(tmp_path / name / "a.parquet")["session_score"] for name in ("whole", "parts"))
    assert one.equals(other)


def test_a_scan_without_a_session_column_leaves_nothing_behind_for_one(tmp_path: Path, monkeypatch) -> None:
    log(tmp_path / "a.parquet", 40)
    schemas = []
    write = parts.write
    monkeypatch.setattr(
        parts, "write", lambda path, schema, *rest: (schemas.append(schema), write(path, schema, *rest))
    )
    scan(tmp_path / "a.parquet", tmp_path / "out", columns=Columns(session_id="-"))
    assert all(session_column.MARKS.name not in schema.names for schema in schemas)
    found = pq.read_table(tmp_path / "out" / "a.parquet")
    assert found["session_score"].null_count == 40


def test_a_row_that_could_not_be_judged_has_the_score_of_its_session(tmp_path: Path) -> None:
    table = pa.table({"session_id": ["a", "a", "b"], "text": ["hello", "POISON", "POISON"]})
    pq.write_table(table, tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out", factory=fake())
    scores = pq.read_table(tmp_path / "out" / "a.parquet")["session_score"].to_pylist()
    assert scores[0] == scores[1] is not None
    assert scores[2] is None
