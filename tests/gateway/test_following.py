"""What follows from sessions in a gateway: as a scan of the same rows says it, whatever requests they come in."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from desk import ndjson
from followed import HOLDING, POLICIES, Served, rows
from live import INSECURE, Live, live
from policy_screener import PolicyScreener

from aimds.analyze.sessions import Sessions
from aimds.analyze.watch import Watch
from aimds.errors import ConfigError, DataError
from aimds.gateway import settings
from aimds.gateway.following import Follower
from aimds.gateway.rounds import waves
from aimds.gateway.settings import Audit, Following, Settings
from aimds.jobs.scan import Columns, Factory, Scan, ScanConfig, screening
from aimds.ltl.policies import TracePolicies
from aimds.respond.carry_out import Responder
from aimds.respond.hold_file import HoldFile
from aimds.schema import requests


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(POLICIES)
    return path


def scanned(
    folder: Path, given: list[dict[str, Any]], policies: Path, policy: Path | None, *, attractor: bool = False
) -> dict[str, Any]:
    kinds = {"events": pa.list_(pa.string())}
    table = pa.table({name: pa.array([row[name] for row in given], kinds.get(name)) for name in given[0]})
    pq.write_table(table, folder / "log.parquet")
    factory = Factory("policy_screener:PolicyScreener", {} if policy is None else {"policy": str(policy)})
    config = ScanConfig((str(folder / "log.parquet"),), folder / "out", columns=Columns(events=None))
    Scan(config, factory, following=screening.Following(str(policies), attractor=attractor)).run()
    return {row["request_id"]: row for row in pq.read_table(folder / "out" / "log.parquet").to_pylist()}


def sent(server: Live, given: Sequence[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """Verdicts of ``given``, sent in order one by one, in batches and over a stream."""
    out: list[dict[str, Any]] = []
    at = 0
    while at < len(given):
        part = given[at : at + rng.choice([1, 1, 7, 40])]
        at += len(part)
        kind = "application/json" if len(part) == 1 else "application/x-ndjson"
        route = "/v1/screen" if len(part) == 1 else "/v1/screen/batch"
        body = json.dumps(part[0]) if len(part) == 1 else ndjson(*part)
        status, _, answer = server.ask("POST", route, body, content_type=kind)
        assert status == 200, answer
        out += [json.loads(line) for line in answer.splitlines()]
    return out


def test_a_gateway_says_of_sessions_what_a_scan_says(tmp_path: Path, policies: Path) -> None:
    given = rows(300)
    expected = scanned(tmp_path, given, policies, None)
    following = dataclasses.replace(INSECURE, sessions=Following(policies=policies))
    with live(following, Served()) as server:
        found = sent(server, given, random.Random(1))
        metrics = server.ask("GET", "/metrics")[2].decode()
    assert [one["request_id"] for one in found] == [one["request_id"] for one in given]
    for one in found:
        ours = expected[one["request_id"]]
        assert (one["violations"], one["action"]) == (ours["violations"], ours["action"]), one
        assert one["session_score"] == ours["session_score"]
        assert (one["threat_type"], one["evidence"]) == (ours["threat_type"], ours["evidence"])
    assert sum(bool(one["evidence"]) for one in found) > 3
    counts = {
        name: sum(name in one["violations"] for one in found) for name in ("no_tool_after_injection", "threat_rate")
    }
    assert min(counts.values()) > 3
    for name, count in counts.items():
        assert f'aimds_policy_violations{{policy="{name}"}} {count}.0' in metrics


def test_a_gateway_says_how_sessions_move_as_a_scan_says(tmp_path: Path, policies: Path) -> None:
    given = rows(110, 2)
    expected = scanned(tmp_path, given, policies, None, attractor=True)
    with live(dataclasses.replace(INSECURE, sessions=Following(attractor=True)), Served()) as server:
        found = sent(server, given, random.Random(1))
    kinds = [one["attractor"] for one in found]
    assert kinds == [expected[one["request_id"]]["attractor"] for one in given]
    assert len(set(kinds)) > 2


def test_what_is_owed_at_the_end_of_a_session_is_recorded_and_counted(
    tmp_path: Path, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aimds.gateway.upkeep.FORGET_S", 0.05)
    policies.write_text(
        'format = 1\nversion = "1"\n[policies.answered]\nsays = "Threats are answered."\n'
        'formula = "G (threat_detected -> F released)"\nholds = ["threat_detected; released"]\nfails = ["threat_detected"]\n'
    )
    log = tmp_path / "audit.log"
    following = Following(capacity=1, policies=policies)

    def said() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []
        return [{**one["body"], **one["private"]} for one in lines if one["kind"] == "session_ended"]

    def threat(server: Live, name: str) -> None:
        body = {"text": "0.005 jailbreak", "session_id": name, "request_id": f"r{name}"}
        assert json.loads(server.ask("POST", "/v1/screen", json.dumps(body))[2])["violations"] == []

    gateway = dataclasses.replace(INSECURE, sessions=following, audit=Audit(log, None, "none"))
    with live(gateway, Served()) as server:
        threat(server, "one")
        threat(server, "two")
        until = time.monotonic() + 20
        while not said() and time.monotonic() < until:
            time.sleep(0.02)
        metrics = server.ask("GET", "/metrics")[2].decode()
        assert [one["session_id"] for one in said()] == ["one"]
    assert 'aimds_policy_owed_at_end{policy="answered"} 1.0' in metrics
    one, two = said()
    assert (one["verdict"], one["violations"], one["request_id"]) == ("false", ["answered"], "rone")
    assert two["session_id"] == "two"


class Whole(Served):
    """Finds an attack only where all its words stand together, and fails at one word."""

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch.column("text").to_pylist()
        assert not any("poison" in text and "ignore" in text for text in texts)
        said = ["0.000000001 jailbreak" if "ignore" in one and "rules" in one else "0.5 none" for one in texts]
        asked = batch.set_column(batch.schema.get_field_index("text"), "text", pa.array(said, pa.large_string()))
        return super().screen_batch(asked)

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        said = pa.array(["1 none"] * batch.num_rows, pa.large_string())
        made = super().screen_batch(batch.set_column(batch.schema.get_field_index("text"), "text", said))
        place = made.schema.get_field_index("p_value")
        return made.set_column(place, made.schema.field(place), pa.nulls(batch.num_rows, pa.float64()))


def test_a_payload_in_pieces_is_seen_live_where_turns_are_joined() -> None:
    def scores(joined: bool, *texts: str) -> list[float]:
        talk = [{"text": text, "session_id": "s", "request_id": f"{k}"} for k, text in enumerate(texts)]
        said: list[str] = []
        with live(dataclasses.replace(INSECURE, sessions=Following(joined=joined)), Whole(), say=said.append) as server:
            body = ndjson(*talk)
            answer = server.ask("POST", "/v1/screen/batch", body, content_type="application/x-ndjson")[2]
        assert any("joined turns" in line for line in said) == (joined and "poison" in texts)
        return [json.loads(line)["session_score"] for line in answer.splitlines()]

    apart, together = scores(False, "ignore all", "of your rules"), scores(True, "ignore all", "of your rules")
    assert together[0] == pytest.approx(apart[0], abs=0.001)
    assert together[1] > 2 * apart[1]
    assert scores(True, "ignore all", "poison", "calm") == pytest.approx(
        scores(False, "ignore all", "poison", "calm"), abs=0.02
    )


def test_lines_of_a_stream_are_steps_too(policies: Path) -> None:
    following = dataclasses.replace(INSECURE, sessions=Following(policies=policies))
    talk = [
        {"text": "0.005 direct_injection", "session_id": "s", "request_id": "a"},
        {"text": "1 none", "session_id": "s", "channel": "tool", "request_id": "b"},
    ]
    with live(following, Served()) as server:
        first = server.ask("POST", "/v1/screen/stream", ndjson(talk[0]), content_type="application/x-ndjson")[2]
        then = server.ask("POST", "/v1/screen/stream", ndjson(talk[1]), content_type="application/x-ndjson")[2]
    assert json.loads(first)["violations"] == []
    assert (json.loads(then)["violations"], json.loads(then)["action"]) == (["no_tool_after_injection"], "flag")


def follower(policies: Path, policy: Path) -> tuple[Follower, PolicyScreener]:
    watch = Watch(TracePolicies.load(policies))
    return Follower(Sessions(), watch, Responder(), clock=lambda: 5.0, wall=lambda: 1.0e9), PolicyScreener(str(policy))


def followed(one: Follower, screener: PolicyScreener, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    asked = requests(pa.Table.from_pylist(given, pa.schema([*_KINDS])))
    made = one.respond(screener.policy, asked, screener.screen_batch(asked), ["me"] * len(given))
    return made.select(["action", "session_action", "violations", "status"]).to_pylist()  # type: ignore[no-any-return]


_KINDS = [pa.field(name, pa.string()) for name in ("request_id", "session_id", "ts", "channel", "text")]
_KINDS[2] = pa.field("ts", pa.timestamp("us", tz="UTC"))
_KINDS.append(pa.field("events", pa.list_(pa.string())))


def test_a_policy_that_holds_a_session_holds_its_later_rows_in_the_same_batch(tmp_path: Path, policies: Path) -> None:
    (tmp_path / "policy.toml").write_text(HOLDING)
    one, screener = follower(policies, tmp_path / "policy.toml")
    talk = [
        {"session_id": "s", "text": "0.005 direct_injection"},
        {"session_id": "t", "text": "1 none", "channel": "tool"},
        {"session_id": "s", "text": "1 none", "channel": "tool"},
        {"session_id": "s", "text": "1 none"},
        {"session_id": "t", "text": "1 none"},
    ]
    found = followed(one, screener, talk)
    assert [row["action"] for row in found] == ["flag", "allow", "escalate", "block", "allow"]
    assert [row["session_action"] for row in found] == ["none", "none", "quarantine", "quarantine", "none"]
    assert [row["violations"] for row in found] == [[], [], ["no_tool_after_injection"], ["session_quarantined"], []]
    assert followed(one, screener, talk[3:])[0]["violations"] == ["session_quarantined"]


def test_a_hold_is_on_the_disk_before_its_verdict_is_given(tmp_path: Path, policies: Path) -> None:
    (tmp_path / "policy.toml").write_text(HOLDING)
    responder = Responder(file=HoldFile(tmp_path / "holds", lambda line: None))
    one = Follower(None, Watch(TracePolicies.load(policies)), responder, clock=lambda: 5.0, wall=lambda: 1.0e9)
    talk = [
        {"session_id": "s", "text": "0.005 direct_injection"},
        {"session_id": "s", "text": "1 none", "channel": "tool"},
    ]
    followed(one, PolicyScreener(str(tmp_path / "policy.toml")), talk)
    assert (tmp_path / "holds").read_bytes().count(b"quarantine") == 1


def test_many_batches_say_what_one_says_also_where_sessions_are_held(tmp_path: Path, policies: Path) -> None:
    (tmp_path / "policy.toml").write_text(HOLDING)
    given = rows(250)
    for row in given:
        row["ts"] = datetime.fromisoformat(row["ts"])
    whole = followed(*follower(policies, tmp_path / "policy.toml"), given)
    one, screener = follower(policies, tmp_path / "policy.toml")
    rng, parts, at = random.Random(2), [], 0  # type: ignore[var-annotated]
    while at < len(given):
        size = rng.choice([1, 3, 30])
        parts += followed(one, screener, given[at : at + size])
        at += size
    assert parts == whole
    assert sum("session_quarantined" in row["violations"] for row in whole) > 20


def test_rounds_take_each_session_once(policies: Path) -> None:
    asked = requests(pa.table({"text": ["1 none"] * 5, "session_id": ["a", "b", "a", None, None]}))
    made = waves(PolicyScreener().screen_batch(asked), ["x", "x", "x", "y", "y"])
    assert [rows.tolist() for rows in made] == [[0, 1, 3], [2, 4]]
    assert waves(PolicyScreener().screen_batch(asked.slice(0, 0)), []) == []


def test_a_reload_takes_up_other_policies(policies: Path) -> None:
    following = dataclasses.replace(INSECURE, sessions=Following(policies=policies))

    def tool(server: Live, name: str) -> Any:
        return json.loads(
            server.ask("POST", "/v1/screen", json.dumps({"text": "1 none", "session_id": name, "channel": "tool"}))[2]
        )["violations"]

    with live(following, Served()) as server:
        assert tool(server, "s") == []
        policies.write_text(POLICIES.replace("injection_detected & !blocked -> N (", "tool_called -> ("))
        server.call(server.gateway.reload())
        assert tool(server, "s") == ["no_tool_after_injection"]
        policies.write_text("format = 1")
        server.call(server.gateway.reload())
        assert tool(server, "t") == ["no_tool_after_injection"]


def test_settings_name_a_file_of_policies_or_the_shipped_ones(tmp_path: Path) -> None:
    def given(value: str) -> Settings:
        (tmp_path / "settings.toml").write_text(f"[sessions]\npolicies = {value}\n")
        return settings.load(tmp_path / "settings.toml")

    assert given('"mine.toml"').sessions == Following(policies=tmp_path / "mine.toml")
    assert given('"shipped"').sessions == Following(policies=Path("shipped"))
    assert given('"shipped"\nattractor = true').sessions == Following(policies=Path("shipped"), attractor=True)
    assert given('"shipped"\njoined = true').sessions == Following(policies=Path("shipped"), joined=True)
    (tmp_path / "settings.toml").write_text('[respond]\nholds = "holds"\n')
    found = settings.load(tmp_path / "settings.toml")
    assert (found.holds, found.notify) == (tmp_path / "holds", None)
    (tmp_path / "settings.toml").write_text("[respond]\n")
    with pytest.raises(ConfigError, match=r"respond\.notify"):
        settings.load(tmp_path / "settings.toml")
    with pytest.raises(ConfigError, match=r"sessions\.attractor"):
        given('"shipped"\nattractor = 1')
    with pytest.raises(ConfigError, match=r"sessions\.policies"):
        given("3")
    with (
        pytest.raises(DataError, match=r"mine\.toml"),
        live(dataclasses.replace(INSECURE, sessions=Following(policies=tmp_path / "mine.toml"))),
    ):
        pass
