"""Checks an audit log: finds edited, removed, reordered and cut-off records, and says what it cannot prove."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aimds.errors import DataError
from aimds.record.chain import FORMAT, GENESIS, MAX_LINE_BYTES, NO_HASH, Head, Record, decode, key_id, read_head

MAX_PROBLEMS = 100
"""Problems that a report lists; it counts them all."""
KINDS = ("edit", "delete", "reorder", "truncation", "torn", "head", "key")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its kind (KINDS), the line it was met at (from 1; 0: the log as a whole), in words."""

    kind: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``records`` whole records were read, the last one intact is ``seq`` with ``hash``.
    ``problem_count`` may exceed the ``problems`` listed. ``proved`` and ``unproved`` are sentences."""

    path: str
    chain: str | None
    records: int
    seq: int
    hash: str
    problems: tuple[Problem, ...]
    problem_count: int
    proved: tuple[str, ...]
    unproved: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


def verify(path: Path, *, key: bytes | None = None, expect: tuple[int, str] | None = None) -> Report:
    """Check the log at ``path`` and its head.

    Args:
        key: the key the log was started with; only with it do the results bind someone who can write the files.
        expect: number and hash of a record, noted earlier outside the machine (`AuditLog.head`); proves that the log
            was not cut back or rewritten before it.

    Raises:
        DataError: the log cannot be read, or is no audit log.
    """
    check = _Check(key, expect)
    # The head is read first: a writer at work moves both on, and the log read later is never behind the head.
    check.read_head(path)
    try:
        with path.open("rb") as file:
            check.read_log(file)
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from error
    if not check.records and not check.head:
        raise DataError(path, "holds no whole record: not an audit log")
    check.finish()
    proved, unproved = check.claims()
    last = check.last
    return Report(
        str(path), check.chain, check.records, last.seq, last.hash, tuple(check.problems), check.count, proved, unproved
    )


class _Check:
    def __init__(self, key: bytes | None, expect: tuple[int, str] | None) -> None:
        self.key, self.expect = key, expect
        self.problems: list[Problem] = []
        self.count = 0
        self.records = 0
        self.chain: str | None = None
        self.keyed = False
        self.last = Record(-1, "", "", {}, "", NO_HASH)
        self.head: Head | None = None
        self.sealed = False
        self._bad_lines = 0
        self._known = [(*expect, "the expected checkpoint")] if expect else []

    def add(self, kind: str, line: int, message: str) -> None:
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, line, message))

    def read_head(self, path: Path) -> None:
        try:
            found = read_head(path, self.key)
        except DataError as error:
            self.add("head", 0, str(error))
            return
        if found:
            self.head, self.sealed = found
            self._known.append((self.head.seq, self.head.hash, "the head"))

    def read_log(self, file: BinaryIO) -> None:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                if not _being_written(file):
                    self.add(
                        "torn", number, f"the last line is not whole ({len(line)} bytes); opening the log cuts it off"
                    )
                return
            try:
                record = decode(line)
            except ValueError as error:
                self.add("edit", number, str(error))
                self._bad_lines += 1
                continue
            self.records += 1
            self._link(record, number)

    def _link(self, record: Record, number: int) -> None:
        for seq, digest, who in self._known:
            if record.seq == seq and record.hash != digest:
                self.add("edit", number, f"record {seq} is not the one that {who} knows")
        if record.kind == GENESIS or record.seq == 0:
            self._genesis(record, number)
        if record.seq <= self.last.seq:
            # The highest record read so far stays the one to go on from, so that one moved line is one problem.
            self.add("reorder", number, f"record {record.seq} stands after record {self.last.seq}")
            return
        missing = record.seq - self.last.seq - 1
        if missing > self._bad_lines:
            span = f"record {record.seq - 1}" if missing == 1 else f"records {self.last.seq + 1} to {record.seq - 1}"
            self.add("delete", number, f"{span} missing before record {record.seq}")
        elif missing == 0 and record.prev != self.last.hash:
            self.add(
                "edit", number, f"record {record.seq} was written after another record {record.seq - 1} than this one"
            )
        self.last, self._bad_lines = record, 0

    def _genesis(self, record: Record, number: int) -> None:
        if record.kind != GENESIS or record.seq != 0 or record.body.get("format") != FORMAT:
            self.add("edit", number, "a record that begins a log stands elsewhere, or the first one begins none")
            return
        if self.chain is not None:
            return
        self.chain, started = str(record.body.get("chain")), record.body.get("key")
        self.keyed = started is not None
        if self.key is not None and started != key_id(self.key):
            self.add("key", number, f"the log was started with {'another' if self.keyed else 'no'} key, or rewritten")

    def finish(self) -> None:
        for seq, _, who in self._known:
            if seq > self.last.seq:
                end = f"ends at record {self.last.seq}" if self.records else "holds no record"
                self.add("truncation", 0, f"the log {end}, but {who} knows record {seq}")
        if self.head and self.chain is not None and self.head.chain != self.chain:
            self.add("head", 0, "the head belongs to another log")
        if self.head and not self.sealed and (self.key is not None or not self.keyed):
            self.add("head", 0, "the seal of the head is wrong: it was changed, or sealed with another key")
        if not self.head and self.key is not None and not any(problem.kind == "head" for problem in self.problems):
            self.add("head", 0, "the head is missing: nothing shows that the records are those of a holder of the key")

    def claims(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        proved, unproved = [], []
        if self.count == 0:
            proved.append(f"records 0 to {self.last.seq} are whole, in order and without a gap")
        if self.count == 0 and self.head and self.key is not None:
            proved.append(f"records 0 to {self.head.seq} are those that a holder of the key wrote")
        if self.count == 0 and self.expect:
            proved.append(f"records 0 to {self.expect[0]} are those of the expected checkpoint")
        if self.key is None:
            unproved.append("without the key: that nobody who can write the log and its head rewrote both")
        if self.head and self.last.seq > self.head.seq:
            unproved.append(
                f"records {self.head.seq + 1} to {self.last.seq} came after the head: they could be cut off"
            )
        if not self.head:
            unproved.append("without a head: that no records were cut off the end")
        if not self.expect:
            unproved.append(
                "without an expected checkpoint: that log and head were not both put back to an older state"
            )
        return tuple(proved), tuple(unproved)


def _being_written(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False
