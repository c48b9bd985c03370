"""A screener takes up what was promoted, on trial for some sessions or in force for all, and goes back."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from proposal_factory import VARIANTS, detector, proposal

from aimds import Screener, trial
from aimds.detect.patterns.keys import SigningKey
from aimds.errors import ArtefactError, ConfigError
from aimds.learn import events, rounds
from aimds.learn.proposal import Proposal
from aimds.learn.rounds import Learned
from aimds.respond.policy import Policy
from aimds.schema import requests

KEY = SigningKey.of(bytes(range(32)))
SIGNED: dict[str, Any] = {"key": KEY, "now": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "by": "someone"}
UNSEEN = VARIANTS[12:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "learning"
    events.create(made, key=KEY, name="one", now=SIGNED["now"])
    passed = {**proposal().report, "checks": [{"name": "all", "passed": True, "says": "fine"}]}
    rounds.record(made, Proposal(proposal().candidate, (), passed), **SIGNED)
    return made


def screener(folder: Path) -> Screener:
    return Screener(detector(), Policy.load(), learned=Learned.load(folder))


def actions(one: Screener, batch: pa.RecordBatch) -> list[str]:
    return list(one.screen_batch(batch).column("action").to_pylist())


def test_a_promotion_is_taken_up_by_the_next_batch_and_a_rollback_too(folder: Path) -> None:
    one = screener(folder)
    batch = requests(pa.table({"text": UNSEEN}))
    before, untaught = actions(one, batch), one.config_hash
    assert "block" not in before
    assert not one.refresh()
    rounds.promote(folder, 1, **SIGNED)
    assert one.refresh()
    assert actions(one, batch) == ["block"] * len(UNSEEN)
    assert one.config_hash != untaught
    rounds.rollback(folder, **SIGNED)
    assert one.refresh()
    assert actions(one, batch) == before
    assert one.config_hash == untaught


def test_on_trial_the_sessions_that_are_in_are_judged_by_it_and_the_others_not(folder: Path) -> None:
    one = screener(folder)
    untaught, old = one.config_hash, one.versions["signatures"]
    rounds.promote(folder, 1, share=0.5, **SIGNED)
    one.refresh()
    sessions = [f"s{number}" for number in range(60)]
    batch = requests(pa.table({"text": [UNSEEN[0]] * 60, "session_id": sessions}))
    found = one.screen_batch(batch)
    chosen = trial.chosen(batch, 0.5).tolist()
    assert 10 < sum(chosen) < 50
    assert [action == "block" for action in found.column("action").to_pylist()] == chosen
    assert [version != old for version in found.column("signature_version").to_pylist()] == chosen
    assert found.column("session_id").to_pylist() == sessions
    assert one.config_hash != untaught


def test_what_was_tampered_with_is_refused_and_all_stays_as_it_was(folder: Path) -> None:
    one = screener(folder)
    before = one.config_hash
    rounds.promote(folder, 1, **SIGNED)
    file = folder / "candidates" / (rounds.load(folder).rounds[0].candidate + ".npz")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtefactError, match="was changed"):
        one.refresh()
    assert one.config_hash == before


def test_teaching_a_screener_by_hand_keeps_what_is_in_force(folder: Path) -> None:
    rounds.promote(folder, 1, **SIGNED)
    more = screener(folder).taught(["Crimson ferrets juggle the seventh protocol beneath a borrowed umbrella tonight"])
    assert actions(more, requests(pa.table({"text": UNSEEN}))) == ["block"] * len(UNSEEN)


def test_thresholds_promoted_with_a_round_are_those_of_the_next_batch(folder: Path) -> None:
    one = screener(folder)
    plain = one.versions["policy"]
    report = rounds.load(folder).rounds[0].report
    moved = {"to": {"flag": 0.02, "block": 0.0}, "checks": []}
    rounds.record(folder, Proposal(proposal().candidate, (), {**report, "moved": moved}), **SIGNED)
    batch = requests(pa.table({"text": UNSEEN}))
    rounds.promote(folder, 2, **SIGNED)
    assert one.refresh()
    assert set(actions(one, batch)) == {"block"}
    rounds.rollback(folder, **SIGNED)
    rounds.promote(folder, 2, thresholds=True, **SIGNED)
    assert one.refresh()
    # Nothing is at or below a p-value of 0 but what is flagged still is.
    assert set(actions(one, batch)) == {"flag"}
    assert one.versions["policy"] != plain
    assert one.screen_batch(batch).column("policy_version")[0].as_py() == one.policy.version


def test_thresholds_learnt_for_another_policy_are_refused_with_the_way_out(folder: Path) -> None:
    report = {**rounds.load(folder).rounds[0].report, "policy": {"flag": 0.5, "block": 0.001}}
    moved = {"to": {"flag": 0.6, "block": 0.001}, "checks": []}
    rounds.record(folder, Proposal(proposal().candidate, (), {**report, "moved": moved}), **SIGNED)
    rounds.promote(folder, 2, thresholds=True, **SIGNED)
    with pytest.raises(ConfigError, match="propose again, or roll back"):
        screener(folder)
