from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import DataError
from aimds.jobs.hunt import tally
from aimds.jobs.hunt.hits import HITS
from aimds.jobs.hunt.tally import Keys, Tally


def hit(row: int, **more: Any) -> dict[str, Any]:
    given = {"request_id": f"r{row}", "channel": "user", "row": row, "pattern_id": "p", "threat_type": "jailbreak"}
    given |= {"start": 0, "end": 3, "score": 0.5, "view": "text", "excerpt": f"abc {row}", "excerpt_start": 0}
    return given | more


def write(path: Path, rows: list[dict[str, Any]], group_rows: int = 1000) -> Path:
    columns = {field.name: [row.get(field.name) for row in rows] for field in HITS}
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    pq.write_table(table.cast(HITS), path, row_group_size=group_rows)
    return path


def test_a_row_with_hits_on_both_sides_of_a_batch_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [hit(row, pattern_id=name, session_id="s") for row in range(5) for name in ("p", "q", "r")]
    path = write(tmp_path / "a.parquet", rows)
    for batch_rows in (1, 2, 4, 100):
        monkeypatch.setattr(tally, "BATCH_ROWS", batch_rows)
        found = Tally([("a", path), ("b", path)])
        assert found.hits == 30
        assert found.sessions.holders(9).top[0].rows == 10
        assert {name: rows for name, (rows, _, _) in found.patterns.items()} == {"p": 10, "q": 10, "r": 10}


def test_keys_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_KEYS", 10)
    keys = Keys("session_id")
    for start in range(0, 60, 6):
        names = ["busy", "busy", *(f"s{start + i}" for i in range(6)), None]
        keys.add(pl.DataFrame({"session_id": names, "tenant": ["t"] * 9, "ts": [start * 1_000_000] * 9}))
    found = keys.holders(3)
    assert found.count == 61
    assert found.exact
    assert (found.top[0].name, found.top[0].rows, found.top[0].tenant) == ("busy", 20, "t")
    assert found.top[0].last is not None
    assert found.top[0].last.timestamp() == 54
    assert Keys("tenant").holders(3).count == 0


def test_the_same_session_and_user_id_in_two_tenants_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = ("north", "south", "north", None, None)
    rows = [hit(row, session_id="s1", tenant=tenant, user=7) for row, tenant in enumerate(owners)]
    path = tmp_path / "a.parquet"
    names = [*HITS.names, "user"]
    schema = HITS.append(pa.field("user", pa.int64()))
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in rows]) for name in names}).cast(schema), path)
    for batch_rows in (1, 100):
        monkeypatch.setattr(tally, "BATCH_ROWS", batch_rows)
        found = Tally([("a", path)], "user")
        assert found.users is not None
        for keys, name in ((found.sessions, "s1"), (found.users, "7")):
            holders = keys.holders(9)
            assert holders.count == 3
            top = {(one.name, one.tenant): one.rows for one in holders.top}
            assert top == {(name, "north"): 2, (name, "south"): 1, (name, None): 2}
        assert {(one.name, one.rows) for one in found.tenants.holders(9).top} == {("north", 2), ("south", 1)}
        assert found.tenants.holders(9).count == 2


@pytest.mark.parametrize(
    ("users", "names"),
    [
        (pa.array([b"ada", b"\xff"], pa.binary()), {"ada", "?"}),
        (pa.array([b"\x01\x02", b"\x03\x04"], pa.binary(2)), {"0102", "0304"}),
        (pa.array(["ada", "ada"]).dictionary_encode(), {"ada"}),
        (pa.array([True, None]), {"true"}),
        (pa.nulls(2), set()),
    ],
)
def test_users_of_any_type_a_session_id_may_have_are_counted(tmp_path: Path, users: pa.Array, names: set[str]) -> None:
    path = write(tmp_path / "a.parquet", [hit(0), hit(1)])
    pq.write_table(pq.read_table(path).append_column("who", users), path)
    found = Tally([("a", path)], "who").users
    assert found is not None
    assert {one.name for one in found.holders(9).top} == names


def test_samples_are_the_strongest_of_each_pattern_with_different_words(tmp_path: Path) -> None:
    rows = [hit(row, score=row / 100, excerpt="abc") for row in range(30)]
    rows += [hit(40 + i, pattern_id="q", score=0.1 * i, excerpt=f"q{i} x", end=2) for i in range(9)]
    found = Tally([("a", write(tmp_path / "a.parquet", rows))]).samples(5)
    assert [(one.pattern_id, one.row) for one in found] == [("p", 29), ("q", 48), ("q", 47), ("q", 46), ("q", 45)]


def test_a_damaged_output_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match=r"a\.parquet: damaged.*--overwrite"):
        Tally([("a", path)])
