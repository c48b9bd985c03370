"""A log that is written while a subject is erased from it: nothing else is lost, and the chain verifies."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.errors import AimdsError, DataError
from aimds.record import segments
from aimds.record.audit import AuditLog
from aimds.record.erasure import erase, find
from aimds.record.rotation import Rotation
from aimds.record.subject import Subject
from aimds.record.verification import verify
from aimds.record.wanted import answer_path, answered, ask, serve, wanted_path, withdraw

KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
SUBJECT = Subject(session="sess-1", tenant="acme")


def opened(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, **{"key": KEY, "now": lambda: NOON, "rotation": Rotation(segment_bytes=20_000), **options})


def add(log: AuditLog, rows: int, session: int | None = None) -> None:
    for i in range(rows):
        whose = {"session_id": f"sess-{i % 3 if session is None else session}", "tenant": "acme"}
        log.append("verdict", {"i": i, "request_id": f"req-{i}", **whose})
        log.flush()


def question(
    path: Path, subject: Subject = SUBJECT, key: bytes | None = KEY, now: datetime = NOON, name: str = "q1"
) -> str:
    ask(path, subject, key, now=now, name=name)
    return name


def refused(log: AuditLog, now: datetime = NOON) -> str:
    with pytest.raises(AimdsError) as caught:
        serve(log, now)
    answer = answered(log.path, "q1") or answered(log.path, "")
    assert answer is not None
    assert answer["problem"] == str(caught.value)
    assert not wanted_path(log.path).exists()
    return str(caught.value)


def content(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def test_writer_is_asked_does_it_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        add(log, 30)
        assert serve(log, NOON) is None
        name = question(path)
        assert answered(path, name) is None
        found = serve(log, NOON)
        assert found is not None
        assert found.records == 10
        assert answered(path, name) == {"name": name, "records": 10}
        assert answered(path, name) is None
        assert serve(log, NOON) is None
        add(log, 3, session=2)
    assert verify(path, key=KEY).ok
    assert b"sess-1" not in content(path)
    assert find(path, Subject(session="sess-2")).records == 13
    assert not wanted_path(path).exists()


def test_records_that_are_added_while_a_subject_is_erased_are_whole_and_in_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path, signing=PAIR) as log:
        add(log, 60)
        ended = threading.Event()
        counts = [0, 0]

        def write(number: int) -> None:
            while not ended.is_set():
                add(log, 1, session=5 + number)
                counts[number] += 1

        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for subject in (SUBJECT, Subject(session="sess-0"), Subject(request="req-50")):
                name = question(path, subject, name=repr(subject))
                assert serve(log, NOON) is not None
                assert "records" in (answered(path, name) or {})
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    report = verify(path, key=KEY, public=[PAIR.public_key()])
    assert report.ok, report.problems
    assert min(counts) > 0
    assert [find(path, Subject(session=f"sess-{5 + number}")).records for number in range(2)] == counts
    for gone in (b'"sess-1"', b'"sess-0"', b'"req-50"'):
        assert gone not in content(path)


def test_file_that_is_closed_while_the_log_is_looked_through_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    real = segments.closed
    with opened(path, rotation=Rotation()) as log:
        add(log, 9)

        def late(at: Path) -> list[Path]:
            monkeypatch.setattr(segments, "closed", real)
            log.rotate()
            return real(at)

        monkeypatch.setattr(segments, "closed", late)
        assert find(path, SUBJECT).records == 3


@pytest.mark.parametrize(
    "subject",
    [
        Subject(session='s "quoted" \\ é\u2028'),
        Subject(session="a/b c"),
        Subject(tenant=""),
        Subject(identity="Zoë"),
        Subject(request="r", tenant=""),
    ],
)
def test_lines_are_passed_over_unread_only_where_they_cannot_be_about_the_subject(
    tmp_path: Path, subject: Subject
) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        whose = {"session_id": subject.session, "request_id": subject.request, "identity": subject.identity}
        log.append("verdict", {"tenant": subject.tenant, **whose})
        log.append("verdict", {"tenant": None, **whose})
        log.append("hold_ended", {"sender": subject.identity, "session_id": subject.session, "request_id": "r"})
        log.append("denied", {"path": "/v1/sessions/a%2Fb%20c/turns", "peer": "192.0.2.1"})
        log.append("verdict", {"tenant": "other", "session_id": "other", "request_id": "other", "identity": "other"})
        log.flush()
        slow, quick = find(path, subject), find(path, subject, checked=True)
        assert list(slow.spans) == list(quick.spans)
        assert slow.records > 0
        assert erase(log, subject, checked=True).records == slow.records
    assert find(path, subject).records == 0
    assert verify(path, key=KEY).ok


def test_question_without_the_key_of_the_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        add(log, 3)
        for key in (None, bytes(32)):
            question(path, key=key)
            assert "not sealed" in refused(log)
    assert find(path, SUBJECT).records == 1


def test_nobody_can_ask_for_what_a_signed_log_without_a_key_would_sign(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path, key=None, signing=PAIR) as log:
        add(log, 3)
        question(path, key=None)
        assert "not sealed" in refused(log)
    with opened(tmp_path / "plain", key=None) as log:
        add(log, 3)
        question(log.path, key=None)
        assert serve(log, NOON) is not None


def test_old_question_that_somebody_put_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        add(log, 3)
        question(path)
        assert "too long ago" in refused(log, NOON + timedelta(hours=2))


def test_question_that_was_done_and_put_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        add(log, 3)
        question(path)
        kept_back = wanted_path(path).read_bytes()
        assert serve(log, NOON) is not None
        add(log, 3)
        wanted_path(path).write_bytes(kept_back)
        assert "was done already" in refused(log)
    assert find(path, SUBJECT).records == 1


@pytest.mark.parametrize("content", [b"\n", b"[]\n", b"{}\n", b"\xff\n", b"[" * 5000 + b"\n", b'{"seal": "x"}\n'])
def test_file_that_is_no_question_is_refused_and_removed(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path / "log") as log:
        wanted_path(log.path).write_bytes(content)
        assert "no question" in refused(log)


def test_one_asks_at_a_time_and_a_question_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "log"
    now = datetime.now(UTC)
    question(path, now=now)
    with pytest.raises(DataError, match="another erasure waits"):
        question(path, now=now)
    # One that was left lying by somebody who was killed is in nobody's way for ever.
    question(path, now=now + timedelta(hours=2))
    assert not withdraw(path, "q0")
    assert wanted_path(path).exists()
    assert withdraw(path, "q1")
    assert not withdraw(path, "q1")


@contextlib.contextmanager
def kept(file: Path) -> Iterator[None]:
    mode = os.umask(0)
    try:
        yield
    finally:
        os.umask(mode)
        assert file.stat().st_mode & 0o77 == 0


def test_question_is_for_its_owner_only(tmp_path: Path) -> None:
    with kept(wanted_path(tmp_path / "log")):
        question(tmp_path / "log")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_what_is_no_file_is_refused_and_keeps_nobody_waiting(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        add(log, 3)
        make(wanted_path(path))
        with pytest.raises(DataError, match=r"wanted: (is no file|cannot be read)"):
            serve(log, NOON)
        with pytest.raises(DataError, match="another erasure waits"):
            question(path)
        make(answer_path(path))
        for look in (answered, withdraw):
            with pytest.raises(DataError, match=r"is no file|cannot be read"):
                look(path, "q1")
