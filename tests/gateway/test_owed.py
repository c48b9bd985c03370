"""Whatever comes between batches and reloads, each session to which something is owed when it ends is told of once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from followed import Served
from live import INSECURE, live
from policy_screener import PolicyScreener

from aimds.analyze import owing
from aimds.analyze.owing import Owed
from aimds.analyze.watch import Watch
from aimds.errors import DataError
from aimds.gateway.following import Follower
from aimds.gateway.session_file import SessionFile
from aimds.gateway.settings import Audit, Following
from aimds.ltl.policies import TracePolicies
from aimds.schema import requests

POLICIES = """
format = 1
version = "%s"
[policies.answered]
says = "Threats are answered."
formula = "G (threat_detected -> F[0,1h] released)"
holds = ["threat_detected; released"]
fails = ["threat_detected"]
[policies.closed]
says = "What was allowed is released."
formula = "G (injection_detected -> F released)"
holds = ["injection_detected; released"]
fails = ["injection_detected"]
"""


class Between:
    """A lock before which something else may come."""

    def __init__(self, comes: Callable[[], None]) -> None:
        self._comes = comes

    def __enter__(self) -> None:
        self._comes()

    def __exit__(self, *_: object) -> None:
        pass


def policies(folder: Path, version: int) -> TracePolicies:
    path = folder / f"{version}.toml"
    path.write_text(POLICIES % version)
    return TracePolicies.load(path)


def made(watch: Watch | None, at: list[float]) -> Follower:
    return Follower(None, watch, None, clock=lambda: at[0], wall=lambda: at[0])


def turn(follower: Follower, sessions: list[str], kinds: list[str]) -> None:
    """A batch in which each of ``sessions`` meets a threat or is released."""
    says = ["0.005 direct_injection" if kind == "threat" else "1 none" for kind in kinds]
    events = pa.array([[] if kind == "threat" else ["released"] for kind in kinds], pa.list_(pa.string()))
    asked = requests(pa.table({"text": says, "session_id": sessions, "events": events}))
    follower.respond(None, asked, PolicyScreener().screen_batch(asked), ["me"] * len(kinds))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_between_a_batch_and_a_reload_all_that_is_owed_is_told_once(tmp_path: Path, seed: int) -> None:
    rng, at = random.Random(seed), [0.0]
    known = [policies(tmp_path, version) for version in range(2)]
    told: list[Owed] = []
    owed: dict[str, bool] = {}
    seen: dict[str, float] = {}
    expected: list[str] = []
    inside = False

    def ended(names: list[str]) -> None:
        expected.extend(name for name in names if owed.pop(name, False))
        for name in names:
            seen.pop(name, None)

    def forgets() -> None:
        ended([name for name, then in seen.items() if then < at[0] - 100])

    def comes() -> None:
        nonlocal inside
        if inside:
            return
        inside = True
        for _ in range(rng.choice([0, 0, 1, 2])):
            what = rng.choice(["use", "use", "forget", "same", "none", "time", "copy"])
            if what == "use":
                told.extend(follower.use(Watch(rng.choice(known), capacity=50, max_age_s=100)))
                ended(list(seen))
            elif what == "same":
                assert follower.use(follower.watch) == []
            elif what == "none":
                told.extend(follower.use(None))
                ended(list(seen))
                follower.use(Watch(known[0], capacity=50, max_age_s=100))
            elif what == "time":
                at[0] += rng.choice([1, 60])
            elif what == "copy":
                follower.copied(1 << 20)
            else:
                forgets()
                told.extend(follower.forget())
        inside = False

    follower = made(Watch(known[0], capacity=50, max_age_s=100), at)
    follower._lock = Between(comes)  # type: ignore[assignment]
    for _ in range(60):
        names = [f"s{rng.randrange(6)}" for _ in range(rng.randrange(1, 4))]
        kinds = [rng.choice(["threat", "threat", "released"]) for _ in names]
        turn(follower, names, kinds)
        # What came between came before the batch.
        forgets()
        for name, kind in zip(names, kinds, strict=True):
            owed[name], seen[name] = kind == "threat", at[0]
    inside = True
    told.extend(follower.forget(over=True))
    ended(list(seen))
    assert sorted(one.session_id for one in told) == sorted(expected)
    assert len(expected) > 10
    assert {one.policies for one in told} == {("answered", "closed")}


def test_all_sessions_of_policies_that_go_are_told_of_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owing, "MOST_ENDED", 3)
    at = [0.0]
    follower = made(Watch(policies(tmp_path, 0), capacity=20), at)
    turn(follower, [f"s{k}" for k in range(20)], ["threat"] * 20)
    assert len(follower.use(Watch(policies(tmp_path, 1), capacity=20))) == 20


@pytest.mark.parametrize("version", [0, 1])
def test_sessions_that_a_snapshot_or_its_reader_has_no_room_for_are_told_of(tmp_path: Path, version: int) -> None:
    at = [0.0]
    follower = made(Watch(policies(tmp_path, 0), capacity=20), at)
    for k in range(20):
        at[0] += 1
        turn(follower, [f"s{k}"], ["threat"])
    header, arrays = follower.copied(follower.watch.nbytes * 15 // 20)  # type: ignore[union-attr]
    assert len(arrays["policies.keys"]) == 15
    after = made(Watch(policies(tmp_path, version), capacity=10), at)
    after.put(header, arrays)
    told = [one.session_id for one in after.forget()]
    left = range(10) if version == 0 else range(20)
    assert sorted(told) == sorted(f"s{k}" for k in left)
    assert len(after.forget(over=True)) == 20 - len(told)


def test_what_the_audit_log_refuses_is_told_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.toml").write_text(POLICIES % 1)
    log = tmp_path / "audit.log"
    settings = dataclasses.replace(
        INSECURE, sessions=Following(policies=tmp_path / "p.toml"), audit=Audit(log, None, "none")
    )
    said: list[str] = []
    with live(settings, Served(), say=said.append) as server:
        for name in ("a", "b", "c"):
            body = json.dumps({"text": "0.005 direct_injection", "session_id": name})
            assert server.ask("POST", "/v1/screen", body)[0] == 200
        audit, calls = server.gateway.audit, []
        assert audit is not None
        real = audit.append

        def refused(kind: str, body: Any) -> Any:
            calls.append(kind)
            if len(calls) == 2:
                raise DataError(log, "cannot be written")
            return real(kind, body)

        monkeypatch.setattr(audit, "append", refused)
        (tmp_path / "p.toml").write_text(POLICIES % 2)
        server.call(server.gateway.reload())
        assert any("could not be recorded" in line for line in said)
    named = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert [one["private"]["session_id"] for one in named if one["kind"] == "session_ended"] == ["a", "b", "c"]


def test_reloads_at_the_same_time_end_no_session_twice_and_none_that_goes_on(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(POLICIES % 1)
    log = tmp_path / "audit.log"
    following = Following(policies=tmp_path / "p.toml", snapshot=tmp_path / "sessions.bin")
    settings = dataclasses.replace(INSECURE, sessions=following, audit=Audit(log, None, "none"))
    with live(settings, Served()) as server:

        async def both() -> None:
            (tmp_path / "p.toml").write_text(POLICIES % 2)
            await asyncio.gather(*(server.gateway.reload() for _ in range(4)))

        def watch() -> Watch:
            found = server.gateway.worker.follower.watch
            assert found is not None
            return found

        made_: list[int] = []
        real = server.gateway.worker.follower.use

        def use(given: Watch | None) -> list[Owed]:
            made_.append(id(given))
            return real(given)

        server.gateway.worker.follower.use = use  # type: ignore[method-assign]
        server.call(both())
        assert len(made_) == 4
        assert len(set(made_)) == 1


def test_a_file_that_cannot_be_used_leaves_nothing_to_tell(tmp_path: Path) -> None:
    at = [0.0]
    follower = made(Watch(policies(tmp_path, 0), capacity=20), at)
    turn(follower, ["a"], ["threat"])
    kept = SessionFile(tmp_path / "s", follower, lambda line: None)
    assert kept.write()
    (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:-1])
    after = made(Watch(policies(tmp_path, 0), capacity=20), at)
    SessionFile(tmp_path / "s", after, lambda line: None)
    assert after.forget(over=True) == []
