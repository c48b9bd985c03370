"""What was erased cannot be read any more, the chain still verifies, and nobody else can take something out unseen."""

from __future__ import annotations

import itertools
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import ConfigError, DataError
from aimds.record import erasure, segments
from aimds.record.audit import AuditLog
from aimds.record.chain import ERASED, RETAINED, decode, encode
from aimds.record.erasure import erase, find, old, retain
from aimds.record.rotation import Rotation
from aimds.record.spans import Spans
from aimds.record.subject import Subject
from aimds.record.verification import verify

KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = [PAIR.public_key()]
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
SMALL = Rotation(segment_bytes=4000, checkpoint_records=8, segment_s=1e12)
PROOFS: list[dict[str, Any]] = [{"key": KEY}, {"public": PUBLIC}, {"key": KEY, "public": PUBLIC}]


def opened(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, **{"key": KEY, "signing": PAIR, "rotation": SMALL, "now": lambda: NOON, **options})


def filled(path: Path, rows: int = 30) -> Path:
    with opened(path) as log:
        for i in range(rows):
            who = {"session_id": f"sess-{i % 3}", "tenant": ("acme", "globex")[i % 2], "identity": f"id-{i % 5}"}
            log.append("verdict", {"i": i, "request_id": f"req-{i}", "text": log.digest(str(i)), **who})
        log.append("denied", {"path": "/v1/sessions/sess-1/turns", "peer": "192.0.2.1", "reason": "x", "kind": "y"})
    return path


def files(path: Path) -> list[Path]:
    return [*segments.closed(path), path]


