"""Texts go after a while, subjects when they ask, down to the bytes in the files."""

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


def bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def filled(folder: Path) -> Queue:
    made = queue(folder, case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one"))
    around = turn(1, text=f"before {NEEDLE}", session_id="s-one")
    made.add([case(2, text="other", session_id="s-two")], [around], START, "scan")
    made.decide(ADA, 1, "benign", f"says {NEEDLE}", START)
    Proposals(made.store).propose(ADA, 1, "text", f"because {NEEDLE}", (START + 30 * DAY).date(), START)
    return made


def test_old_texts_leave_the_files_and_decisions_stay(tmp_path: Path) -> None:
    made = queue(tmp_path, case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one"))
    made.add([], [turn(1, text=f"before {NEEDLE}", session_id="s-one")], START, "scan")
    made.add([case(2)], (), START + 5 * DAY, "scan")
    made.decide(ADA, 1, "attack", "seen", START)
    assert NEEDLE.encode() in bytes_on_disk(tmp_path)
    assert remove_texts(made.store, START, START, "clock") == 0
    assert remove_texts(made.store, START + DAY, START + 6 * DAY, "clock") == 1
    assert remove_texts(made.store, START + DAY, START + 6 * DAY, "clock") == 0
    assert NEEDLE.encode() not in bytes_on_disk(tmp_path)
    old, new = made.get(ADA, 1), made.get(ADA, 2)
    assert (old.case.text, old.text_removed, old.label) == (None, True, "attack")
    assert new.case.text is not None
    assert made.history(ADA, 1)[-1].what == "text removed"
    assert made.add([case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one")], (), START, "scan").known == 1


def test_an_erased_subject_leaves_the_files_but_not_the_figures(tmp_path: Path) -> None:
    made = filled(tmp_path)
    assert erase(made.store, Subject(session="s-one"), START + DAY, "ben") == 1
    found = bytes_on_disk(tmp_path)
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


def test_an_erased_verdict_is_not_queued_again(tmp_path: Path) -> None:
    made = filled(tmp_path)
    erase(made.store, Subject(session="s-one"), START, "ben")
    again = made.add([case(0, text=f"{NEEDLE} {'long ' * 3000}", session_id="s-one")], (), START + DAY, "scan")
    assert again.known == 1
    assert NEEDLE.encode() not in bytes_on_disk(tmp_path)


def test_all_that_is_given_has_to_fit(tmp_path: Path) -> None:
    made = queue(tmp_path, case(0), case(1, tenant="globex-test"))
    assert erase(made.store, Subject(tenant="globex-test", request="r0000000"), START, "ben") == 0
    assert erase(made.store, Subject(tenant="globex-test"), START, "ben") == 1
    assert made.matching(BEN, START, Filter("all", tenant="acme-test")) == 1
    with pytest.raises(ConfigError, match="a session, tenant, request or identity"):
        Subject()
    with pytest.raises(ConfigError, match="items name no identity"):
        erase(made.store, Subject(identity="ada"), START, "ben")
