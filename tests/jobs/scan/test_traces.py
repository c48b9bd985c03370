"""A scan with policies over sessions: violations stand in the rows of their steps, across units and files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from policy_screener import PolicyScreener
from scan_data import fingerprint, scan
from trace_policies import NO_TOOL, THREAT_RATE

from aimds.errors import DataError
from aimds.jobs.scan import Columns, Factory, Following, ScanConfig, by_session, session_column, steps, traces
from aimds.jobs.scan import Scan as Whole
from aimds.ltl.judge import with_violations
from aimds.ltl.policies import TracePolicies

POLICIES = (
    NO_TOOL
    + """[policies.answered]
says = "What was asked for is answered."
formula = "G (refund_asked -> F refund_answered)"
holds = ["refund_asked; refund_answered"]
fails = ["refund_asked; allowed"]
"""
    + THREAT_RATE
)
START = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = Columns(events=None)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES)
    return path


def table(seed: int, n: int = 300, sessions: int = 25, *, times: bool = True) -> pa.Table:
    """Rows of conversations as they come in, with events of the log's own."""
    rng = np.random.default_rng(seed)
    words = ["1 none", "0.005 direct_injection", "0.005 jailbreak", "0.00001 jailbreak", "1 none"]
    own: list[list[str] | None] = [None, [], ["refund_asked"], ["refund_answered", "other"], ["released"]]
    rows = []
    for k in range(n):
        who = int(rng.integers(sessions))
        rows.append(
            {
                "session_id": f"s{who}" if who else None,
                "tenant": ["a", "b", None][int(rng.integers(3)) if who < 6 else 0],
                "ts": START + timedelta(days=seed, seconds=7 * k) if times else None,
                "role": ["user", "tool", "assistant"][int(rng.integers(3))],
                "text": words[int(rng.integers(len(words)))],
                "events": own[int(rng.integers(len(own)))],
            }
        )
    kinds = {"ts": pa.timestamp("us", tz="UTC"), "events": pa.list_(pa.string())}
    return pa.table({name: pa.array([row[name] for row in rows], kinds.get(name, pa.string())) for name in rows[0]})


def write(path: Path, found: pa.Table) -> Path:
    pq.write_table(found, path, row_group_size=90)
    return path


def run(inputs: list[Path], output: Path, policies: Path, **settings: Any) -> Any:
    config = ScanConfig(
        tuple(map(str, inputs)), output, columns=settings.pop("columns", COLUMNS), unit_rows=40, **settings
    )
    return Whole(config, Factory("policy_screener:PolicyScreener", {}), following=Following(str(policies))).run()


