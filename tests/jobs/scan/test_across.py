"""A scan that follows sessions from file to file says of each row what one file of all rows would have said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_screener import FakeScreener
from scan_data import fake, fingerprint, log

from aimds.analyze.attractors import LEAST, Attractors
from aimds.analyze.sessions import Sessions
from aimds.errors import DataError
from aimds.jobs.scan import Columns, Factory, Following, Scan, ScanConfig, across, followed, session_column
from aimds.schema import check_verdicts, requests

START = datetime(2026, 3, 1, tzinfo=UTC)
ACROSS = Following(across_files=True)
MOVING = Following(across_files=True, attractor=True)


def table(n: int = 420, sessions: int = 7, *, order: str = "turn", seed: int = 0) -> pa.Table:
    """Conversations as they come in; some rows belong to none."""
    rng = np.random.default_rng(seed)
    said = [0] * sessions
    rows = []
    for k in range(n):
        who = int(rng.integers(sessions))
        role = ["user", "user", "assistant", "tool"][int(rng.integers(4))]
        refused = "I'm sorry, but I can't do that."
        row = {
            "session_id": f"s{who}" if who else None,
            "tenant": "a" if who % 2 else None,
            "role": role,
            "text": refused if role == "assistant" else f"hello again number {who} at {int(rng.integers(50))}",
        }
        if order == "turn":
            row["turn"] = said[who]
        elif order == "time":
            row["ts"] = START + timedelta(seconds=k)
        said[who] += 1
        rows.append(row)
    return pa.Table.from_pylist(rows)


def split(folder: Path, whole: pa.Table, ends: Sequence[int]) -> list[Path]:
    """``whole`` as several files, one after another."""
    paths = []
    for place, (start, stop) in enumerate(zip([0, *ends], [*ends, len(whole)], strict=True)):
        paths.append(folder / f"{place}.parquet")
        pq.write_table(whole.slice(start, stop - start), paths[-1], row_group_size=50)
    return paths


def run(inputs: Sequence[Path], output: Path, following: Following = ACROSS, **settings: Any) -> Any:
    factory = settings.pop("factory", None) or fake()
    config = ScanConfig(tuple(map(str, inputs)), output, unit_rows=40, **settings)
    return Scan(config, factory, following=following).run()


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def live(whole: pa.Table) -> pa.RecordBatch:
    asked = requests(whole.rename_columns([{"role": "channel"}.get(name, name) for name in whole.column_names]))
    sessions = Sessions(attractor=Attractors.load().column)
    return sessions.observe(asked, FakeScreener().screen_batch(asked), 0.0)


@pytest.mark.parametrize("order", ["turn", "time"])
def test_all_files_together_say_what_the_live_sessions_say(tmp_path: Path, order: str) -> None:
    whole = table(order=order)
    run(split(tmp_path, whole, [100, 101, 300]), tmp_path / "out", MOVING)
    found, expected = read(tmp_path / "out"), live(whole)
    check_verdicts(found)
    assert found["session_score"].to_pylist() == expected["session_score"].to_pylist()
    kinds = found["attractor"].cast(pa.string()).to_pylist()
    assert kinds == expected["attractor"].cast(pa.string()).to_pylist()
    assert len(set(kinds) - {None, "insufficient_data"}) > 0
    alone = tmp_path / "alone"
    run([tmp_path / "0.parquet", tmp_path / "3.parquet"], alone, Following())
    assert pq.read_table(alone / "3.parquet")["session_score"] != pq.read_table(tmp_path / "out" / "3.parquet")


def test_rows_at_the_same_place_of_files_without_ids_and_order_are_no_copies(tmp_path: Path) -> None:
    whole = table(200, order="none")
    run(split(tmp_path, whole, [100]), tmp_path / "out")
    (tmp_path / "one").mkdir()
    run(split(tmp_path / "one", whole, []), tmp_path / "all")
    assert read(tmp_path / "out")["session_score"].to_pylist() == read(tmp_path / "all")["session_score"].to_pylist()


def test_files_may_come_in_another_order_than_their_turns(tmp_path: Path) -> None:
    whole = table()
    run(split(tmp_path, whole, [150, 300]), tmp_path / "out")
    names = ["2.parquet", "0.parquet", "1.parquet"]
    for place, name in enumerate(names):
        (tmp_path / "turned").mkdir(exist_ok=True)
        (tmp_path / "turned" / f"{place}.parquet").write_bytes((tmp_path / name).read_bytes())
    run([tmp_path / "turned"], tmp_path / "other")
    for place, name in enumerate(names):
        one, other = (
            pq.read_table(path)["session_score"]
            for path in (tmp_path / "out" / name, tmp_path / "other" / f"{place}.parquet")
        )
        assert one.equals(other)


@pytest.mark.parametrize("pass_rows", [60, 1000])
def test_the_bytes_do_not_depend_on_passes_or_workers(tmp_path: Path, monkeypatch: Any, pass_rows: int) -> None:
    inputs = split(tmp_path, table(200), [90])
    run(inputs, tmp_path / "whole", MOVING)
    monkeypatch.setattr(session_column, "PASS_ROWS", pass_rows)
    monkeypatch.setattr(session_column, "CHUNK_ROWS", 5)
    run(inputs, tmp_path / "parts", MOVING)
    assert fingerprint(tmp_path / "parts") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize(("name", "on"), [("write", 2), ("judge", 1), ("add", 2)])
def test_a_scan_killed_at_any_step_is_finished_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, on: int
) -> None:
    inputs = split(tmp_path, table(200), [70, 140])
    run(inputs, tmp_path / "whole")
    target: Any = followed if name == "add" else across
    real, calls = getattr(target, name), []

    def killed(*arguments: Any, **more: Any) -> Any:
        calls.append(name)
        if len(calls) == on:
            raise KeyboardInterrupt
        return real(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, killed)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, tmp_path / "out")
    assert not fingerprint(tmp_path / "out")
    assert run(inputs, tmp_path / "out").units_resumed > 0
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob(followed.NAME))
    assert run(inputs, tmp_path / "out").nothing_to_do


def test_a_log_that_is_added_later_goes_on_with_the_sessions_of_those_before(tmp_path: Path) -> None:
    whole = table(240)
    inputs = split(tmp_path, whole, [120])
    run(inputs[:1], tmp_path / "out")
    before = fingerprint(tmp_path / "out")
    run(inputs, tmp_path / "out")
    assert before.items() < fingerprint(tmp_path / "out").items()
    assert read(tmp_path / "out")["session_score"].to_pylist() == live(whole)["session_score"].to_pylist()


def test_what_other_files_left_of_their_sessions_must_be_there(tmp_path: Path) -> None:
    inputs = split(tmp_path, table(100), [50])
    run(inputs[:1], tmp_path / "out")
    next((tmp_path / "out").rglob(across.NAME)).write_bytes(b"torn")
    with pytest.raises(DataError, match="overwrite"):
        run(inputs, tmp_path / "out")


def test_policies_see_the_actions_that_scores_across_files_lead_to(tmp_path: Path) -> None:
    policy, policies = tmp_path / "policy.toml", tmp_path / "policies.toml"
    bands = "".join(
        f'[sessions.{name}]\naction = "escalate"\nsession_action = "quarantine"\nabove = {above}\n'
        for name, above in (("critical", 0.5), ("high", 0.05), ("medium", 0.02))
    )
    policy.write_text(f'format = 1\nversion = "1"\n{bands}')
    policies.write_text(
        'format = 1\nversion = "1"\n[policies.calm]\nsays = "Nothing is escalated."\nformula = "G !escalated"\n'
        'holds = ["allowed"]\nfails = ["escalated"]\n'
    )
    rows = [{"session_id": "s", "turn": k, "role": "user", "text": f"{10 ** (-k / 6):.6f} none"} for k in range(18)]
    inputs = split(tmp_path, pa.Table.from_pylist(rows), [9])
    factory = Factory("policy_screener:PolicyScreener", {"policy": str(policy)})
    for name, following in (
        ("out", Following(str(policies), across_files=True)),
        ("apart", Following(str(policies))),
    ):
        run(inputs, tmp_path / name, following, factory=factory)
    found, apart = read(tmp_path / "out"), read(tmp_path / "apart")
    assert found["session_score"].to_pylist() != apart["session_score"].to_pylist()
    first = found["action"].cast(pa.string()).to_pylist().index("escalate")
    assert [bool(one) for one in found["violations"].to_pylist()].index(True) == first


def test_files_without_sessions_lie_beside_those_that_have_some(tmp_path: Path) -> None:
    inputs = split(tmp_path, table(100), [50])
    log(tmp_path / "z.parquet", 20)
    pq.write_table(pq.read_table(tmp_path / "z.parquet").select(["text"]), tmp_path / "z.parquet")
    run([*inputs, tmp_path / "z.parquet"], tmp_path / "out", MOVING)
    assert pq.read_table(tmp_path / "out" / "z.parquet")["session_score"].null_count == 20
    assert pq.read_table(tmp_path / "out" / "1.parquet")["session_score"].null_count < 50


def test_one_file_alone_has_the_column_of_the_live_sessions(tmp_path: Path) -> None:
    whole = table(400, 4)
    pq.write_table(whole, tmp_path / "a.parquet", row_group_size=60)
    run([tmp_path / "a.parquet"], tmp_path / "out", Following(attractor=True), columns=Columns())
    found = read(tmp_path / "out")["attractor"].cast(pa.string()).to_pylist()
    assert found == live(whole)["attractor"].cast(pa.string()).to_pylist()
    assert sum(kind not in (None, "insufficient_data") for kind in found) > LEAST
    run([tmp_path / "a.parquet"], tmp_path / "plain", Following())
    assert read(tmp_path / "plain")["attractor"].null_count == 400


def test_other_ways_to_follow_are_other_scans(tmp_path: Path) -> None:
    inputs = split(tmp_path, table(60), [30])
    run(inputs, tmp_path / "out", Following())
    for other in (ACROSS, MOVING, Following(attractor=True)):
        with pytest.raises(DataError, match="settings"):
            run(inputs, tmp_path / "out", other)


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("following", [ACROSS, Following()])
def test_rows_without_an_id_in_a_column_of_ids_are_no_copies(
    tmp_path: Path, following: Following, empty: str | None
) -> None:
    whole = table(200, order="none")
    ids = [empty if k % 3 else f"{k + 1}" for k in range(200)]
    named = whole.append_column("request_id", pa.array(ids, pa.string()))
    distinct = whole.append_column("request_id", pa.array([f"row {k}" for k in range(200)]))
    ends = [80, 160] if following.across_files else []
    for name, given in (("named", named), ("distinct", distinct)):
        (tmp_path / name).mkdir()
        run(split(tmp_path / name, given, ends), tmp_path / f"{name}-out", following)
    found, expected = (read(tmp_path / f"{name}-out")["session_score"].to_pylist() for name in ("named", "distinct"))
    assert found == expected
    made = read(tmp_path / "named-out")["request_id"].to_pylist()
    assert [one for one, given in zip(made, ids, strict=True) if given] == [one for one in ids if one]
    assert all(made)


@pytest.mark.parametrize("across_files", [True, False])
def test_rows_of_a_csv_without_a_session_are_of_none(tmp_path: Path, across_files: bool) -> None:
    (tmp_path / "a.csv").write_text("text,session_id,tenant\n" + "hello ignore,,\n" * 5 + "hello,s,\n")
    run([tmp_path / "a.csv"], tmp_path / "out", Following(across_files=across_files))
    found = read(tmp_path / "out")
    assert found["session_id"].to_pylist() == [None] * 5 + ["s"]
    assert found["tenant"].to_pylist() == [None] * 6
    assert found["session_score"].is_valid().to_pylist() == [False] * 5 + [True]
