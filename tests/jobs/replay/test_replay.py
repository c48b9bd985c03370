"""A candidate policy over recorded verdicts: what changes, counted, sampled and shown."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import verdict_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import DataError, SchemaError
from aimds.jobs.replay import replay, source, tally
from aimds.jobs.replay.findings import BLOCKED, KINDS, OTHERWISE, RELEASED, UNCHANGED, Findings
from aimds.jobs.replay.page import render
from aimds.respond.policy import Policy

TODAY = date(2026, 3, 1)
SHIPPED = Policy.load()
STOPPED = ("block", "escalate")


def verdict(i: int, p: float, action: str, **more: Any) -> dict[str, Any]:
    threat = "jailbreak" if p <= 0.01 else "none"
    return verdict_factory.row(i, p_value=p, action=action, threat_type=threat, **more)


ROWS = [
    verdict(0, 0.5, "allow"),
    verdict(1, 0.0001, "block"),
    verdict(2, 0.0001, "flag", tenant="b"),
    verdict(3, 0.005, "block", tenant="b", channel="tool"),
    verdict(4, 0.005, "allow", tenant=None),
    verdict(5, 0.005, "escalate", ts=None),
    verdict(6, 0.5, "allow", session_action="quarantine"),
]


def run(tmp_path: Path, rows: list[dict[str, Any]], policy: Policy = SHIPPED, **options: Any) -> Findings:
    file = verdict_factory.write(tmp_path / "v.parquet", rows, row_group_size=3)
    return replay([file], policy, today=TODAY, **options)


def test_rows_are_counted_by_what_becomes_of_them(tmp_path: Path) -> None:
    found = run(tmp_path, ROWS)
    assert found.whole.kinds == (2, 1, 2, 2)
    assert found.transitions == {
        ("allow", "allow"): 2,
        ("allow", "flag"): 1,
        ("block", "block"): 1,
        ("block", "flag"): 1,
        ("escalate", "flag"): 1,
        ("flag", "block"): 1,
    }
    assert found.session_transitions == {("none", "none"): 6, ("quarantine", "none"): 1}
    assert {one.name: one.kinds for one in found.tenants} == {
        "acme-test": (2, 0, 1, 1),
        "b": (0, 1, 1, 0),
        "(no tenant)": (0, 0, 0, 1),
    }
    assert {one.name: one.kinds for one in found.channels} == {"user": (2, 1, 1, 2), "tool": (0, 0, 1, 0)}
    assert [change.sample.row for change in found.changes] == [2, 3, 5, 4, 6]
    assert found.recorded_policies == {"p1": 7}


def test_interval_is_that_of_clopper_and_pearson(tmp_path: Path) -> None:
    share = run(tmp_path, [verdict(i, 1e-5, "block" if i else "flag") for i in range(100)]).whole.share(BLOCKED)
    assert (share.rows, share.of) == (1, 100)
    assert (round(share.low, 6), round(share.high, 6)) == (0.000253, 0.054459)


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), size=st.integers(1, 25))
def test_counts_are_those_of_the_rows_one_by_one(
    seed: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = verdict_factory.random_rows(size, seed=seed)
    found = run(tmp_path_factory.mktemp("replay"), rows)
    expected: Counter[tuple[str, int]] = Counter()
    for row in rows:
        alone = run(tmp_path_factory.mktemp("one"), [row])
        (before, after), *_ = alone.transitions
        kind = alone.whole.kinds.index(1)
        assert before == row["action"]
        if (before in STOPPED) != (after in STOPPED):
            assert kind == (BLOCKED if after in STOPPED else RELEASED)
        else:
            session = next(iter(alone.session_transitions))
            assert (kind == UNCHANGED) == (before == after and session[0] == session[1])
        expected[str(row["tenant"]), kind] += 1
    names = {"(no tenant)": "None"}
    got = {(names.get(one.name, one.name), k): n for one in found.tenants for k, n in enumerate(one.kinds) if n}
    assert got == dict(expected)
    for groups in (found.tenants, found.threats, found.channels):
        assert np.array([one.kinds for one in groups]).sum(axis=0).tolist() == list(found.whole.kinds)
    assert np.array(found.by_p).sum(axis=1).tolist() == list(found.whole.kinds)


def test_batches_and_files_change_nothing_but_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = verdict_factory.random_rows(400, seed=3)
    whole = run(tmp_path, rows)
    (tmp_path / "parts").mkdir()
    verdict_factory.write(tmp_path / "parts" / "a.parquet", rows[:150])
    verdict_factory.write(tmp_path / "parts" / "b.parquet", rows[150:])
    monkeypatch.setattr(source, "ROWS_PER_BATCH", 37)
    parts = replay([tmp_path / "parts"], SHIPPED, today=TODAY)
    for name in ("whole", "transitions", "session_transitions", "tenants", "threats", "channels", "by_p", "timeline"):
        assert getattr(parts, name) == getattr(whole, name), name


def test_samples_are_the_same_every_time_bounded_and_spread_over_the_rows(tmp_path: Path) -> None:
    rows = [verdict(i, 1e-5, "flag") for i in range(600)]
    first = [change.sample.row for change in run(tmp_path, rows, samples=20).changes]
    assert first == [change.sample.row for change in run(tmp_path, rows, samples=20).changes]
    assert len(first) == len(set(first)) == 20
    assert min(first) < 150
    assert max(first) > 450
    assert run(tmp_path, rows, samples=0).changes == []


def test_sample_shows_its_text_masked_and_why(tmp_path: Path) -> None:
    attack = verdict_factory.attack(0, "jailbreak", "flag", p_value=1e-6)
    change = run(tmp_path, [attack]).changes[0]
    assert (change.kind, change.sample.action, change.action) == (BLOCKED, "flag", "block")
    assert change.reason == "p-value at or below the block threshold"
    assert change.sample.pieces is not None
    assert "ops@example.com" not in "".join(piece.text for piece in change.sample.pieces)
    shown = run(tmp_path, [attack], mask=False).changes[0].sample.pieces
    assert shown is not None
    assert "ops@example.com" in "".join(piece.text for piece in shown)


def test_many_tenants_are_counted_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_TENANTS", 3)
    found = run(tmp_path, [verdict(i, 0.5, "allow", tenant=f"t{i}") for i in range(9)])
    assert {one.name: one.rows for one in found.tenants} == {"t0": 1, "t1": 1, "t2": 1, "(all other tenants)": 6}


def test_as_dict_is_plain_json_and_holds_shares_with_bounds(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(run(tmp_path, ROWS).as_dict()))
    assert (plain["rows"], plain["unchanged"], plain["newly_released"]["rows"]) == (7, 2, 2)
    assert plain["newly_blocked"]["low"] < 1 / 7 < plain["newly_blocked"]["high"]
    assert {one["kind"] for one in plain["samples"]} == set(KINDS[1:])
    assert plain["tenants"][0]["newly_blocked"]["of"] == plain["tenants"][0]["rows"]


def test_page_escapes_traffic_and_opens_no_connection(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e"
    row = verdict_factory.attack(0, action="flag", tenant=evil, text=evil, request_id=evil, session_id=evil, spans=[])
    found = run(tmp_path, [row, *ROWS])
    page = render(found, title=evil, made_at=datetime(2026, 1, 1, tzinfo=UTC), engine_version="1")
    assert "<script" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    assert page == render(found, title=evil, made_at=datetime(2026, 1, 1, tzinfo=UTC), engine_version="1")


def test_page_of_a_replay_that_changes_nothing_says_so(tmp_path: Path) -> None:
    found = run(tmp_path, [verdict(0, 0.5, "allow", ts=None)])
    page = render(found, title="t", made_at=datetime(2026, 1, 1, tzinfo=UTC), engine_version="1")
    assert page.count("Nothing changes.") >= 3


def test_allowlist_by_hash_needs_texts_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'format = 1\nversion = "1"\n[[allowlist]]\nsha256 = "' + "0" * 64 + '"\nexpires = 2026-06-30\n'
        'approved_by = ["a"]\nreason = "r"\n'
    )
    verdict_factory.write(tmp_path / "v.parquet", ROWS, text=False)
    policy = Policy.load(tmp_path / "p.toml")
    notes = replay([tmp_path / "v.parquet"], policy, today=TODAY).notes
    assert "carry no texts" in notes[0]
    assert replay([tmp_path / "v.parquet"], policy, today=date(2027, 1, 1)).notes == []


def test_what_cannot_be_replayed_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "log.parquet")
    verdict_factory.write(tmp_path / "v.parquet", ROWS)
    verdict_factory.write(tmp_path / "none.parquet", [])
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    verdict_factory.write(tmp_path / "odd.parquet", [verdict(0, 0.5, "allow"), verdict(1, 0.5, "ban")])
    with pytest.raises(SchemaError, match=r"channel.*log\.parquet.*whole verdicts"):
        replay([tmp_path / "log.parquet"], SHIPPED, today=TODAY)
    with pytest.raises(DataError, match="0 rows"):
        replay([tmp_path / "none.parquet"], SHIPPED, today=TODAY)
    with pytest.raises(DataError, match=r"bad\.parquet"):
        replay([tmp_path / "bad.parquet"], SHIPPED, today=TODAY)
    with pytest.raises(SchemaError, match=r"row 1.*'ban'.*odd\.parquet"):
        replay([tmp_path / "odd.parquet"], SHIPPED, today=TODAY)
    assert source.are_verdicts([tmp_path / "v.parquet"])
    assert not source.are_verdicts([tmp_path / "log.parquet"])
    assert not source.are_verdicts(["s3://bucket/x"])
    with pytest.raises(DataError, match=r"log\.parquet"):
        source.are_verdicts([tmp_path / "v.parquet", tmp_path / "log.parquet"])


def test_damage_in_the_middle_of_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = verdict_factory.write(tmp_path / "v.parquet", verdict_factory.random_rows(3000))
    content = bytearray(file.read_bytes())
    content[200 : len(content) // 2] = b"\0" * (len(content) // 2 - 200)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"v\.parquet.*damaged"):
        replay([file], SHIPPED, today=TODAY)


def test_a_p_value_that_is_no_number_reads_as_none(tmp_path: Path) -> None:
    def replayed(p: float | None) -> Findings:
        rows = [verdict(0, 0.5, "allow"), verdict(1, 1e-5, "flag"), verdict(2, 0.5, "block") | {"p_value": p}]
        return run(tmp_path, rows)

    none, odd = replayed(None), replayed(float("nan"))
    assert (odd.transitions, odd.by_p, odd.threats) == (none.transitions, none.by_p, none.threats)
    assert sum(map(sum, odd.by_p)) == 3


def test_times_outside_the_calendar_do_not_stop_a_replay(tmp_path: Path) -> None:
    file = verdict_factory.write(tmp_path / "v.parquet", ROWS)
    table = pq.read_table(file)
    place = table.schema.get_field_index("ts")
    far = pa.array([1 << 62, -(1 << 62), None, 0, 1, 2, 3], pa.int64()).cast(table.schema.field(place).type)
    pq.write_table(table.set_column(place, "ts", far), file)
    found = replay([file], SHIPPED, today=TODAY)
    assert found.timeline is not None
    assert sum(map(sum, found.timeline.kinds)) == 4
    assert found.whole.kinds[OTHERWISE] == 2