def read(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def expected(inputs: list[pa.Table], policies: Path) -> list[list[str]]:
    """What the policies say of the verdicts of the texts alone, all files in one."""
    whole = pa.concat_tables(inputs)
    asked = whole.rename_columns(["session_id", "tenant", "ts", "channel", "text", "events"])
    from aimds.schema import requests

    made = PolicyScreener().screen_batch(requests(asked))
    found = with_violations(pa.Table.from_batches([made]), TracePolicies.load(policies), whole["events"])
    return found["violations"].to_pylist()


def test_violations_are_those_of_the_whole_log_whatever_files_and_units_it_lies_in(
    tmp_path: Path, policies: Path
) -> None:
    logs = [table(seed) for seed in range(3)]
    summary = run([write(tmp_path / f"{k}.parquet", one) for k, one in enumerate(logs)], tmp_path / "out", policies)
    found = read(tmp_path / "out")
    listed = found["violations"].to_pylist()
    assert listed == expected(logs, policies)
    counts = {
        name: sum(name in row for row in listed) for name in ("no_tool_after_injection", "answered", "threat_rate")
    }
    assert summary.violations == counts
    assert min(counts.values()) > 2
    flagged = np.array([bool(row) for row in listed])
    assert "allow" not in set(np.array(found["action"].to_pylist())[flagged])


@pytest.mark.parametrize("pass_rows", [25, 100])
def test_the_bytes_do_not_depend_on_passes_or_workers(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch, pass_rows: int
) -> None:
    inputs = [write(tmp_path / f"{k}.parquet", table(k, 120)) for k in range(2)]
    run(inputs, tmp_path / "whole", policies)
    monkeypatch.setattr(session_column, "PASS_ROWS", pass_rows)
    monkeypatch.setattr(by_session, "BATCH_ROWS", 11)
    run(inputs, tmp_path / "parts", policies)
    assert fingerprint(tmp_path / "parts") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize("at", ["gathered", "judged", "assembled"])
def test_a_scan_killed_at_any_step_is_finished_with_the_same_bytes(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    inputs = [write(tmp_path / f"{k}.parquet", table(k, 120)) for k in range(3)]
    run(inputs, tmp_path / "whole", policies)
    calls = []

    def killed(target: Any, name: str, on: int) -> None:
        real = getattr(target, name)

        def wrapped(*args: Any, **more: Any) -> Any:
            calls.append(name)
            if len(calls) == on:
                raise KeyboardInterrupt
            return real(*args, **more)

        monkeypatch.setattr(target, name, wrapped)

    with monkeypatch.context() as patch:
        monkeypatch = patch
        if at == "gathered":
            killed(steps, "write", 2)
        elif at == "judged":
            killed(traces, "_leave", 2)
        else:
            killed(traces, "Findings", 2)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, tmp_path / "out", policies)
    assert len(fingerprint(tmp_path / "out")) == (1 if at == "assembled" else 0)
    summary = run(inputs, tmp_path / "out", policies)
    assert summary.units_resumed > 0
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert run(inputs, tmp_path / "out", policies).nothing_to_do


def test_a_log_that_is_added_later_goes_on_with_the_sessions_of_those_before(tmp_path: Path, policies: Path) -> None:
    logs = [table(seed) for seed in range(2)]
    inputs = [write(tmp_path / f"{k}.parquet", one) for k, one in enumerate(logs)]
    run(inputs[:1], tmp_path / "out", policies)
    before = fingerprint(tmp_path / "out")
    run(inputs, tmp_path / "out", policies)
    after = fingerprint(tmp_path / "out")
    assert before.items() < after.items()
    later = pq.read_table(tmp_path / "out" / "1.parquet")["violations"].to_pylist()
    assert later == expected(logs, policies)[logs[0].num_rows :]
    assert later != expected(logs[1:], policies)


def test_what_other_files_left_of_their_sessions_must_be_there(tmp_path: Path, policies: Path) -> None:
    inputs = [write(tmp_path / "0.parquet", table(0, 50))]
    run(inputs, tmp_path / "out", policies)
    next((tmp_path / "out" / ".aimds").glob(f"*/{steps.NAME}")).write_bytes(b"torn")
    inputs.append(write(tmp_path / "1.parquet", table(1, 50)))
    with pytest.raises(DataError, match="overwrite"):
        run(inputs, tmp_path / "out", policies)


def test_sessions_without_times_are_unknown_to_deadlines_and_their_first_row_says_so(
    tmp_path: Path, policies: Path
) -> None:
    log = table(0, times=False)
    summary = run([write(tmp_path / "a.parquet", log)], tmp_path / "out", policies)
    found = read(tmp_path / "out").to_pylist()
    told = [row for row in found if "threat_rate: no times in this session" in (row["error"] or "")]
    several = {(row["tenant"], row["session_id"]) for row in found if row["session_id"] is not None}
    alone = {who for who in several if sum((r["tenant"], r["session_id"]) == who for r in found) == 1}
    assert [row["status"] for row in told] == ["partial"] * len(told)
    assert summary.unfollowed["threat_rate"] == len(told) == len(several - alone)
    assert summary.violations["threat_rate"] == 0
    assert summary.violations["no_tool_after_injection"] > 0


def test_another_file_of_policies_is_another_scan(tmp_path: Path, policies: Path) -> None:
    log = write(tmp_path / "a.parquet", table(0, 50))
    run([log], tmp_path / "out", policies)
    policies.write_text(POLICIES.replace("1min", "2min"))
    with pytest.raises(DataError, match="settings"):
        run([log], tmp_path / "out", policies)


def test_without_policies_nothing_is_kept_for_them(tmp_path: Path) -> None:
    log = write(tmp_path / "a.parquet", table(0, 50))
    scan(log, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(steps.NAME))
    assert read(tmp_path / "out")["violations"].to_pylist() == [[]] * 50
