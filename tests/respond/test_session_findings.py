"""A row that its session raises says what raised it, behind what it shows by itself."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import verdict_factory
from verdict_batches import batch

from aimds import data
from aimds.respond import session_findings
from aimds.respond.policy import Policy
from aimds.respond.session_findings import SIGNS, told
from aimds.schema import VERDICTS
from aimds.taxonomy import get
from aimds.verdicts import SESSIONS, named_by_session

SHIPPED = tomllib.loads(data.read_bytes("policy.toml").decode())
OWN = {"detector": "rules", "pattern_id": "inj.override", "start": 3, "end": 9, "score": 0.5}
INJECTION = {"action": "flag", "threat_type": "direct_injection", "p_value": 0.005, "severity": 0.7, "evidence": [OWN]}
SIGN = {name: place for place, name in enumerate(SIGNS)}


def policy(**parts: Any) -> Policy:
    return Policy({**SHIPPED, **parts})


def raised(rows: list[dict[str, Any]], signs: list[int] | None = None, **parts: Any) -> list[dict[str, Any]]:
    unnamed = parts.pop("unnamed", ())
    codes = None if signs is None else np.array(signs, np.int8)
    found = policy(**parts).with_sessions(batch(*rows), codes, unnamed)
    found.validate(full=True)
    assert found.schema == VERDICTS
    return found.to_pylist()


def ids(row: dict[str, Any]) -> list[str]:
    return [item["pattern_id"] for item in row["evidence"]]


def test_a_row_that_only_its_session_raises_is_named_and_says_what_the_score_rests_on() -> None:
    (row, calm) = raised([{"session_score": 0.97}, {"session_score": 0.5}], [SIGN["rise"], SIGN["peak"]])
    assert (row["action"], row["threat_type"]) == ("flag", "multi_turn")
    assert row["evidence"] == [
        {"detector": SESSIONS, "pattern_id": "sessions.rise", "start": 0, "end": 0, "score": np.float32(0.97)}
    ]
    assert row["severity"] == pytest.approx(0.97 * get("multi_turn").impact)
    assert (calm["action"], calm["threat_type"], calm["severity"], calm["evidence"]) == ("allow", "none", 0.0, [])


def test_a_score_that_rests_on_nothing_told_is_named_as_a_score() -> None:
    assert ids(raised([{"session_score": 0.97}])[0]) == ["sessions.score"]


def test_what_a_row_shows_by_itself_stays_and_stands_first() -> None:
    block = {"critical": {"action": "block", "session_action": "none"}}
    row = raised([{**INJECTION, "session_score": 0.97}], [SIGN["peak"]], sessions={**SHIPPED["sessions"], **block})[0]
    assert (row["action"], row["threat_type"], row["severity"]) == ("block", "direct_injection", np.float32(0.7))
    assert ids(row) == ["inj.override", "sessions.peak"]
    assert row["evidence"][0] == {**OWN, "score": np.float32(0.5)}


def test_a_session_that_asks_for_no_more_than_the_row_does_is_no_evidence() -> None:
    rows = [
        {**INJECTION, "session_score": 0.97, "violations": ["threat_rate"]},
        {"action": "block", "p_value": 1e-9},
    ]
    found = raised(rows)
    assert [ids(row) for row in found] == [["inj.override"], []]


def test_broken_policies_and_held_sessions_are_named_each_by_its_own() -> None:
    found = raised([{"violations": ["a", "b"]}, {"violations": ["session_quarantined"]}, {"violations": ["session_rate_limited"]}])  # fmt: skip
    assert [ids(row) for row in found] == [
        ["sessions.policy.a", "sessions.policy.b"],
        ["sessions.quarantine"],
        ["sessions.rate_limit"],
    ]
    assert {row["threat_type"] for row in found} == {"multi_turn"}
    assert all(item["score"] == 1.0 for row in found for item in row["evidence"])


def test_a_policy_that_says_nothing_of_manipulation_is_evidence_and_names_nothing() -> None:
    rows = [{"violations": ["no_pii_exposure"]}, {"violations": ["no_pii_exposure", "threat_rate"]}]
    quiet, both = raised(rows, unnamed={"no_pii_exposure"})
    assert (quiet["action"], quiet["threat_type"], quiet["severity"]) == ("flag", "none", 0.0)
    assert ids(quiet) == ["sessions.policy.no_pii_exposure"]
    assert both["threat_type"] == "multi_turn"


def test_a_session_that_is_only_limited_says_why_though_the_row_is_allowed() -> None:
    limits = {"critical": {"action": "allow", "session_action": "quarantine"}}
    row = raised([{"session_score": 0.99}], [SIGN["spread"]], sessions={**SHIPPED["sessions"], **limits})[0]
    assert (row["action"], row["session_action"], ids(row)) == ("allow", "quarantine", ["sessions.spread"])


def test_steps_one_after_another_say_what_all_at_once_says() -> None:
    block = {**SHIPPED["traces"], "threat_rate": {"action": "block"}}
    rows = [
        {"session_score": 0.97, "violations": ["threat_rate", "x"]},
        {"session_score": 0.97, "violations": ["x"]},
        {"session_score": 0.1, "violations": ["x", "threat_rate"]},
        {**INJECTION, "session_score": 0.97, "violations": ["threat_rate"]},
        {},
    ]
    chosen, signs = policy(traces=block), np.array([SIGN["mean"]] * 5, np.int8)
    whole = batch(*rows)
    place = whole.schema.get_field_index("violations")
    before = batch(*({**row, "violations": []} for row in rows))
    first = chosen.with_sessions(before, signs)
    second = chosen.with_sessions(first.set_column(place, VERDICTS.field(place), whole.column(place)))
    assert second.to_pylist() == chosen.with_sessions(whole, signs).to_pylist()
    assert chosen.with_sessions(second, signs) is second


def test_a_row_that_nobody_could_judge_keeps_its_unknown_severity() -> None:
    row = raised([{"status": "error", "p_value": None, "severity": None, "score": None, "session_score": 0.97}])[0]
    assert (row["severity"], row["threat_type"], ids(row)) == (None, "multi_turn", ["sessions.score"])


def test_shadow_mode_says_what_raised_a_row_where_it_raised_it() -> None:
    shadow = {"sessions": {**SHIPPED["sessions"], "critical": {"action": "block", "session_action": "none"}}}
    rows = [{"session_score": 0.97}, {"session_score": 0.97, "action": "flag"}]
    found = raised(rows, mode="shadow", **shadow)
    assert [(row["action"], ids(row)) for row in found] == [("flag", ["sessions.score"]), ("flag", [])]


def test_every_finding_of_a_session_is_told_in_words_and_no_other_is() -> None:
    known = [*(f"sessions.{name}" for name in (*SIGNS, "score", "quarantine", "rate_limit")), "sessions.policy.a"]
    words = [told(name) for name in known]
    assert None not in words
    assert len(set(words)) == len(words)
    assert (told("sessions.none"), told("inj.override"), told("classifier.rise")) == (None, None, None)


def test_rows_that_their_session_named_are_told_from_those_that_show_it_themselves() -> None:
    rows = [
        {"threat_type": "multi_turn", "p_value": 0.5},
        {"threat_type": "multi_turn", "p_value": 0.005},
        {"threat_type": "multi_turn", "p_value": None},
        {"threat_type": "pii_exposure", "p_value": 0.5},
        {},
    ]
    found = batch(*rows)
    assert named_by_session(found).tolist() == [True, False, True, False, False]
    assert named_by_session(pa.Table.from_batches([found])).tolist() == named_by_session(found).tolist()
    assert not named_by_session(found.drop_columns(["p_value"])).any()


def test_evidence_of_two_makers_is_joined_row_by_row_and_missing_lists_are_empty() -> None:
    kind = VERDICTS.field("evidence").type
    one = pa.array([[OWN], None, [], [OWN, {**OWN, "pattern_id": "b"}]], kind)
    more = pa.array([None, [OWN], [], [{**OWN, "pattern_id": "c"}]], kind)
    found = session_findings.joined(one, more).to_pylist()
    assert [[item["pattern_id"] for item in row] for row in found] == [
        ["inj.override"],
        ["inj.override"],
        [],
        ["inj.override", "b", "c"],
    ]
    assert session_findings.joined(one.slice(3), more.slice(3)).to_pylist() == found[3:]


def test_ids_of_what_raised_rows_are_listed_by_row() -> None:
    mine = {**OWN, "detector": SESSIONS, "pattern_id": "sessions.peak"}
    rows = [verdict_factory.row(i, evidence=found) for i, found in enumerate([[], [OWN, mine], [OWN]])]
    found = verdict_factory.table(rows, text=False).to_batches()[0]
    assert session_findings.ids(found) == {1: ["sessions.peak"]}
    assert session_findings.ids(found.slice(1)) == {0: ["sessions.peak"]}
