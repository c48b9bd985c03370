"""A log that is checked while subjects are taken out of it: no false alarm, and no true one lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.errors import DataError
from aimds.record import erasure, segments, verification
from aimds.record.audit import AuditLog, Rotation
from aimds.record.erasure import erase, retain
from aimds.record.keeping import keeping_path
from aimds.record.subject import Subject
from aimds.record.verification import Report, verify

KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
SUBJECT = Subject(session="sess-1")


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    clock = [NOON]

    def now() -> datetime:
        clock[0] += timedelta(hours=1)
        return clock[0]

    made = AuditLog(tmp_path / "log", key=KEY, signing=PAIR, rotation=Rotation(segment_bytes=4000), now=now)
    for i in range(40):
        made.append("verdict", {"i": i, "session_id": f"sess-{i % 3}", "request_id": f"r{i}"})
        made.flush()
    return made


def checked_while(log: AuditLog, step: Callable[[], object], monkeypatch: pytest.MonkeyPatch, at: int) -> Report:
    """The report of a check that is interrupted by ``step`` after ``at`` lines."""
    monkeypatch.setattr(verification, "STEP", 1)
    told = 0

    def progress(_done: int, _total: int) -> None:
        nonlocal told
        told += 1
        if told == at:
            step()

    return verify(log.path, key=KEY, public=[PAIR.public_key()], progress=progress)


@pytest.mark.parametrize("at", [1, 20, 40, 55])
def test_an_erasure_in_the_middle_of_a_check_is_no_false_alarm(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with log:
        report = checked_while(log, lambda: erase(log, SUBJECT), monkeypatch, at)
        assert report.ok, report.problems
        assert report.erased in (0, 13)
        assert verify(log.path, key=KEY).erased == 13
        assert not keeping_path(log.path).exists()


@pytest.mark.parametrize("at", [1, 20, 40])
def test_what_is_let_go_in_the_middle_of_a_check_is_no_false_alarm(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with log:
        gone = segments.looked_at(segments.closed(log.path)[1])
        step = lambda: retain(log, datetime.fromisoformat(gone.until) + timedelta(seconds=1))  # noqa: E731
        report = checked_while(log, step, monkeypatch, at)
        assert report.ok, report.problems
        assert segments.closed(log.path)[0].name.endswith("3")


def test_a_check_waits_for_an_erasure_that_has_begun(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, real = threading.Event(), threading.Event(), erasure._rewrite

    def slow(*arguments: object) -> None:
        begun.set()
        assert go_on.wait(30)
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(erasure, "_rewrite", slow)
    with log:
        eraser = threading.Thread(target=erase, args=(log, SUBJECT))
        eraser.start()
        assert begun.wait(30)
        # The record that says so is there, and all that it names is still there too.
        waker = threading.Timer(0.3, go_on.set)
        waker.start()
        report = verify(log.path, key=KEY)
        eraser.join()
        waker.join()
    assert report.ok, report.problems
    assert report.erased == 13


def test_a_change_beside_an_erasure_is_still_found(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with log:
        first = segments.closed(log.path)[0]

        def both() -> None:
            erase(log, SUBJECT)
            first.write_bytes(first.read_bytes().replace(b'"i":2}', b'"i":7}'))

        report = checked_while(log, both, monkeypatch, 1)
    assert {problem.kind for problem in report.problems} == {"edit"}


def test_a_mark_that_a_kill_left_keeps_nobody_waiting(log: AuditLog) -> None:
    path = log.path
    log.close()
    first = segments.closed(path)[0]
    whole = first.read_bytes()
    first.write_bytes(whole.replace(b'"i":2}', b'"i":7}'))
    keeping_path(path).touch()
    assert not verify(path, key=KEY).ok
    first.write_bytes(whole)
    AuditLog(path, key=KEY, signing=PAIR).close()
    assert not keeping_path(path).exists()


def test_without_a_place_for_the_mark_nothing_is_erased(log: AuditLog) -> None:
    keeping_path(log.path).mkdir()
    with log, pytest.raises(DataError, match="keeping"):
        erase(log, SUBJECT)
    assert verify(log.path, key=KEY).erased == 0
