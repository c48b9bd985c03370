from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import DataError
from aimds.record import head
from aimds.record.audit import AuditLog
from aimds.record.checkpoints import Checkpoint, checkpoint
from aimds.record.head import SLOT_BYTES, HeadFile, encode_head, head_path, read_head
from aimds.record.verification import verify

TIME = "2025-03-03T00:00:00.000000+00:00"
KEY = bytes(range(32))
PAIR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def point(seq: int) -> Checkpoint:
    return Checkpoint("c", seq, f"{seq:064x}", TIME)


def test_head_is_sealed_by_its_key(tmp_path: Path) -> None:
    one = Checkpoint("c", 7, "ab", TIME)
    for key in (KEY, None):
        head_path(tmp_path / "log").write_bytes(encode_head(one, key))
        assert read_head(tmp_path / "log", key) == (one, True, False)
        assert read_head(tmp_path / "log", b"x" * 32) == (one, False, False)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b'{"chain":"c","hash":"","seal":"","seq":"7","time":""}']
)
def test_damaged_head_is_refused(tmp_path: Path, content: bytes) -> None:
    head_path(tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_head(tmp_path / "log", None)


@pytest.mark.parametrize("seq", [-1, 1 << 63, 10**4299], ids=["negative", "64 bits", "4300 digits"])
def test_number_that_no_log_reaches_is_refused(tmp_path: Path, seq: int) -> None:
    content = encode_head(Checkpoint("c", 7, "0" * 64, "t"), None).replace(b":7,", b":%s," % str(seq).encode())
    head_path(tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="not the head"):
        read_head(tmp_path / "log", None)


def test_signed_head_is_read_back(tmp_path: Path) -> None:
    one = checkpoint("c", 7, "ab", TIME, PAIR)
    HeadFile(tmp_path / "log", KEY).write(one)
    assert read_head(tmp_path / "log", KEY) == (one, True, False)


@settings(max_examples=150)
@given(st.integers(1, 5), st.integers(0, SLOT_BYTES), st.sampled_from([KEY, None]))
def test_write_torn_at_any_byte_leaves_the_head_before_it_or_the_new_one(
    tmp_path_factory: pytest.TempPathFactory, writes: int, at: int, key: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    writer = HeadFile(path, key)
    for seq in range(writes):
        writer.write(point(seq))
    before = head_path(path).read_bytes()
    writer.write(point(writes))
    writer.close()
    after = head_path(path).read_bytes()
    slot = 0 if before[:SLOT_BYTES] != after[:SLOT_BYTES] else SLOT_BYTES
    torn = before[:slot] + after[slot : slot + at] + before[slot + at :]
    head_path(path).write_bytes(torn)
    found = read_head(path, key)
    assert found is not None
    assert found.sealed
    assert found.point == point(writes if torn == after else writes - 1)
    assert found.torn == (torn not in (before, after))


def test_slots_share_no_block_of_the_disk(tmp_path: Path) -> None:
    HeadFile(tmp_path / "log", KEY).write(point(0))
    assert head_path(tmp_path / "log").stat().st_size == 2 * 4096


def test_heads_are_written_in_place_and_in_turn(tmp_path: Path) -> None:
    writer = HeadFile(tmp_path / "log", KEY)
    writer.write(point(0))
    inode = head_path(tmp_path / "log").stat().st_ino
    for seq in range(1, 6):
        writer.write(point(seq))
        lines = head_path(tmp_path / "log").read_bytes().splitlines()
        assert sorted(f'"seq":{known},'.encode() in line for line in lines for known in (seq, seq - 1)).count(True) == 2
    assert head_path(tmp_path / "log").stat().st_ino == inode
    writer.close()


def test_head_that_somebody_replaced_or_removed_is_made_anew(tmp_path: Path) -> None:
    file = head_path(tmp_path / "log")
    writer = HeadFile(tmp_path / "log", KEY)
    writer.write(point(0))
    file.unlink()
    writer.write(point(1))
    assert read_head(tmp_path / "log", KEY) == (point(1), True, False)
    file.with_suffix(".other").write_bytes(b"x")
    file.with_suffix(".other").replace(file)
    writer.write(point(2))
    assert read_head(tmp_path / "log", KEY) == (point(2), True, False)
    writer.close()


def test_head_too_long_for_a_slot_is_a_file_of_one_line(tmp_path: Path) -> None:
    long = Checkpoint("c" * SLOT_BYTES, 7, "ab", TIME)
    writer = HeadFile(tmp_path / "log", KEY)
    for one in (point(1), long, point(2)):
        writer.write(one)
        assert read_head(tmp_path / "log", KEY) == (one, True, False)
    writer.close()


def test_failed_sync_is_an_error_and_the_next_head_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = HeadFile(tmp_path / "log", KEY)
    writer.write(point(0))
    inode = head_path(tmp_path / "log").stat().st_ino

    def broken(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(head.os, "fdatasync", broken)
        with pytest.raises(DataError, match="the records themselves are durable"):
            writer.write(point(1))
    writer.write(point(2))
    assert head_path(tmp_path / "log").stat().st_ino != inode
    assert read_head(tmp_path / "log", KEY) == (point(2), True, False)
    writer.close()


@pytest.mark.parametrize("place", [5, SLOT_BYTES + 5, SLOT_BYTES - 1, SLOT_BYTES - 2])
def test_torn_head_is_told_by_the_check_and_noted_when_the_log_goes_on(tmp_path: Path, place: int) -> None:
    path = tmp_path / "log"
    with AuditLog(path, key=KEY) as log:
        for number in range(3):
            log.append("verdict", {"i": number})
            log.flush()
    content = bytearray(head_path(path).read_bytes())
    content[place] ^= 1
    head_path(path).write_bytes(content)
    report = verify(path, key=KEY)
    assert [problem.kind for problem in report.problems] == ["head"]
    assert "slots" in report.problems[0].message
    AuditLog(path, key=KEY).close()
    assert b'"head":"torn"' in path.read_bytes()
    assert verify(path, key=KEY).ok


def test_log_with_the_head_of_an_earlier_format_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path, key=KEY) as log:
        log.append("verdict", {})
    found = read_head(path, KEY)
    assert found is not None
    head_path(path).write_bytes(encode_head(found.point, KEY))
    assert verify(path, key=KEY).ok
    with AuditLog(path, key=KEY) as log:
        log.append("verdict", {})
    assert b"recovered" not in path.read_bytes()
    assert verify(path, key=KEY).ok


def cut(path: Path) -> None:
    """Put the older slot over the newer one, and take off what came between."""
    content = head_path(path).read_bytes()
    older = min((content[:SLOT_BYTES], content[SLOT_BYTES:]), key=lambda slot: json.loads(slot)["seq"])
    head_path(path).write_bytes(older + older)
    seq = json.loads(older)["seq"]
    path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(True) if json.loads(line)["seq"] <= seq))


@pytest.mark.parametrize("key", [KEY, None])
def test_closed_log_leaves_no_earlier_head_for_a_cut_of_its_last_records(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "log"
    with AuditLog(path, key=key, signing=PAIR) as log:
        for number in range(3):
            log.append("verdict", {"i": number})
            log.flush()
    whole = path.read_bytes()
    cut(path)
    assert path.read_bytes() == whole


def test_earlier_slot_over_the_newer_one_is_told_where_there_is_a_key(tmp_path: Path) -> None:
    path, copy = tmp_path / "log", tmp_path / "copy"
    with AuditLog(path, key=KEY, signing=PAIR) as log:
        for number in range(3):
            log.append("verdict", {"i": number})
            log.flush()
        # As a kill leaves it.
        copy.write_bytes(path.read_bytes())
        head_path(copy).write_bytes(head_path(path).read_bytes())
    assert verify(copy, key=KEY, public=[PAIR.public_key()]).ok
    cut(copy)
    assert copy.read_bytes().count(b'"kind":"verdict"') == 2
    report = verify(copy, key=KEY, public=[PAIR.public_key()])
    assert [problem.kind for problem in report.problems] == ["head"]
