from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.record import audit
from aimds.record.audit import AuditLog
from aimds.record.head import head_path
from aimds.record.verification import verify

KEY = bytes(range(32))
NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)


def opened(path: Path, **options: Any) -> AuditLog:
    return AuditLog(path, **{"now": lambda: NOON, **options})


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_records_are_chained_from_a_genesis_that_names_the_chain(tmp_path: Path) -> None:
    with opened(tmp_path / "log", chain="c1") as log:
        assert log.append("verdict", {"action": "block"}) == 1
        assert log.append_many("verdict", [{"action": "allow"}, {"action": "flag"}]) == range(2, 4)
    found = records(tmp_path / "log")
    assert [record["seq"] for record in found] == [0, 1, 2, 3]
    assert [record["prev"] for record in found] == ["0" * 64, *(record["hash"] for record in found[:-1])]
    assert found[0]["body"] == {"chain": "c1", "format": 2, "key": None}
    assert found[1]["time"] == "2025-03-03T12:00:00.000000+00:00"
    assert verify(tmp_path / "log").ok


def test_chains_get_different_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        opened(tmp_path / name).close()
    assert verify(tmp_path / "a").chain != verify(tmp_path / "b").chain


def test_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for i in range(3):
        with opened(tmp_path / "log", key=KEY) as log:
            log.append("verdict", {"run": i})
    assert [record["body"].get("run") for record in records(tmp_path / "log")] == [None, 0, 1, 2]
    report = verify(tmp_path / "log", key=KEY)
    assert report.ok
    assert report.seq == 3


def test_nothing_is_written_before_flush_and_all_of_it_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(audit.os, name, lambda file: synced.append(os.fstat(file).st_size))
    with opened(tmp_path / "log") as log:
        before = (tmp_path / "log").stat().st_size
        synced.clear()
        log.append_many("verdict", [{"i": i} for i in range(100)])
        assert (tmp_path / "log").stat().st_size == before
        assert log.flush() == 100
        assert len(records(tmp_path / "log")) == 101
        # One fsync for the batch of records, one for the head.
        assert len(synced) == 2
        assert synced[0] == (tmp_path / "log").stat().st_size