def content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_erased_session_is_in_no_file_and_the_log_verifies(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    before = [decode(line).hash for file in files(path) for line in file.read_bytes().splitlines(keepends=True)]
    with opened(path) as log:
        found = erase(log, Subject(session="sess-1"))
    assert (found.records, found.kinds) == (11, {"verdict": 10, "denied": 1})
    assert found.tenants == {"globex": 5, "acme": 5, "": 1}
    after = content(tmp_path)
    for gone in (b"sess-1", b'"req-1"', b'"req-28"', b"192.0.2.1"):
        assert gone not in after
    assert b"sess-2" in after
    records = [decode(line) for file in files(path) for line in file.read_bytes().splitlines(keepends=True)]
    assert [record.hash for record in records][: len(before)] == before
    assert [record.body["i"] for record in records if "i" in record.body] == list(range(30))
    for proof in [{}, *PROOFS]:
        report = verify(path, **proof)
        assert report.ok, report.problems
        assert report.erased == 11
        assert any("11 records were erased" in sentence for sentence in report.proved)


@pytest.mark.parametrize(
    ("subject", "count"),
    [
        (Subject(tenant="acme"), 15),
        (Subject(tenant=""), 1),
        (Subject(request="req-7"), 1),
        (Subject(identity="id-2"), 6),
        (Subject(session="sess-1", tenant="acme"), 5),
        (Subject(session="sess-1", tenant=""), 1),
        (Subject(session="nobody"), 0),
        (Subject(session="sess"), 0),
    ],
)
def test_all_that_is_given_has_to_fit(tmp_path: Path, subject: Subject, count: int) -> None:
    path = filled(tmp_path / "log")
    before = content(tmp_path)
    assert find(path, subject).records == count
    assert content(tmp_path) == before
    with opened(path) as log:
        assert erase(log, subject).records == count
    assert find(path, subject).records == 0
    assert verify(path, public=PUBLIC).ok


def test_identity_is_found_as_the_sender_of_a_held_session_too(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.append("hold_ended", {"sender": "ada", "session_id": "s"})
        log.append("verdict", {"identity": "ada"})
        log.append("verdict", {"identity": None})
        assert erase(log, Subject(identity="ada")).records == 2


def test_nobody_can_be_erased_without_being_named() -> None:
    with pytest.raises(ConfigError, match="subject"):
        Subject()


def test_log_goes_on_after_an_erasure_and_another_subject_can_follow(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    for session in ("sess-0", "sess-1", "sess-2"):
        with opened(path) as log:
            erase(log, Subject(session=session))
            log.append("verdict", {"i": 100, "session_id": "later"})
    report = verify(path, key=KEY, public=PUBLIC)
    assert report.ok
    assert report.erased == 31
    assert find(path, Subject(session="later")).records == 3


def bared(path: Path, chosen: int) -> None:
    """Take the private part out of record ``chosen``, as anybody can who may write the files."""
    for file in files(path):
        out = []
        for line in file.read_bytes().splitlines(keepends=True):
            one = decode(line)
            if one.seq == chosen:
                line, _ = encode(one.seq, one.time, one.kind, one.body, one.prev, commit=one.commit)
            out.append(line)
        file.write_bytes(b"".join(out))
    segments.write_index(path)


@pytest.mark.parametrize("proof", [{}, *PROOFS])
def test_private_part_that_somebody_else_took_out_is_found(tmp_path: Path, proof: dict[str, Any]) -> None:
    path = filled(tmp_path / "log")
    with opened(path) as log:
        erase(log, Subject(session="sess-1"))
    records = [decode(line) for file in files(path) for line in file.read_bytes().splitlines(keepends=True)]
    whole = [record.seq for record in records if record.private is not None]
    assert len(whole) == 20
    saved = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for seq in whole:
        bared(path, seq)
        assert {problem.kind for problem in verify(path, **proof).problems} == {"erasure"}, seq
        for file, before in saved.items():
            file.write_bytes(before)


@pytest.mark.parametrize("proof", PROOFS)
def test_record_of_an_erasure_that_nobody_sealed_excuses_nothing(tmp_path: Path, proof: dict[str, Any]) -> None:
    path = filled(tmp_path / "log")
    last = decode(path.read_bytes().splitlines(keepends=True)[-1])
    line, _ = encode(last.seq + 1, last.time, ERASED, {"records": [[3, 3]]}, last.hash)
    path.write_bytes(path.read_bytes() + line)
    bared(path, 3)
    assert verify(path).ok
    assert {problem.kind for problem in verify(path, **proof).problems} == {"erasure"}


@pytest.mark.parametrize(
    "body", [{}, {"records": 1}, {"records": [[1]]}, {"records": [[2, 1]]}, {"records": [[0, 999]]}]
)
def test_record_of_an_erasure_that_says_nothing_is_found(tmp_path: Path, body: dict[str, Any]) -> None:
    path = filled(tmp_path / "log")
    with opened(path) as log:
        log.append(ERASED, body)
    assert {problem.kind for problem in verify(path, key=KEY).problems} == {"erasure"}


@pytest.mark.parametrize("replaced", [0, 1, 2])
def test_erasure_killed_halfway_is_named_and_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: int
) -> None:
    class Killed(BaseException):
        pass

    path, real = filled(tmp_path / "log"), os.replace
    left = itertools.count()

    def replace(old: Any, new: Any) -> None:
        if Path(new).suffix.strip(".").isdecimal() and next(left) == replaced:
            raise Killed
        real(old, new)

    (tmp_path / "log.00000001.new").write_bytes(b"sess-0 of a run that was killed")
    with opened(path) as log, monkeypatch.context() as patch:
        patch.setattr(erasure.os, "replace", replace)
        with pytest.raises(Killed):
            erase(log, Subject(session="sess-1"))
    report = verify(path, public=PUBLIC)
    assert {problem.kind for problem in report.problems} - {"index"} == {"erasure"}
    assert any("erase again" in problem.message for problem in report.problems)
    with opened(path) as log:
        assert erase(log, Subject(session="sess-1")).records == 11 - report.erased
        # What the killed one was writing held others.
        assert not [file for file in tmp_path.iterdir() if file.name.endswith(".new")]
    assert verify(path, public=PUBLIC).ok
    assert b"sess-1" not in content(tmp_path)


def test_records_that_lack_a_tenant_but_fit_otherwise_are_counted(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    found = find(path, Subject(session="sess-1", tenant="acme"))
    assert (found.records, found.unowned) == (5, 1)
    assert find(path, Subject(tenant="acme")).unowned == 0


def test_damaged_log_is_not_erased_from(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    file = segments.closed(path)[0]
    file.write_bytes(file.read_bytes().replace(b'"i":1,', b'"i":2,').replace(b'"i":1}', b'"i":2}'))
    before = content(tmp_path)
    with opened(path) as log:
        before = content(tmp_path)
        with pytest.raises(DataError, match=f"{file.name}: is damaged at line 3"):
            erase(log, Subject(session="sess-0"))
        assert content(tmp_path) == before


def aged(path: Path) -> Path:
    """A file a day, for ten days from noon."""
    clock = itertools.count()
    rotation = Rotation(segment_s=86_400, checkpoint_s=1e12)
    with opened(path, rotation=rotation, now=lambda: NOON + timedelta(hours=next(clock))) as log:
        while next(clock) < 240:
            log.append("verdict", {"session_id": "s"})
    return path


@pytest.mark.parametrize("proof", [{}, *PROOFS])
def test_old_files_go_and_a_record_says_so(tmp_path: Path, proof: dict[str, Any]) -> None:
    path = aged(tmp_path / "log")
    there = segments.closed(path)
    assert len(there) > 6
    before = NOON + timedelta(days=4)
    listed = old(path, before)
    assert there == segments.closed(path)
    with opened(path) as log:
        gone = retain(log, before)
        assert gone == listed
        assert retain(log, before) == []
    assert [file.name for file in there if not file.exists()] == [one.file for one in gone]
    assert len(gone) > 2
    report = verify(path, **proof)
    assert report.ok, report.problems
    assert report.first == gone[-1].last + 1
    index = segments.read_index(path)
    assert index is not None
    assert index[0].first == report.first


@pytest.mark.parametrize("proof", [{}, *PROOFS])
def test_old_files_that_somebody_else_removed_are_missed(tmp_path: Path, proof: dict[str, Any]) -> None:
    path = aged(tmp_path / "log")
    with opened(path) as log:
        retain(log, NOON + timedelta(days=2))
    segments.closed(path)[0].unlink()
    assert {problem.kind for problem in verify(path, **proof).problems} == {"delete"}


@pytest.mark.parametrize("proof", PROOFS)
def test_record_of_a_retention_that_nobody_sealed_excuses_nothing(tmp_path: Path, proof: dict[str, Any]) -> None:
    path = aged(tmp_path / "log")
    first = segments.looked_at(segments.closed(path)[0])
    last = decode(path.read_bytes().splitlines(keepends=True)[-1])
    body = {"through": first.last, "hash": first.hash}
    line, _ = encode(last.seq + 1, last.time, RETAINED, body, last.hash)
    path.write_bytes(path.read_bytes() + line)
    (tmp_path / first.file).unlink()
    assert verify(path).ok
    assert {problem.kind for problem in verify(path, **proof).problems} == {"delete"}


def test_what_a_killed_erasure_was_writing_goes_with_the_next_one_and_with_retention(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    left = tmp_path / (segments.closed(path)[-1].name + ".new")
    for again in (lambda log: erase(log, Subject(request="req-0")), lambda log: retain(log, NOON)):
        left.write_bytes(b"sess-1, half written")
        with opened(path) as log:
            again(log)
        assert not left.exists()


def test_retention_killed_halfway_still_verifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = aged(tmp_path / "log"), Path.unlink

    def unlink(file: Path, missing_ok: bool = False) -> None:
        if file.name.endswith("2"):
            raise KeyboardInterrupt
        real(file, missing_ok)

    with opened(path) as log, monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            retain(log, NOON + timedelta(days=4))
    report = verify(path, public=PUBLIC)
    assert {problem.kind for problem in report.problems} <= {"index"}
    with opened(path) as log:
        retain(log, NOON + timedelta(days=4))
    assert verify(path, public=PUBLIC).ok


def test_erasing_after_retention_and_the_reverse_both_verify(tmp_path: Path) -> None:
    path = aged(tmp_path / "log")
    with opened(path) as log:
        erase(log, Subject(session="s"))
        retain(log, NOON + timedelta(days=4))
    with opened(path) as log:
        log.append("verdict", {"session_id": "s"})
        assert erase(log, Subject(session="s")).records == 1
    assert verify(path, key=KEY, public=PUBLIC).ok


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.randoms())
def test_spans_are_the_sets_they_stand_for(one: set[int], two: set[int], rng: Any) -> None:
    found, other = Spans(), Spans.of((number, number) for number in two)
    for number in rng.sample(sorted(one), len(one)):
        found.add(number)
        found.add(number)
    assert len(found) == len(one)
    assert {n for n in range(-1, 42) if n in found} == one
    assert all(high + 1 not in one and low - 1 not in one for low, high in found)
    rest = {n for low, high in found.without(other) for n in range(low, high + 1)}
    assert rest == one - two


def test_private_parts_of_like_records_cannot_be_guessed_from_what_they_leave(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.append_many("verdict", [{"session_id": "s", "tenant": "acme"}] * 2)
    found = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines() if b'"verdict"' in line]
    assert found[0]["commit"] != found[1]["commit"]
    assert len(found[0]["private"]["salt"]) == 32
