"""A log over many files: the chain runs through all of them, whatever is killed, cut, moved or left out."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aimds.errors import ConfigError, DataError
from aimds.record import audit, segments
from aimds.record.audit import AuditLog
from aimds.record.chain import decode, encode
from aimds.record.head import encode_head, head_path, read_checkpoint
from aimds.record.rotation import Rotation
from aimds.record.verification import Report, verify

KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = [PAIR.public_key()]
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
SMALL = Rotation(segment_bytes=2500, checkpoint_records=7)


def opened(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, **{"now": lambda: NOON, "rotation": SMALL, **options})


def filled(path: Path, rows: int = 40, **options: Any) -> Path:
    with opened(path, **options) as log:
        for i in range(rows):
            log.append("verdict", {"i": i, "action": "block", "session_id": f"s{i % 5}", "tenant": "acme"})
            log.flush()
    return path


def files(path: Path) -> list[Path]:
    return [*segments.closed(path), path]


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


def test_chain_runs_through_all_files(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    assert len(files(path)) > 4
    found = [json.loads(line) for file in files(path) for line in file.read_bytes().splitlines()]
    assert [one["seq"] for one in found] == list(range(len(found)))
    assert [one["prev"] for one in found[1:]] == [one["hash"] for one in found[:-1]]
    assert [one["body"]["i"] for one in found if one["kind"] == "verdict"] == list(range(40))
    first = [json.loads(file.read_bytes().splitlines()[0]) for file in files(path)]
    assert [one["kind"] for one in first] == ["genesis"] + ["segment"] * (len(first) - 1)
    report = verify(path)
    assert report.ok
    assert (report.files, report.records) == (len(first), len(found))


def test_file_is_closed_when_it_is_old_and_not_when_it_holds_nothing(tmp_path: Path) -> None:
    clock = itertools.count()
    rotation = Rotation(segment_s=86_400)
    with AuditLog(tmp_path / "log", now=lambda: NOON + timedelta(hours=next(clock)), rotation=rotation) as log:
        for _ in range(30):
            log.append("verdict", {})
    assert 1 <= len(segments.closed(tmp_path / "log")) <= 6
    for file in segments.closed(tmp_path / "log"):
        assert len(file.read_bytes().splitlines()) > 1


def test_log_of_many_files_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(3):
        filled(tmp_path / "log", key=KEY)
    report = verify(tmp_path / "log", key=KEY)
    assert report.ok
    assert report.files > 12


def test_index_says_what_the_closed_files_hold(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    listed = segments.read_index(path)
    assert listed is not None
    assert [one.file for one in listed] == [file.name for file in segments.closed(path)]
    assert [one.first for one in listed[1:]] == [one.last + 1 for one in listed[:-1]]
    assert listed[0].since == "2025-03-03T12:00:00.000000+00:00"
    content = segments.index_path(path).read_text()
    segments.index_path(path).write_text(content.replace('"last": ', '"last": 1'))
    assert kinds(verify(path)) == {"index"}
    segments.index_path(path).write_text("{}")
    assert kinds(verify(path)) == {"index"}
    segments.index_path(path).unlink()
    assert verify(path).ok


@pytest.mark.parametrize("options", [{}, {"key": KEY}, {"signing": PAIR}])
def test_any_file_left_out_or_put_elsewhere_is_found(tmp_path: Path, options: dict[str, Any]) -> None:
    path = filled(tmp_path / "log", **options)
    proof = {"key": options.get("key"), "public": PUBLIC if "signing" in options else ()}
    assert verify(path, **proof).ok
    there = segments.closed(path)
    content = [file.read_bytes() for file in there]
    for place, file in enumerate(there):
        file.unlink()
        assert kinds(verify(path, **proof)) >= {"delete"}, file
        file.write_bytes(content[place])
    for one, two in itertools.combinations(range(len(there)), 2):
        there[one].write_bytes(content[two])
        there[two].write_bytes(content[one])
        assert not verify(path, **proof).ok
        there[one].write_bytes(content[one])
        there[two].write_bytes(content[two])
    assert verify(path, **proof).ok


def test_every_line_of_every_file_changed_removed_doubled_or_moved_is_found(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", 16, signing=PAIR)
    tried = 0
    for file in files(path):
        content = file.read_bytes()
        lines = content.splitlines(keepends=True)
        for k, line in enumerate(lines):
            record = decode(line)
            forged, _ = encode(record.seq, record.time, "other", record.body, record.prev, record.private)
            changes = [
                [*lines[:k], *lines[k + 1 :]],
                [*lines[:k], line, *lines[k:]],
                [*lines[:k], forged, *lines[k + 1 :]],
                [*lines[:k], line[:-9] + b"\n", *lines[k + 1 :]],
                lines[:k],
            ]
            if k + 1 < len(lines):
                changes.append([*lines[:k], lines[k + 1], line, *lines[k + 2 :]])
            for change in changes:
                file.write_bytes(b"".join(change))
                assert not verify(path, public=PUBLIC).ok, (file.name, k, change)
                tried += 1
        file.write_bytes(content)
    assert tried > 100
    assert verify(path, public=PUBLIC).ok


def test_closed_file_that_is_not_whole_is_named_with_its_line(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    file = segments.closed(path)[1]
    file.write_bytes(file.read_bytes()[:-4])
    problems = [(one.kind, one.file) for one in verify(path).problems]
    assert ("torn", file.name) in problems


def rewritten(path: Path, changed: int) -> None:
    """Every file with record ``changed`` changed and the rest of the chain and the head made to fit, without a key."""
    prev = "0" * 64
    for file in files(path):
        out = []
        for line in file.read_bytes().splitlines(keepends=True):
            one = decode(line)
            body = {**one.body, "action": "allow"} if one.seq == changed else dict(one.body)
            if one.kind == "checkpoint":
                body["hash"] = prev
            new, prev = encode(one.seq, one.time, one.kind, body, prev, one.private, one.commit)
            out.append(new)
        file.write_bytes(b"".join(out))
    segments.index_path(path).unlink()
    head = read_checkpoint(head_path(path)).point
    head_path(path).write_bytes(encode_head(audit.checkpoint(head.chain, head.seq, prev, head.time, OTHER), None))


def test_rewritten_log_is_found_with_the_public_key_alone(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", signing=PAIR)
    report = verify(path, public=PUBLIC)
    assert report.ok
    assert report.signed >= 4
    assert any("holder of the signing key" in sentence for sentence in report.proved)
    rewritten(path, 5)
    assert verify(path).ok
    assert kinds(verify(path, public=PUBLIC)) == {"signature"}
    assert kinds(verify(path, public=[OTHER.public_key()])) == {"signature"}


def test_log_that_nobody_signed_fails_where_a_signature_is_asked_for(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    assert kinds(verify(path, public=PUBLIC)) == {"signature"}
    head_path(path).unlink()
    assert kinds(verify(path, public=PUBLIC)) == {"head"}


def test_log_cut_back_with_its_head_fails_against_a_signed_checkpoint_kept_elsewhere(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", signing=PAIR)
    old = {file: file.read_bytes() for file in tmp_path.iterdir()}
    filled(path, signing=PAIR)
    kept = read_checkpoint(head_path(path)).point
    assert verify(path, public=PUBLIC, points=[kept]).ok
    for file in tmp_path.iterdir():
        file.unlink()
    for file, content in old.items():
        file.write_bytes(content)
    assert verify(path, public=PUBLIC).ok
    assert kinds(verify(path, public=PUBLIC, points=[kept])) == {"truncation"}


def test_kept_checkpoint_that_another_signed_or_of_another_log_proves_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", signing=PAIR, chain="c1")
    head = read_checkpoint(head_path(path)).point
    forged = audit.checkpoint(head.chain, head.seq, head.hash, head.time, OTHER)
    assert kinds(verify(path, public=PUBLIC, points=[forged])) == {"signature"}
    other = audit.checkpoint("c2", head.seq, head.hash, head.time, PAIR)
    assert kinds(verify(path, public=PUBLIC, points=[other])) == {"head"}


def test_signed_log_is_not_written_on_without_a_signing_key_but_with_another(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", signing=PAIR)
    with pytest.raises(ConfigError, match="signing key"):
        opened(path)
    filled(path, signing=OTHER)
    assert verify(path, public=[*PUBLIC, OTHER.public_key()]).ok
    assert kinds(verify(path, public=PUBLIC)) == {"signature"}


def test_checkpoints_stand_in_the_chain_after_so_many_records_or_seconds_and_at_the_end(tmp_path: Path) -> None:
    at = NOON
    rotation = Rotation(checkpoint_records=10, checkpoint_s=60)
    with AuditLog(tmp_path / "log", signing=PAIR, now=lambda: at, rotation=rotation) as log:
        for _ in range(12):
            log.append("verdict", {})
        at += timedelta(seconds=61)
        log.append("verdict", {})
        log.append("verdict", {})
    found = [json.loads(line)["kind"][0] for line in (tmp_path / "log").read_bytes().splitlines()]
    assert "".join(found) == "g" + "v" * 9 + "c" + "vvv" + "c" + "vv" + "c"
    opened(tmp_path / "log", signing=PAIR).close()
    assert len((tmp_path / "log").read_bytes().splitlines()) == len(found)


@pytest.mark.parametrize("renames", [0, 1])
def test_writer_killed_while_it_begins_a_file_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    class Killed(BaseException):
        pass

    path, real, left = tmp_path / "log", os.rename, renames

    def rename(old: Any, new: Any) -> None:
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        real(old, new)

    log = opened(path, signing=PAIR)
    log.append("verdict", {"i": 1})
    with monkeypatch.context() as patch:
        patch.setattr(audit.os, "rename", rename)
        with pytest.raises(Killed):
            log.rotate()
    os.close(log._journal.file)
    if renames:
        assert not path.exists()
    assert verify(path, public=PUBLIC).ok
    with opened(path, signing=PAIR) as log:
        log.append("verdict", {"i": 2})
        log.rotate()
    report = verify(path, public=PUBLIC)
    assert report.ok, report.problems
    assert report.files == 2 + renames


def test_file_that_cannot_be_begun_leaves_the_log_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(old: Any, new: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path / "log") as log:
        log.append("verdict", {"i": 1})
        with monkeypatch.context() as patch:
            patch.setattr(audit.os, "rename", full)
            with pytest.raises(DataError, match="cannot be closed"):
                log.rotate()
        log.append("verdict", {"i": 2})
        log.rotate()
    assert verify(tmp_path / "log").ok


def test_written_file_that_was_emptied_is_not_written_on(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    path.write_bytes(b"")
    with pytest.raises(DataError, match="records were removed"):
        opened(path)
    assert kinds(verify(path)) == {"truncation"}


def test_written_file_that_was_removed_with_the_head_is_noted_for_ever(tmp_path: Path) -> None:
    path = filled(tmp_path / "log", key=KEY)
    path.unlink()
    head_path(path).unlink()
    last = decode(segments.closed(path)[-1].read_bytes().splitlines(keepends=True)[-1]).seq
    opened(path, key=KEY).close()
    report = verify(path, key=KEY)
    assert report.ok
    assert any(f"who wrote records 0 to {last}: no head" in sentence for sentence in report.unproved)


def test_damaged_closed_file_is_not_followed_by_another(tmp_path: Path) -> None:
    path = filled(tmp_path / "log")
    path.unlink()
    head_path(path).unlink()
    file = segments.closed(path)[-1]
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(DataError, match=f"{file.name}: is damaged"):
        opened(path)


def test_writer_that_comes_while_a_file_is_closed_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        for _ in range(3):
            log.append("verdict", {})
            log.rotate()
            with pytest.raises(DataError, match="being written"):
                opened(tmp_path / "log")


WRITER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from aimds.record.audit import AuditLog
from aimds.record.rotation import Rotation
pair = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
log = AuditLog(Path(sys.argv[1]), signing=pair, rotation=Rotation(segment_bytes=3000, checkpoint_records=5))
i = 0
while True:
    log.append_many("verdict", [{"i": i + k, "session_id": "s"} for k in range(4)])
    i += 4
    log.flush()
    print(i, flush=True)
"""