def test_records_are_kept_when_the_block_ends_in_an_error(tmp_path: Path) -> None:
    def interrupted() -> None:
        with opened(tmp_path / "log") as log:
            log.append("verdict", {"i": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert len(records(tmp_path / "log")) == 2


def test_bad_body_is_refused_and_leaves_the_chain_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        with pytest.raises(SchemaError):
            log.append_many("verdict", [{"i": 1}, {"i": float("nan")}, {"i": 3}])
        log.append("verdict", {"i": 4})
    assert [record["body"].get("i") for record in records(tmp_path / "log")] == [None, 1, 4]
    assert verify(tmp_path / "log").ok


def test_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    with opened(tmp_path / "log"), pytest.raises(DataError, match="being written"):
        opened(tmp_path / "log")
    opened(tmp_path / "log").close()


def test_closed_log_takes_no_records(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    log.close()
    log.close()
    for call in (log.flush, lambda: log.append("verdict", {})):
        with pytest.raises(DataError, match="closed"):
            call()


def test_sensitive_strings_are_digested_with_the_key_and_refused_without(tmp_path: Path) -> None:
    with opened(tmp_path / "log", key=KEY) as log:
        digest = log.digest("my secret text")
        assert digest == log.digest(b"my secret text") != log.digest("another")
        log.append("verdict", {"text": digest})
    assert b"secret" not in (tmp_path / "log").read_bytes()
    with opened(tmp_path / "other", key=KEY[::-1]) as log:
        assert log.digest("my secret text") != digest
    with opened(tmp_path / "plain") as log, pytest.raises(ConfigError, match="key"):
        log.digest("my secret text")


@pytest.mark.parametrize(("first", "second"), [(KEY, None), (None, KEY), (KEY, KEY[::-1])])
def test_log_is_opened_only_with_the_key_it_was_started_with(tmp_path: Path, first: Any, second: Any) -> None:
    opened(tmp_path / "log", key=first).close()
    with pytest.raises((ConfigError, DataError), match=r"key|changed"):
        opened(tmp_path / "log", key=second)


@settings(max_examples=60)
@given(st.data())
def test_torn_last_line_is_cut_off_and_a_record_says_so(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with opened(path) as log:
        log.append("verdict", {"i": 1})
    durable = path.read_bytes()
    line = durable.splitlines(keepends=True)[-1]
    torn = line[: data.draw(st.integers(1, len(line) - 1))]
    path.write_bytes(durable + torn)
    assert [problem.kind for problem in verify(path).problems] == ["torn"]
    with opened(path) as log:
        log.append("verdict", {"i": 2})
    assert path.read_bytes().startswith(durable)
    found = records(path)
    assert [record["kind"] for record in found[2:]] == ["recovered", "verdict"]
    assert found[2]["body"]["bytes"] == len(torn)
    assert verify(path).ok


def test_log_whose_first_line_is_torn_starts_again(tmp_path: Path) -> None:
    opened(tmp_path / "log").close()
    head_path(tmp_path / "log").unlink()
    first = (tmp_path / "log").read_bytes()
    for size in (3, 40, len(first) - 1):
        (tmp_path / "log").write_bytes(first[:size])
        opened(tmp_path / "log").close()
        head_path(tmp_path / "log").unlink()
        assert [record["kind"] for record in records(tmp_path / "log")] == ["genesis", "recovered"]


@pytest.mark.parametrize("content", [b"hello", b"hello\n", b"{}\n", b'{"a": 1}\n{"a": 2}\n', b"\0" * 5000])
def test_file_that_is_no_log_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="audit log"):
        opened(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == content
    assert not head_path(tmp_path / "log").exists()


def test_log_damaged_at_its_end_is_refused_and_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.append("verdict", {"i": 1})
    content = (tmp_path / "log").read_bytes().replace(b'"i":1', b'"i":2')
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="damaged at its end"):
        opened(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == content


def test_log_that_lost_durable_records_is_not_written_on(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.append_many("verdict", [{"i": 1}, {"i": 2}])
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    for kept in (lines[:2], []):
        (tmp_path / "log").write_bytes(b"".join(kept))
        with pytest.raises(DataError, match="records were removed"):
            opened(tmp_path / "log")


def test_log_with_the_head_of_another_is_not_written_on(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with opened(tmp_path / name) as log:
            log.append("verdict", {})
    head_path(tmp_path / "a").write_bytes(head_path(tmp_path / "b").read_bytes())
    with pytest.raises(DataError, match="does not belong"):
        opened(tmp_path / "a")


def test_log_that_lost_its_head_says_so_in_a_record(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.append("verdict", {})
    head_path(tmp_path / "log").unlink()
    opened(tmp_path / "log").close()
    assert records(tmp_path / "log")[-1]["body"] == {"head": "missing", "unsealed": [0, 1]}
    assert verify(tmp_path / "log").ok


def test_full_disk_leaves_whole_records_and_a_later_flush_writes_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "log") as log:
        log.append("verdict", {"i": 0})
        log.flush()
        durable = (tmp_path / "log").read_bytes()
        room = 150
        real = os.write

        def full(file: int, content: Any) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real(file, bytes(content[:room]))
            room -= written
            return written

        monkeypatch.setattr(audit.os, "write", full)
        log.append_many("verdict", [{"i": i} for i in range(1, 6)])
        with pytest.raises(DataError, match="No space left"):
            log.flush()
        assert room == 0
        assert (tmp_path / "log").read_bytes() == durable
        with pytest.raises(DataError, match="No space left"):
            log.flush()
        monkeypatch.setattr(audit.os, "write", real)
        assert log.flush() == 6
    assert [record["body"].get("i") for record in records(tmp_path / "log")] == [None, *range(6)]
    assert verify(tmp_path / "log").ok


def test_failed_fsync_stops_the_log_until_it_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path / "log")
    log.append("verdict", {"i": 1})

    def broken(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(audit.os, "fsync", broken)
        with pytest.raises(DataError, match="cannot be made durable"):
            log.flush()
    with pytest.raises(DataError, match="open it anew"):
        log.flush()
    with pytest.raises(DataError, match="open it anew"):
        log.close()
    with opened(tmp_path / "log") as log:
        log.append("verdict", {"i": 2})
    assert verify(tmp_path / "log").ok


def test_records_beyond_the_bound_are_flushed_before_more_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_PENDING_BYTES", 1000)
    with opened(tmp_path / "log") as log:
        log.append_many("verdict", [{"i": i} for i in range(50)])
        assert len(records(tmp_path / "log")) > 40
    assert len(records(tmp_path / "log")) == 51


def test_threads_of_one_writer_share_the_chain(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:

        def work(name: int) -> None:
            for i in range(50):
                log.append("verdict", {"thread": name, "i": i})
                if i % 10 == 0:
                    log.flush()

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report = verify(tmp_path / "log")
    assert report.ok
    assert report.records == 201


def test_path_that_cannot_hold_a_log_is_an_error_that_names_it(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "log", tmp_path):
        with pytest.raises(DataError, match="cannot be opened"):
            opened(path)
    with pytest.raises(DataError, match="regular file"):
        opened(Path("/dev/null"))


WRITER = """
import sys
from pathlib import Path
from aimds.record.audit import AuditLog
log = AuditLog(Path(sys.argv[1]))
i = 0
while True:
    log.append_many("verdict", [{"i": i + k, "fill": "x" * 400} for k in range(200)])
    i += 200
    print(log.flush(), flush=True)
"""


@pytest.mark.parametrize("flushes", [1, 2, 7])
def test_every_record_flushed_before_a_kill_survives_it(tmp_path: Path, flushes: int) -> None:
    path = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        durable = [int(writer.stdout.readline()) for _ in range(flushes)][-1]
        writer.send_signal(signal.SIGKILL)
        durable = max([durable, *map(int, writer.stdout.read().split())])
    with opened(path) as log:
        log.append("verdict", {"after": True})
    report = verify(path)
    assert report.ok, report.problems
    numbers = [record["body"]["i"] for record in records(path) if "i" in record["body"]]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= durable


LIMITED = """
import resource, sys
from pathlib import Path
from aimds.errors import DataError
from aimds.record.audit import AuditLog
log = AuditLog(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
log.append_many("verdict", [{"fill": "x" * 400} for _ in range(200)])
try:
    log.flush()
except DataError as error:
    print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(Path(sys.argv[1]).stat().st_size)
    log.close()
"""


def test_file_system_that_takes_only_a_part_leaves_no_half_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    message, size = done.stdout.splitlines()
    assert "File too large" in message
    assert int(size) < 1000
    report = verify(path)
    assert report.ok
    assert report.records == 201


def test_log_that_somebody_still_erases_from_stays_locked_until_that_is_over(tmp_path: Path) -> None:
    log = opened(tmp_path / "log")
    with log.keeping:
        closing = threading.Thread(target=log.close)
        closing.start()
        closing.join(0.2)
        with pytest.raises(DataError, match="another"):
            opened(tmp_path / "log")
    closing.join(10)
    opened(tmp_path / "log").close()
