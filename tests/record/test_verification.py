from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.errors import DataError
from aimds.record.audit import AuditLog
from aimds.record.chain import decode, encode
from aimds.record.checkpoints import Checkpoint
from aimds.record.head import encode_head, head_path
from aimds.record.verification import MAX_PROBLEMS, Report, verify

KEY = bytes(range(32))
TIME = "2025-03-03T12:00:00.000000+00:00"
ROWS = 12


def written(path: Path, rows: int = ROWS, key: bytes | None = None) -> list[bytes]:
    with AuditLog(path, key=key, now=lambda: datetime(2025, 3, 3, 12, tzinfo=UTC), chain="c1") as log:
        log.append_many("verdict", [{"i": i, "action": "block"} for i in range(1, rows)])
    return path.read_bytes().splitlines(keepends=True)


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


def forged(lines: list[bytes], changed: int) -> list[bytes]:
    """The log with record ``changed`` changed and the whole chain after it computed anew, as one without a key can."""
    out, prev = [], "0" * 64
    for i, line in enumerate(lines):
        record = decode(line)
        body = {**record.body, "action": "allow"} if i == changed else record.body
        new, prev = encode(record.seq, record.time, record.kind, body, prev)
        out.append(new)
    return out


def test_untouched_log_is_ok_with_and_without_key(tmp_path: Path) -> None:
    written(tmp_path / "log", key=KEY)
    for key in (KEY, None):
        report = verify(tmp_path / "log", key=key)
        assert report.ok
        assert (report.records, report.seq, report.chain) == (ROWS, ROWS - 1, "c1")
    assert any("holder of the key" in sentence for sentence in verify(tmp_path / "log", key=KEY).proved)
    assert any("without the key" in sentence for sentence in verify(tmp_path / "log").unproved)


@settings(max_examples=300)
@given(st.data())
def test_any_flipped_bit_in_the_log_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    content = bytearray(b"".join(written(path)))
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)
    assert not verify(path).ok


@settings(max_examples=100)
@given(st.data(), st.sampled_from([KEY, None]))
def test_any_flipped_bit_in_the_head_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, key: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    written(path, key=key)
    content = bytearray(head_path(path).read_bytes())
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    head_path(path).write_bytes(content)
    report = verify(path, key=key)
    assert not report.ok
    assert kinds(report) <= {"head", "truncation", "edit"}


@settings(max_examples=100)
@given(st.lists(st.integers(0, ROWS - 1), max_size=ROWS + 3))
def test_any_other_choice_of_the_lines_is_found(tmp_path_factory: pytest.TempPathFactory, chosen: list[int]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    lines = written(path)
    path.write_bytes(b"".join(lines[i] for i in chosen))
    assert verify(path).ok == (chosen == list(range(ROWS)))


def cut(low: int, high: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:low] + lines[high:]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (cut(4, 5), "delete", "record 4 missing before record 5"),
        (cut(4, 9), "delete", "records 4 to 8 missing before record 9"),
        (cut(0, 1), "delete", "record 0 missing before record 1"),
        (cut(9, ROWS), "truncation", "ends at record 8, but the head knows record 11"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], "reorder", "record 4 stands after record 5"),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], "reorder", "record 4 stands after record 4"),
        (lambda lines: [*lines[:-1], lines[-1][:-5]], "torn", "not whole"),
        (lambda lines: [*lines[:4], b"\0" * 30 + b"\n", *lines[5:]], "edit", "not JSON"),
        (
            lambda lines: [*lines[:4], lines[4].replace(b"block", b"allow"), *lines[5:]],
            "edit",
            "does not have the hash",
        ),
        (lambda lines: [*lines[:4], b"x" * (3 << 20) + b"\n", *lines[4:]], "edit", "too long"),
    ],
)
def test_each_kind_of_change_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], kind: str, message: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(change(written(path))))
    assert any(problem.kind == kind and message in problem.message for problem in verify(path).problems)


def test_one_edited_line_is_one_problem(tmp_path: Path) -> None:
    lines = written(tmp_path / "log")
    lines[4] = lines[4].replace(b"block", b"allow")
    (tmp_path / "log").write_bytes(b"".join(lines))
    report = verify(tmp_path / "log")
    assert [(problem.kind, problem.line) for problem in report.problems] == [("edit", 5)]


def test_record_replaced_with_a_right_hash_of_its_own_breaks_the_next_link(tmp_path: Path) -> None:
    lines = written(tmp_path / "log")
    lines[4] = forged(lines, 4)[4]
    (tmp_path / "log").write_bytes(b"".join(lines))
    report = verify(tmp_path / "log")
    assert [(problem.kind, problem.line) for problem in report.problems] == [("edit", 6)]


def test_log_rewritten_to_its_end_is_found_by_the_head(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(forged(written(path), 4)))
    assert kinds(verify(path)) == {"edit"}


