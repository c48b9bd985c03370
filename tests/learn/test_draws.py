"""Draws in an audit log, and what their sessions did next."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aimds.errors import DataError
from aimds.learn.draws import NEXT, TURNS, WINDOW_S, read
from aimds.record.audit import AuditLog
from aimds.record.chain import encode
from aimds.record.erasure import erase
from aimds.record.subject import Subject

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DRAWN = {"threat_type": "jailbreak", "action": "flag", "own": "flag", "drawn": "flag", "propensity": 0.5}
PASSED = {"threat_type": "none", "action": "allow"}
CAUGHT = {"threat_type": "jailbreak", "action": "block"}
Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Adds verdicts to a log, each ``(session, body)`` so many minutes after the one before."""
    clock, number = [START], [0]

    def add(*verdicts: tuple[str | None, dict[str, Any]], minutes: float = 1.0) -> None:
        with AuditLog(tmp_path / "audit.log", now=lambda: clock[0]) as log:
            for session, body in verdicts:
                number[0] += 1
                whose = {"request_id": f"r{number[0]}", "tenant": "acme", "session_id": session, "identity": "app"}
                log.append("verdict", {**whose, **body})
                clock[0] += timedelta(minutes=minutes)

    return add


def end(write: Write) -> None:
    """Time goes on until every window is over."""
    write((None, PASSED), (None, PASSED), minutes=2 * WINDOW_S / 60)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ([], "gone"),
        ([PASSED], "quiet"),
        ([{**CAUGHT, "text": "other"}], "rephrased"),
        ([{**CAUGHT, "text": "digest"}], "repeated"),
        ([{**CAUGHT, "threat_type": "prompt_leak"}], "other"),
        ([{**PASSED, "violations": ["no_tool_after_injection"]}], "broken"),
        ([{**PASSED, "violations": ["before"]}], "quiet"),
        ([{"threat_type": "none", "action": "block", "violations": ["session_quarantined"]}], "quiet"),
        ([PASSED, {**CAUGHT, "text": "other"}, PASSED], "rephrased"),
        ([{**CAUGHT, "text": "digest"}, {**PASSED, "violations": ["x"]}], "broken"),
        ([PASSED] * TURNS + [CAUGHT], "quiet"),
    ],
)
def test_what_a_session_did_next_is_told_by_what_tells_most(
    tmp_path: Path, write: Write, then: list[dict[str, Any]], expected: str
) -> None:
    write(("other", CAUGHT), ("s", {**CAUGHT, "text": "digest"}))
    write(("s", {**DRAWN, "text": "digest", "violations": ["before"]}), ("other", CAUGHT))
    write(*(("s", body) for body in then))
    end(write)
    (found,) = read(tmp_path / "audit.log")
    assert found.then == expected
    assert found.then in NEXT


def test_what_comes_after_the_window_says_nothing(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN), minutes=WINDOW_S / 60 + 1)
    write(("s", CAUGHT))
    end(write)
    assert [one.then for one in read(tmp_path / "audit.log")] == ["gone"]


def test_nothing_is_said_of_a_window_that_is_not_over_and_of_no_session(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN), ("s", CAUGHT))
    assert [one.then for one in read(tmp_path / "audit.log")] == [None]
    write((None, DRAWN))
    end(write)
    assert [one.then for one in read(tmp_path / "audit.log")] == ["rephrased", None]


def test_each_of_many_draws_of_a_session_has_its_own_next_turns(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN), ("s", DRAWN), ("s", PASSED), ("s", DRAWN))
    end(write)
    assert [one.then for one in read(tmp_path / "audit.log")] == ["rephrased", "rephrased", "gone"]


@pytest.mark.parametrize("again", [DRAWN, CAUGHT])
def test_an_id_that_was_given_twice_is_the_id_of_none(tmp_path: Path, write: Write, again: dict[str, Any]) -> None:
    write(("s", {**DRAWN, "request_id": "mine"}), ("s", DRAWN), ("t", {**again, "request_id": "mine"}))
    write(("u", {**DRAWN, "request_id": "yours"}), ("u", {**again, "request_id": "yours", "tenant": "globex"}))
    kept = [one.key for one in read(tmp_path / "audit.log") if one.key[0] == "acme"]
    assert kept == [("acme", "r2"), ("acme", "yours")]


def test_another_tenant_s_session_of_the_same_name_is_another_one(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN), ("s", {**CAUGHT, "tenant": "globex"}))
    end(write)
    assert [one.then for one in read(tmp_path / "audit.log")] == ["gone"]


def test_an_erased_subject_is_not_read(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN), ("t", DRAWN))
    with AuditLog(tmp_path / "audit.log") as log:
        erase(log, Subject(session="s"))
    assert [one.session for one in read(tmp_path / "audit.log")] == ["t"]


def test_a_log_that_is_damaged_or_missing_is_refused(tmp_path: Path, write: Write) -> None:
    write(("s", DRAWN))
    path = tmp_path / "audit.log"
    path.write_bytes(path.read_bytes().replace(b'"own":"flag"', b'"own":"blag"'))
    with pytest.raises(DataError, match="damaged at line 2"):
        read(path)
    with pytest.raises(DataError, match="no such log"):
        read(tmp_path / "none.log")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("threat_type", ["jailbreak"], "threat_type"),
        ("own", {"flag": 1}, "own"),
        ("drawn", [], "drawn"),
        ("action", 7, "action"),
        ("tenant", ["acme"], "tenant"),
        ("session_id", {"s": 1}, "session_id"),
        ("request_id", ["r"], "request_id"),
        ("time", "soon", "time"),
        ("time", "2026-03-02T08:00:00", "time"),
    ],
)
def test_a_forged_record_is_named_by_file_and_line_and_the_others_are_read(
    tmp_path: Path, write: Write, name: str, value: Any, said: str
) -> None:
    write(("s", DRAWN), ("s", DRAWN))
    end(write)
    log = tmp_path / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    place = next(at for at, line in enumerate(lines) if b'"propensity"' in line)
    fields = json.loads(lines[place])
    if name == "time":
        fields["time"] = value
    else:
        fields["private" if name in fields["private"] else "body"][name] = value
    forged, _ = encode(
        fields["seq"], fields["time"], "verdict", fields["body"], fields["prev"], fields["private"], None
    )
    lines[place] = forged
    log.write_bytes(b"".join(lines))
    told: list[str] = []
    found = read(log, say=told.append)
    assert [one.key for one in found] == [("acme", "r2")]
    assert len(told) == 1
    assert told[0].startswith(f"{log}: line {place + 1} is no record of a verdict and is left out: {said} = ")
