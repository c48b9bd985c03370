"""Texts go after a while, subjects when they ask, in a file down to its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_cases import ADA, BEN, DAY, START, case, queue, turn

from aimds.errors import ConfigError
from aimds.record.subject import Subject
from aimds.respond.review import Filter, Queue
from aimds.respond.review.allow import Proposals
from aimds.respond.review.retention import erase, remove_texts

NEEDLE = "zanzibar-ocelot-4711"


def left(made: Queue, where: Path | str) -> bytes:
    """All that can be found: the bytes of the file and of those beside it, or the rows of the database."""
    if isinstance(where, Path):
        return b"".join(path.read_bytes() for path in sorted(where.parent.iterdir()))
    with made.store.read() as base:
        found = [base.execute(f"SELECT * FROM {table}") for table in ("items", "turns", "history", "proposals")]
    return repr(found).encode()


def filled(where: Path | str) -> Queue:
    made = queue(where, case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one"))
    around = turn(1, text=f"before {NEEDLE}", session_id="s-one")
    made.add([case(2, text="other", session_id="s-two")], [around], START, "scan")
    made.decide(ADA, 1, "benign", f"says {NEEDLE}", START)
    Proposals(made.store).propose(ADA, 1, "text", f"because {NEEDLE}", (START + 30 * DAY).date(), START)
    return made


def test_old_texts_leave_the_queue_and_decisions_stay(place: Path | str) -> None:
    made = queue(place, case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one"))
    made.add([], [turn(1, text=f"before {NEEDLE}", session_id="s-one")], START, "scan")
    made.add([case(2)], (), START + 5 * DAY, "scan")
    made.decide(ADA, 1, "attack", "seen", START)
    assert NEEDLE.encode() in left(made, place)
    assert remove_texts(made.store, START, START, "clock") == 0
    assert remove_texts(made.store, START + DAY, START + 6 * DAY, "clock") == 1
    assert remove_texts(made.store, START + DAY, START + 6 * DAY, "clock") == 0
    assert NEEDLE.encode() not in left(made, place)
    old, new = made.get(ADA, 1), made.get(ADA, 2)
    assert (old.case.text, old.text_removed, old.label) == (None, True, "attack")
    assert new.case.text is not None
    assert made.history(ADA, 1)[-1].what == "text removed"
    assert made.add([case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one")], (), START, "scan").known == 1


def test_an_erased_subject_leaves_the_queue_but_not_the_figures(place: Path | str) -> None:
    made = filled(place)
    assert erase(made.store, Subject(session="s-one"), START + DAY, "ben") == 1
    found = left(made, place)
    assert NEEDLE.encode() not in found
    assert b"s-one" not in found
    assert b"r0000000" not in found
    item = made.get(ADA, 1)
    assert (item.case.text, item.case.tenant, item.case.session_id, item.label) == (None, None, None, "benign")
    assert item.case.request_id == "erased-1"
    assert made.counts(ADA, START).benign == 1
    assert [event.what for event in made.history(ADA, 1)] == ["added", "decided", "proposed", "erased"]
    assert [one.state for one in Proposals(made.store).listed(ADA)] == ["withdrawn"]
    assert made.get(ADA, 2).case.session_id == "s-two"


def test_an_erased_verdict_is_not_queued_again(place: Path | str) -> None:
    made = filled(place)
    erase(made.store, Subject(session="s-one"), START, "ben")
    again = made.add([case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one")], (), START + DAY, "scan")
    assert again.known == 1
    assert NEEDLE.encode() not in left(made, place)


def test_all_that_is_given_has_to_fit(place: Path | str) -> None:
    made = queue(place, case(0), case(1, tenant="globex-test"))
    assert erase(made.store, Subject(tenant="globex-test", request="r0000000"), START, "ben") == 0
    assert erase(made.store, Subject(tenant="globex-test"), START, "ben") == 1
    assert made.matching(BEN, START, Filter("all", tenant="acme-test")) == 1
    with pytest.raises(ConfigError, match="a session, tenant, request or identity"):
        Subject()
    with pytest.raises(ConfigError, match="items name no identity"):
        erase(made.store, Subject(identity="ada"), START, "ben")
