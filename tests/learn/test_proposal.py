"""A proposal says truly what it would change: attacks are held out, canaries are never taught, and it tells both."""

from __future__ import annotations

import pytest
import teaching_material as material
from feedback_factory import row, table
from proposal_factory import CANARIES, VARIANTS, detector, proposal

from aimds.errors import DataError
from aimds.learn.lessons import lessons
from aimds.learn.proposal import p_values, propose


def test_variants_of_a_confirmed_attack_are_caught_in_the_next_batch() -> None:
    unseen = VARIANTS[12:]
    before = p_values(detector(), unseen, ["user"] * len(unseen))
    after = p_values(proposal().candidate.apply(detector()), unseen, ["user"] * len(unseen))
    assert (before <= 0.01).sum() <= 1
    assert (after <= 0.001).all()


def test_the_report_counts_held_out_attacks_and_canaries() -> None:
    report = proposal().report
    held = report["held_out"]
    assert (held["attacks"], report["folds"], report["lessons"]["new"]) == (12, 2, 12)
    assert held["after"] - held["before"] == held["gained"] - held["lost"]
    assert held["gained"] >= 6
    assert report["canary"]["texts"] == len(material.BENIGN)
    assert report["unjudged"] == 0
    # So few canaries cannot show that at most 2 in 1,000 are blocked anew.
    assert [check["passed"] for check in report["checks"]] == [True, True, False]
    assert not proposal().passed


def test_an_attack_unlike_all_others_does_not_gain_by_being_taught_itself() -> None:
    alone = ["Crimson ferrets juggle the seventh protocol beneath a borrowed umbrella tonight", *VARIANTS[:3]]
    given = lessons(table([row(number, text) for number, text in enumerate(alone)]))
    report = propose(detector(), given, CANARIES, fold_count=4).report["held_out"]
    assert report["after"] <= 3


def test_a_canary_that_was_taught_is_no_canary() -> None:
    rows = [row(1, VARIANTS[0]), row(2, material.BENIGN[0].upper(), "benign")]
    made = propose(detector(), lessons(table(rows)), CANARIES, fold_count=1)
    assert made.report["canary"]["texts"] == len(material.BENIGN) - 1
    assert len(made.candidate.benign) == 1


def test_beside_what_is_in_force_only_what_is_new_counts_as_gain() -> None:
    given = lessons(table([row(number, text) for number, text in enumerate(VARIANTS[:12])]))
    again = propose(detector(), given, CANARIES, current=proposal().candidate, fold_count=2).report
    assert (again["held_out"]["gained"], again["held_out"]["lost"], again["lessons"]["new"]) == (0, 0, 0)


def test_nothing_to_learn_is_said() -> None:
    with pytest.raises(DataError, match="no confirmed attack"):
        propose(detector(), lessons(table([row(1, "fine", "benign")])), CANARIES)


def test_thresholds_that_would_move_are_held_to_the_same_gate() -> None:
    found = proposal().report
    assert found["policy"] == found["levels"]
    moved = found["moved"]
    flag, block = (found["thresholds"][name] for name in ("flag", "block"))
    # So few canaries prove a flag threshold only.
    assert block["step"] is None
    assert moved["to"] == {"flag": flag["step"], "block": min(block["now"], flag["step"])}
    assert moved["held_out"]["before"] == found["held_out"]["before"]
    assert moved["canary"]["flag"]["before"] == found["canary"]["flag"]["before"]
    assert [check["name"] for check in moved["checks"]] == [check["name"] for check in found["checks"]]
