"""The replay buffer keeps each decision once, nobody fills it, and what is cut off in mid-write is not there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feedback_factory import row, table

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.learn.feedback import Added, Caps, Replay, feedback, read_feedback


def ids(replay: Replay) -> list[str]:
    return list(replay.read().column("request_id").to_pylist())


def test_a_decision_that_comes_twice_is_kept_once(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "feedback")
    assert replay.add(table([row(1), row(2), row(2)])) == Added(2, 1, {})
    assert replay.add(table([row(2), row(3)])) == Added(1, 1, {})
    assert ids(replay) == ["r1", "r2", "r3"]
    assert [part.name for part in replay.parts()] == ["part-000001.parquet", "part-000002.parquet"]


def test_another_decision_about_the_same_request_is_kept_too(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.add(table([row(1)]))
    assert replay.add(table([row(1, label="benign", decided_at=row(9)["decided_at"])])).rows == 1


@pytest.mark.parametrize("apart", [{"tenant": "b"}, {"session_id": None}, {"channel": "tool"}, {"text": "another"}])
def test_requests_of_one_id_that_are_decided_together_are_all_kept(tmp_path: Path, apart: dict[str, str]) -> None:
    replay = Replay(tmp_path)
    assert replay.add(table([row(1), row(1) | apart])) == Added(2, 0, {})
    assert replay.add(table([row(1) | apart, row(1)])) == Added(0, 2, {})


def test_a_decision_whose_text_was_removed_since_is_known(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.add(table([row(1)]))
    assert replay.add(table([row(1) | {"text": None}, row(2) | {"text": None}])) == Added(1, 1, {})
    assert replay.add(table([row(2) | {"text": None}])) == Added(0, 1, {})


@pytest.mark.parametrize("name", ["session_id", "tenant", "reviewer"])
def test_nobody_goes_over_their_cap_and_others_still_get_in(tmp_path: Path, name: str) -> None:
    short = name.removesuffix("_id")
    others = {key: value for key, value in {"session": 99, "tenant": 99, "reviewer": 99}.items() if key != short}
    replay = Replay(tmp_path, Caps(**{short: 3}, **others))
    flood = [row(number, **{name: "flooder"}) for number in range(8)]
    assert replay.add(table(flood[:2])).rows == 2
    added = replay.add(table([*flood[2:], row(50, **{name: "someone else"})]))
    assert added == Added(2, 0, {short: 5})
    assert ids(replay) == ["r0", "r1", "r2", "r50"]


def test_sessions_of_one_id_in_two_tenants_have_a_cap_each(tmp_path: Path) -> None:
    replay = Replay(tmp_path, Caps(session=2))
    one, other = (
        [row(number, session_id="s", tenant=name) for number in range(at, at + 3)] for at, name in ((0, "a"), (5, "b"))
    )
    assert replay.add(table([*one, *other])) == Added(4, 0, {"session": 2})
    assert ids(replay) == ["r0", "r1", "r5", "r6"]


def test_rows_without_a_session_have_no_session_to_fill(tmp_path: Path) -> None:
    replay = Replay(tmp_path, Caps(session=1))
    assert replay.add(table([row(number, session_id=None) for number in range(3)])).rows == 3


def test_over_the_bound_the_oldest_parts_go(tmp_path: Path) -> None:
    replay = Replay(tmp_path, Caps(rows=4))
    for first in (0, 2, 4):
        replay.add(table([row(first), row(first + 1)]))
    assert ids(replay) == ["r2", "r3", "r4", "r5"]
    replay.add(table([row(number) for number in range(10, 20)]))
    assert len(ids(replay)) == 10
    assert replay.parts()[-1].name == "part-000004.parquet"


def test_a_write_that_was_cut_off_leaves_what_was_there(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.add(table([row(1)]))
    (tmp_path / "part-000002.parquet.new").write_bytes(b"PAR1 half")
    assert ids(replay) == ["r1"]
    replay.add(table([row(2)]))
    assert ids(replay) == ["r1", "r2"]


def test_a_subject_is_erased_and_others_stay(tmp_path: Path) -> None:
    replay = Replay(tmp_path)
    replay.add(table([row(1), row(2, session_id="gone", text="personal words"), row(3, session_id=None)]))
    assert replay.erase(session="gone") == 1
    assert ids(replay) == ["r1", "r3"]
    assert all(b"personal words" not in part.read_bytes() for part in replay.parts())
    assert replay.erase(tenant="acme", session="s3") == 0
    assert replay.erase(tenant="acme") == 2
    with pytest.raises(ConfigError, match="subject"):
        replay.erase()


def test_what_is_no_feedback_is_refused_by_column_and_row(tmp_path: Path) -> None:
    good = table([row(1), row(2)])
    with pytest.raises(SchemaError, match=r"label.*missing"):
        feedback(good.drop_columns(["label"]))
    plain = [row(1), row(2, label="maybe")]
    loose = pa.table({name: [one[name] for one in plain] for name in plain[0]})
    with pytest.raises(SchemaError, match=r"'label', row 1.*maybe.*attack, benign"):
        feedback(loose)
    nameless = [row(1), row(2, reviewer=None)]
    loose = pa.table({name: [one[name] for one in nameless] for name in nameless[0]})
    with pytest.raises(SchemaError, match="'reviewer', row 1"):
        feedback(loose)
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.parquet"):
        read_feedback(tmp_path / "x.parquet")


def test_columns_may_be_plain_and_those_that_may_be_null_may_lack(tmp_path: Path) -> None:
    rows = [row(1), row(2)]
    loose = pa.table({name: [one[name] for one in rows] for name in rows[0] if name != "score"} | {"more": [1, 2]})
    pq.write_table(loose, tmp_path / "x.parquet")
    found = read_feedback(tmp_path / "x.parquet")
    assert found.column("label").to_pylist() == ["attack", "attack"]
    assert found.column("score").null_count == 2


def test_a_cap_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"caps\.session"):
        Caps(session=0)


def test_a_session_of_another_tenant_is_another_session(tmp_path: Path) -> None:
    replay = Replay(tmp_path, Caps(session=1))
    rows = [row(k, session_id="s", tenant=name) for k, name in enumerate(("a", "b", None))]
    assert replay.add(table(rows)).rows == 3
    assert replay.add(table([row(9, session_id="s", tenant="a")])).over == {"session": 1}
    assert replay.tenants(session="s") == {"a": 1, "b": 1, "": 1}
    assert replay.erase(session="s", tenant="") == 1
    assert replay.tenants(session="s") == {"a": 1, "b": 1}
    request = replay.read().column("request_id")[0].as_py()
    assert replay.erase(request=request) == 1