def test_log_rewritten_with_its_head_passes_without_a_key_and_fails_with_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = forged(written(path, key=KEY), 4)
    path.write_bytes(b"".join(lines))
    last = lines[-1].split(b'"hash":"')[1][:64].decode()
    head_path(path).write_bytes(encode_head(Checkpoint("c1", ROWS - 1, last, TIME), b"y" * 32))
    unkeyed = verify(path)
    assert unkeyed.ok
    assert any("rewrote both" in sentence for sentence in unkeyed.unproved)
    assert kinds(verify(path, key=KEY)) == {"head"}


def test_log_and_head_put_back_to_an_older_state_fail_only_against_a_noted_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, rows=5, key=KEY)
    old = path.read_bytes(), head_path(path).read_bytes()
    with AuditLog(path, key=KEY, now=lambda: datetime(2025, 3, 3, 12, tzinfo=UTC)) as log:
        log.append("verdict", {"i": 5})
        log.flush()
        noted = log.head
    assert verify(path, key=KEY, expect=noted).ok
    path.write_bytes(old[0])
    head_path(path).write_bytes(old[1])
    report = verify(path, key=KEY)
    assert report.ok
    assert any("older state" in sentence for sentence in report.unproved)
    assert kinds(verify(path, key=KEY, expect=noted)) == {"truncation"}


def test_noted_checkpoint_with_another_hash_is_found(tmp_path: Path) -> None:
    written(tmp_path / "log")
    assert kinds(verify(tmp_path / "log", expect=(3, "0" * 64))) == {"edit"}


@pytest.mark.parametrize("started", [None, KEY[::-1]])
def test_wrong_key_is_found(tmp_path: Path, started: bytes | None) -> None:
    written(tmp_path / "log", key=started)
    assert kinds(verify(tmp_path / "log", key=KEY)) == {"key", "head"}


def test_missing_head_is_a_problem_with_a_key_and_said_without_one(tmp_path: Path) -> None:
    written(tmp_path / "log", key=KEY)
    head_path(tmp_path / "log").unlink()
    assert kinds(verify(tmp_path / "log", key=KEY)) == {"head"}
    report = verify(tmp_path / "log")
    assert report.ok
    assert any("cut off the end" in sentence for sentence in report.unproved)


def test_head_of_another_log_is_found(tmp_path: Path) -> None:
    written(tmp_path / "log")
    with AuditLog(tmp_path / "other", chain="c2") as log:
        log.append_many("verdict", [{"i": i} for i in range(3)])
    head_path(tmp_path / "log").write_bytes(head_path(tmp_path / "other").read_bytes())
    assert kinds(verify(tmp_path / "log")) >= {"head"}


def test_emptied_log_is_found_by_its_head(tmp_path: Path) -> None:
    written(tmp_path / "log")
    (tmp_path / "log").write_bytes(b"")
    assert kinds(verify(tmp_path / "log")) == {"truncation"}


def test_log_at_work_is_not_called_torn(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path) as log:
        log.append("verdict", {})
        log.flush()
        with path.open("ab") as file:
            file.write(b'{"body":')
        assert verify(path).ok
    assert kinds(verify(path)) == {"torn"}


@pytest.mark.parametrize("content", [b"", b"hello\n", b"hello", b"{}\n" * 3])
def test_file_that_is_no_log_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(DataError, match="not an audit log"):
        verify(tmp_path / "log")


def test_missing_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        verify(tmp_path / "log")


def test_problems_are_counted_beyond_those_listed(tmp_path: Path) -> None:
    lines = written(tmp_path / "log", rows=300)
    (tmp_path / "log").write_bytes(b"".join(line.replace(b"block", b"allow") for line in lines))
    report = verify(tmp_path / "log")
    assert len(report.problems) == MAX_PROBLEMS
    assert report.problem_count >= 299


def test_thirty_thousand_records_are_verified_and_one_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog(path, key=KEY) as log:
        log.append_many("verdict", ({"request_id": f"r{i}", "action": "allow", "p": i / 7} for i in range(30_000)))
    report = verify(path, key=KEY)
    assert report.ok
    assert report.records == 30_001
    content = bytearray(path.read_bytes())
    at = content.index(b'"r27777"') + 3
    content[at] ^= 1
    path.write_bytes(content)
    assert [problem.line for problem in verify(path, key=KEY).problems] == [27_779]


def test_records_that_no_head_had_sealed_are_named_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, key=KEY)
    last = decode(path.read_bytes().splitlines(keepends=True)[-1])
    line, _ = encode(last.seq + 1, last.time, "verdict", {"action": "allow"}, last.hash)
    path.write_bytes(path.read_bytes() + line)
    assert any("came after the head" in sentence for sentence in verify(path, key=KEY).unproved)
    with AuditLog(path, key=KEY) as log:
        log.append("verdict", {"action": "block"})
    for _ in range(2):
        report = verify(path, key=KEY)
        assert report.ok
        assert [sentence for sentence in report.unproved if "no head had sealed" in sentence] == [
            f"who wrote records {ROWS} to {ROWS}: no head had sealed them when the log was opened again"
        ]
        AuditLog(path, key=KEY).close()
