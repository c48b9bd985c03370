"""Rounds: only what passed the gate comes into force, a named person answers for it, and one can go back."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from aimds.detect.exemplars import Vectors
from aimds.detect.patterns import Pattern
from aimds.detect.patterns.keys import SigningKey
from aimds.errors import ArtefactError, ConfigError
from aimds.learn import events, rounds
from aimds.learn.candidate import Candidate
from aimds.learn.gate import Check
from aimds.learn.proposal import Proposal
from aimds.learn.rounds import Learned

KEY = SigningKey.of(bytes(range(32)))
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SIGNED: dict[str, Any] = {"key": KEY, "now": NOW}


def proposal(number: int, passed: bool = True) -> Proposal:
    pattern = Pattern(
        f"taught.{number}", "jailbreak", 0.8, "en", "mined", f"the purple walrus commands teapot {number}"
    )
    made = Candidate("model", 16, Vectors.empty(), Vectors.empty(), ((pattern, 0.25),))
    checks = (Check("gain", passed, "a gain" if passed else "no gain at all"),)
    report = {"checks": [{"name": "gain", "passed": passed, "says": checks[0].says}], "held_out": {"gain": number}}
    return Proposal(made, checks, report)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "learning"
    events.create(made, key=KEY, name="one", now=NOW)
    for number in (1, 2, 3):
        rounds.record(made, proposal(number, passed=number != 3), by="proposer", **SIGNED)
    return made


def in_force(folder: Path) -> list[str]:
    found = Learned.load(folder).current
    return [pattern.id for pattern, _ in found.patterns] if found else []


def test_a_proposal_changes_nothing_until_it_is_promoted(folder: Path) -> None:
    assert in_force(folder) == []
    assert [one.number for one in rounds.load(folder).rounds] == [1, 2, 3]
    assert rounds.promote(folder, 2, by="someone", **SIGNED).current == 2
    assert in_force(folder) == ["taught.2"]
    assert rounds.load(folder).events[-1].by == "someone"


def test_a_round_that_did_not_pass_is_never_promoted(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no gain at all"):
        rounds.promote(folder, 3, by="someone", **SIGNED)
    with pytest.raises(ConfigError, match="no gain at all"):
        rounds.promote(folder, 3, share=0.01, by="someone", **SIGNED)
    assert in_force(folder) == []


@pytest.mark.parametrize("by", ["", "  "])
def test_nobody_answers_for_nothing(folder: Path, by: str) -> None:
    with pytest.raises(ConfigError, match="name of the person"):
        rounds.promote(folder, 1, by=by, **SIGNED)
    with pytest.raises(ConfigError, match="name of the person"):
        rounds.rollback(folder, by=by, **SIGNED)


def test_a_trial_leaves_what_is_in_force_and_ends_by_promotion_or_rollback(folder: Path) -> None:
    rounds.promote(folder, 1, by="a", **SIGNED)
    state = rounds.promote(folder, 2, share=0.1, by="a", **SIGNED)
    assert (state.current, state.trial, state.share) == (1, 2, 0.1)
    assert Learned.load(folder).numbers == (1, 2)
    state = rounds.rollback(folder, by="a", **SIGNED)
    assert (state.current, state.trial, state.share) == (1, 0, 0.0)
    rounds.promote(folder, 2, share=0.5, by="a", **SIGNED)
    state = rounds.promote(folder, 2, by="a", **SIGNED)
    assert (state.current, state.trial, state.earlier) == (2, 0, (0, 1))


def test_rollback_goes_back_one_at_a_time_or_to_a_round_that_was_in_force(folder: Path) -> None:
    rounds.promote(folder, 1, by="a", **SIGNED)
    rounds.promote(folder, 2, by="a", **SIGNED)
    assert rounds.rollback(folder, by="a", **SIGNED).current == 1
    assert rounds.rollback(folder, by="a", **SIGNED).current == 0
    with pytest.raises(ConfigError, match="nothing"):
        rounds.rollback(folder, by="a", **SIGNED)
    rounds.promote(folder, 2, by="a", **SIGNED)
    rounds.promote(folder, 1, by="a", **SIGNED)
    with pytest.raises(ConfigError, match="was in force: 0, 1, 2"):
        rounds.rollback(folder, 3, by="a", **SIGNED)
    assert rounds.rollback(folder, 0, by="a", **SIGNED).current == 0


def test_a_changed_or_missing_candidate_is_refused(folder: Path) -> None:
    rounds.promote(folder, 1, by="a", **SIGNED)
    file = folder / "candidates" / (rounds.load(folder).rounds[0].candidate + ".npz")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(ArtefactError, match="was changed"):
        Learned.load(folder)
    file.unlink()
    with pytest.raises(ArtefactError, match="not kept"):
        Learned.load(folder)


def test_a_change_is_seen_and_a_state_that_went_back_is_refused(folder: Path) -> None:
    rounds.promote(folder, 1, by="a", **SIGNED)
    known = Learned.load(folder)
    assert not known.changed()
    rounds.promote(folder, 2, by="a", **SIGNED)
    assert known.changed()
    newer = known.reload()
    assert newer.numbers == (2, 0)
    for number in (4, 5):
        for suffix in (".json", ".sig"):
            events.event_file(folder, number).with_suffix(suffix).unlink()
    with pytest.raises(ArtefactError):
        newer.reload()


def test_of_many_rounds_the_last_are_kept_and_the_one_in_force(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "KEPT", 2)
    rounds.promote(folder, 1, by="a", **SIGNED)
    for number in (4, 5, 6):
        rounds.record(folder, proposal(number), **SIGNED)
    kept = {file.stem for file in (folder / "candidates").glob("*.npz")}
    state = rounds.load(folder)
    assert kept == {state.rounds[number - 1].candidate for number in (1, 5, 6)}
    with pytest.raises(ArtefactError, match="not kept"):
        rounds.promote(folder, 2, by="a", **SIGNED)
    assert len(state.rounds) == 6


def moving(passed: bool = True) -> Proposal:
    made = proposal(4)
    checks = [{"name": "benign texts", "passed": passed, "says": "too many of them"}]
    moved = {"policy": {"flag": 0.01, "block": 0.001}, "moved": {"to": {"flag": 0.02, "block": 5e-4}, "checks": checks}}
    return Proposal(made.candidate, made.checks, {**made.report, **moved})


def test_thresholds_move_only_where_that_is_asked_for_and_go_back_with_their_round(folder: Path) -> None:
    rounds.record(folder, moving(), **SIGNED)
    rounds.promote(folder, 1, by="a", **SIGNED)
    rounds.promote(folder, 4, share=0.5, by="a", **SIGNED)
    assert Learned.load(folder).moved == (None, None)
    rounds.promote(folder, 4, share=0.5, thresholds=True, by="a", **SIGNED)
    moved = {"from": {"flag": 0.01, "block": 0.001}, "to": {"flag": 0.02, "block": 5e-4}}
    assert Learned.load(folder).moved == (None, moved)
    rounds.promote(folder, 4, thresholds=True, by="a", **SIGNED)
    assert Learned.load(folder).moved == (moved, None)
    rounds.promote(folder, 2, by="a", **SIGNED)
    assert Learned.load(folder).moved == (None, None)
    rounds.rollback(folder, by="a", **SIGNED)
    assert Learned.load(folder).moved == (moved, None)
    rounds.rollback(folder, 0, by="a", **SIGNED)
    assert Learned.load(folder).moved == (None, None)


def test_thresholds_that_the_round_does_not_bear_out_are_not_moved(folder: Path) -> None:
    with pytest.raises(ConfigError, match="bear out other thresholds"):
        rounds.promote(folder, 1, thresholds=True, by="a", **SIGNED)
    rounds.record(folder, moving(passed=False), **SIGNED)
    with pytest.raises(ConfigError, match="too many of them"):
        rounds.promote(folder, 4, thresholds=True, by="a", **SIGNED)
    assert rounds.promote(folder, 4, by="a", **SIGNED).current == 4
