"""What passes needs two people, and says so in the form a policy reads."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from review_cases import ADA, BEN, EVE, HOUR, START, case, queue

from aimds.errors import ConfigError
from aimds.respond.review import Queue, Reviewer, ReviewError
from aimds.respond.review.allow import Proposal, Proposals, toml

LATER = date(2027, 6, 30)
RAISED = {"detector": "sessions", "pattern_id": "sessions.rise", "start": 0, "end": 0, "score": 0.97}


def benign(where: Path | str, **changed: Any) -> tuple[Queue, Proposals]:
    made = queue(where, case(**changed))
    made.decide(ADA, 1, "benign", "a quotation", START)
    return made, Proposals(made.store)


def propose(proposals: Proposals, scope: str = "text", who: Reviewer = ADA, **more: Any) -> Proposal:
    return proposals.propose(who, 1, scope, "quoted in our handbook", LATER, START, **more)


def test_an_entry_needs_another_person_than_who_proposed_it(place: Path | str) -> None:
    made, proposals = benign(place)
    found = propose(proposals)
    assert found.state == "open"
    assert toml(proposals.listed(ADA)) == ""
    for name in ("ada", " ADA", "Ada", "\uff21\uff24\uff21"):
        with pytest.raises(ReviewError, match="another person") as told:
            proposals.approve(Reviewer(name), found.id, "fine", START)
        assert told.value.kind == "same_person"
    approved = proposals.approve(BEN, found.id, "I read it", START + HOUR)
    assert (approved.state, approved.answered_by, approved.answer) == ("approved", "ben", "I read it")
    for answer in (proposals.approve, proposals.reject):
        with pytest.raises(ReviewError, match="approved already"):
            answer(BEN, found.id, "again", START)
    assert [event.what for event in made.history(ADA, 1)] == ["added", "decided", "proposed", "approved"]


def test_an_approved_entry_reads_as_a_table_of_the_policy(place: Path | str) -> None:
    made, proposals = benign(place, tenant='a"c\\me\x7f')
    text = made.get(ADA, 1).case.text
    assert text is not None
    one = propose(proposals)
    two = propose(proposals, "pattern")
    three = propose(proposals, "threat")
    rejected = proposals.reject(BEN, three.id, "too much", START)
    assert rejected.state == "rejected"
    for found in (one, two):
        proposals.approve(BEN, found.id, "I read it", START)
    entries = tomllib.loads(toml(proposals.listed(ADA)))["allowlist"]
    shared = {
        "tenant": 'a"c\\me\x7f',
        "expires": LATER,
        "approved_by": ["ada", "ben"],
        "reason": "quoted in our handbook",
    }
    assert entries == [
        {"sha256": hashlib.sha256(text).hexdigest(), **shared},
        {"pattern_id": "inj.override", **shared},
    ]


def test_what_is_not_benign_cannot_be_let_pass(place: Path | str) -> None:
    made = queue(place, case(0), case(1))
    proposals = Proposals(made.store)
    with pytest.raises(ReviewError, match="decide it first"):
        propose(proposals)
    made.decide(ADA, 1, "attack", "an order", START)
    with pytest.raises(ReviewError, match="decide it first"):
        propose(proposals)


def test_undoing_a_decision_takes_what_followed_from_it_back(place: Path | str) -> None:
    made, proposals = benign(place)
    one, two = propose(proposals), propose(proposals, "threat")
    proposals.approve(BEN, one.id, "I read it", START)
    made.undo(BEN, 1, "it was an attack", START)
    assert [found.state for found in proposals.listed(ADA)] == ["withdrawn", "withdrawn"]
    assert toml(proposals.listed(ADA)) == ""
    with pytest.raises(ReviewError, match="withdrawn already"):
        proposals.approve(BEN, two.id, "fine", START)


def test_who_proposed_it_may_take_it_back(place: Path | str) -> None:
    _, proposals = benign(place)
    found = propose(proposals)
    assert proposals.reject(ADA, found.id, "I was wrong", START).state == "withdrawn"
    assert propose(proposals).state == "open"


def test_the_same_entry_is_not_proposed_twice(place: Path | str) -> None:
    _, proposals = benign(place)
    propose(proposals)
    with pytest.raises(ReviewError, match="proposal 1"):
        propose(proposals, who=BEN)


@pytest.mark.parametrize(
    ("changed", "scope", "more", "said"),
    [
        ({}, "all", {}, "text, pattern, threat"),
        ({"text": None}, "text", {}, "not there any more"),
        ({"threat": "harmful_request"}, "threat", {}, "text or pattern"),
        ({}, "pattern", {"pattern_id": "other"}, "inj.override"),
        ({"evidence": []}, "pattern", {}, "no evidence"),
        ({"evidence": [RAISED]}, "pattern", {"pattern_id": "sessions.rise"}, "no evidence"),
        ({"threat": "multi_turn", "p_value": 0.5}, "threat", {}, "only the session"),
    ],
)
def test_a_scope_that_does_not_fit_the_item_is_refused(
    place: Path | str, changed: dict[str, Any], scope: str, more: dict[str, Any], said: str
) -> None:
    _, proposals = benign(place, **changed)
    with pytest.raises(ConfigError, match=said):
        propose(proposals, scope, **more)


def test_a_day_that_has_passed_is_refused(place: Path | str) -> None:
    _, proposals = benign(place)
    with pytest.raises(ConfigError, match="to come"):
        proposals.propose(ADA, 1, "text", "fine", START.date(), START)
    found = proposals.propose(ADA, 1, "text", "fine", date(2026, 3, 3), START)
    with pytest.raises(ReviewError, match="has expired"):
        proposals.approve(BEN, found.id, "fine", START + 48 * HOUR)


def test_another_tenant_s_proposals_are_not_there(place: Path | str) -> None:
    _, proposals = benign(place)
    found = propose(proposals)
    assert proposals.listed(EVE) == []
    for answer in (proposals.approve, proposals.reject):
        with pytest.raises(ReviewError) as told:
            answer(EVE, found.id, "fine", START)
        assert told.value.kind == "missing"