@pytest.mark.parametrize("lines", [3, 20, 41])
def test_writer_killed_at_any_moment_leaves_a_chain_that_verifies(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        durable = [int(writer.stdout.readline()) for _ in range(lines)][-1]
        writer.send_signal(signal.SIGKILL)
        durable = max([durable, *map(int, writer.stdout.read().split())])
    before = verify(path, public=PUBLIC)
    assert kinds(before) <= {"torn"}
    with AuditLog(path, signing=PAIR) as log:
        log.append("verdict", {"after": True})
    assert verify(path, public=PUBLIC).ok
    bodies = [json.loads(line)["body"] for file in files(path) for line in file.read_bytes().splitlines()]
    numbers = [body["i"] for body in bodies if "i" in body]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= durable


def test_log_is_verified_while_it_is_written_and_rotated(tmp_path: Path) -> None:
    path, done = tmp_path / "log", threading.Event()
    opened(path, signing=PAIR).close()

    def write() -> None:
        with opened(path, signing=PAIR) as log:
            while not done.is_set():
                log.append_many("verdict", [{"i": i} for i in range(5)])
                log.flush()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(segments.closed(path)) < 5:
            report = verify(path, public=PUBLIC)
            assert report.ok, report.problems
    finally:
        done.set()
        thread.join()
    assert verify(path, public=PUBLIC).ok


def test_one_fsync_makes_durable_what_many_threads_wait_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing, go_on, synced = threading.Event(), threading.Event(), []
    with AuditLog(tmp_path / "log", now=lambda: NOON) as log:
        real = os.fsync

        def slow(file: int) -> None:
            if file == log._journal.file:
                synced.append(os.fstat(file).st_size)
                if len(synced) == 1:
                    syncing.set()
                    assert go_on.wait(20)
            real(file)

        monkeypatch.setattr(audit.os, "fsync", slow)
        results: list[tuple[int, int]] = []

        def work() -> None:
            number = log.append("verdict", {})
            durable = log.flush()
            assert durable >= number
            results.append((number, os.stat(tmp_path / "log").st_size))

        first = threading.Thread(target=work)
        first.start()
        assert syncing.wait(20)
        # While the first one waits for the disk, others add records and wait for the next time.
        others = [threading.Thread(target=work) for _ in range(6)]
        for thread in others:
            thread.start()
        while log.seq < 7:
            pass
        assert results == []
        go_on.set()
        for thread in [first, *others]:
            thread.join()
        assert len(synced) == 2
        assert sorted(number for number, _ in results) == list(range(1, 8))
    assert verify(tmp_path / "log").ok


def test_progress_goes_up_to_the_size_of_all_files(tmp_path: Path) -> None:
    path, told = filled(tmp_path / "log"), []
    verify(path, progress=lambda done, total: told.append((done, total)))
    size = sum(file.stat().st_size for file in files(path))
    assert told[-1] == (size, size)
    assert told == sorted(told)


def test_log_of_an_older_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(
        b'{"body":{"chain":"c","format":1,"key":null},"hash":"x","kind":"genesis","prev":"x","seq":0,"time":"x"}\n'
    )
    with pytest.raises(DataError, match="format 1"):
        opened(tmp_path / "log")
    with pytest.raises(DataError, match="format 1"):
        verify(tmp_path / "log")


def test_rotation_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rotation\.segment_bytes"):
        Rotation(segment_bytes=0)


def test_log_of_more_files_than_may_be_open_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path, now=lambda: NOON) as log:
        for _ in range(60):
            log.append("verdict", {})
            log.rotate()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd"))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (there + 20, hard))
        report = verify(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert report.ok
    assert report.files == 61
