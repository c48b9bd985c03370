"""The check of a chain, record by record: what is wrong with it, what is proved, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aimds.record.chain import CHECKPOINT, ERASED, GENESIS, NO_HASH, RECOVERED, RETAINED, SEGMENT, Record, is_number
from aimds.record.checkpoints import Checkpoint, from_body
from aimds.record.keys import key_id
from aimds.record.segments import beginning
from aimds.record.spans import Spans

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_PROBLEMS = 100
"""Problems that a report lists; it counts them all."""
MOST_SPANS = 20
KINDS = ("edit", "delete", "reorder", "truncation", "torn", "head", "key", "signature", "erasure", "index")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its kind (KINDS), the line it was met at (from 1; 0: the log as a whole), in words, and
    the file of the line."""

    kind: str
    line: int
    message: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """What the check may rely on: the key of the log, public keys of its signers, and checkpoints from elsewhere."""

    key: bytes | None = None
    public: Sequence[Ed25519PublicKey] = ()
    points: Sequence[tuple[int, str, str]] = ()
    """Number and hash of a record, and who knows it."""

    @property
    def binds(self) -> bool:
        """Whether the result binds someone who can write the files."""
        return self.key is not None or bool(self.public)


@dataclass(slots=True)
class Check:
    """Told of the head, then of every record in turn, then that this was all."""

    proof: Proof
    head: Checkpoint | None = None
    sealed: bool = False
    problems: list[Problem] = field(default_factory=list)
    count: int = 0
    records: int = 0
    chain: str | None = None
    keyed: bool = False
    last: Record = field(default_factory=lambda: Record(-1, "", "", {}, "", NO_HASH))
    first: int = -1
    signed: int = 0
    signed_to: int = -1
    tombs: Spans = field(default_factory=Spans)
    file: str = ""
    part: bool = False
    """Records from the middle of a log: what came before and after is not known."""
    _known: list[tuple[int, str, str]] = field(default_factory=list)
    _bad_lines: int = 0
    _segment: int = 0
    _erased: list[tuple[int, int, int]] = field(default_factory=list)
    _retained: tuple[int, int, str] = (-1, -1, "")
    _start: str = NO_HASH
    _unsealed: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known += self.proof.points

    def add(self, kind: str, line: int, message: str) -> None:
        """Note a problem."""
        self.count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, line, message, self.file))

    def know(self, head: Checkpoint, sealed: bool, torn: bool = False) -> None:
        """Take the head of the log into account."""
        self.head, self.sealed = head, sealed
        if torn:
            problem = "one of the two slots of the head is damaged: by a power cut while it was written, or changed"
            self.add("head", 0, f"{problem}; opening the log again notes it and mends it")
        self._known.append((head.seq, head.hash, "the head"))
        if head.signed_by(self.proof.public):
            self.signed_to = head.seq

    def bad_line(self, number: int, message: str) -> None:
        """A line that is no record, or not the one it was."""
        self.add("edit", number, message)
        self._bad_lines += 1

    def record(self, record: Record, number: int, *, hidden: bool = False) -> None:
        """The next record, read from line ``number``; of a ``hidden`` one the body is not known."""
        self.records += 1
        for seq, digest, who in self._known:
            if record.seq == seq and record.hash != digest:
                self.add("edit", number, f"record {seq} is not the one that {who} knows")
        if record.kind in (GENESIS, SEGMENT) or record.seq == 0:
            self._beginning(record, number)
        if self.first < 0:
            self._begin(record)
        elif record.seq <= self.last.seq:
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
        if record.commit is not None and record.private is None and not hidden:
            self.tombs.add(record.seq)
        if record.kind in (CHECKPOINT, ERASED, RETAINED):
            self._control(record, number)
        elif record.kind == RECOVERED:
            self._unsealed += _spans([record.body.get("unsealed")], record.seq) or []

    def _begin(self, record: Record) -> None:
        if self.part:
            self.first, self.last = record.seq, Record(record.seq - 1, "", "", {}, "", record.prev)
            return
        self.first = record.seq if record.kind == SEGMENT else 0
        if record.kind == SEGMENT:
            # Files before it may have been let go: the record that says so comes later.
            self._start = record.prev
            self.last = Record(record.seq - 1, "", "", {}, "", record.prev)

    def _beginning(self, record: Record, number: int) -> None:
        found = beginning(record)
        if found is None:
            self.add("edit", number, "a record that begins a log stands elsewhere, or the first one begins none")
            return
        chain, started, segment = found
        if self.chain is None:
            self.chain, self.keyed = chain, started is not None
            if self.proof.key is not None and started != key_id(self.proof.key):
                self.add(
                    "key", number, f"the log was started with {'another' if self.keyed else 'no'} key, or rewritten"
                )
        elif chain != self.chain or (self._segment and segment != self._segment + 1):
            self.add("edit", number, f"file {segment} of chain {chain} follows file {self._segment} of {self.chain}")
        self._segment = segment

    def _control(self, record: Record, number: int) -> None:
        body = record.body
        if record.kind == CHECKPOINT:
            point = from_body(body)
            if self.part and self.chain is None and point is not None:
                self.chain = point.chain
            if point is None or (point.seq, point.hash, point.chain) != (record.seq - 1, record.prev, self.chain):
                self.add("signature", number, f"record {record.seq} is no checkpoint of this chain")
            elif self.proof.public and not point.signed_by(self.proof.public):
                self.add("signature", number, f"checkpoint {record.seq} is not signed by a key that was given")
            else:
                self.signed += 1
                if self.proof.public:
                    self.signed_to = max(self.signed_to, point.seq)
        elif record.kind == ERASED:
            spans = _spans(body.get("records"), record.seq)
            if spans is None:
                self.add("erasure", number, f"record {record.seq} does not say which records were erased")
            self._erased += [(low, high, record.seq) for low, high in spans or ()]
        elif not is_number(body.get("through")) or body["through"] >= record.seq:
            self.add("erasure", number, f"record {record.seq} does not say which records were let go")
        elif body["through"] > self._retained[1]:
            self._retained = (record.seq, body["through"], str(body.get("hash")))

    def finish(self) -> None:
        """There are no more records."""
        self.file = ""
        if self.part:
            if self.proof.public and self.signed_to < self.first:
                self.add("signature", 0, "no checkpoint in it is signed by a key that was given")
            return
        for seq, _, who in self._known:
            if seq > self.last.seq:
                end = f"ends at record {self.last.seq}" if self.records else "holds no record"
                self.add("truncation", 0, f"the log {end}, but {who} knows record {seq}")
        self._heads()
        trusted = self._trusted()
        self._gone(trusted)
        self._taken_out(trusted)

    def _heads(self) -> None:
        key, head = self.proof.key, self.head
        if head and self.chain is not None and head.chain != self.chain:
            self.add("head", 0, "the head belongs to another log")
        if head and not self.sealed and (key is not None or not self.keyed):
            self.add("head", 0, "the seal of the head is wrong: it was changed, or sealed with another key")
        if head and self.proof.public and not head.signed_by(self.proof.public):
            self.add("signature", 0, "the head is not signed by a key that was given")
        if not head and self.proof.binds and not any(problem.kind == "head" for problem in self.problems):
            self.add("head", 0, "the head is missing: nothing shows that the records are those of a holder of the key")

    def _trusted(self) -> int:
        """The last record of which it is known that a holder of the key wrote it."""
        if not self.proof.binds:
            return self.last.seq
        sealed = self.head.seq if self.head and self.sealed and self.proof.key is not None else -1
        return max(sealed, self.signed_to, *(seq for seq, _, _ in self.proof.points), -1)

    def _gone(self, trusted: int) -> None:
        said, through, digest = self._retained
        if self.first <= 0:
            return
        if said > trusted or through < self.first - 1 or (through == self.first - 1 and digest != self._start):
            self.add(
                "delete", 0, f"records 0 to {self.first - 1} are missing, and no record says that they were let go"
            )

    def _taken_out(self, trusted: int) -> None:
        said = Spans.of((low, high) for low, high, by in self._erased if by <= trusted)
        for low, high in self.tombs.without(said):
            span = f"record {low}" if low == high else f"records {low} to {high}"
            self.add("erasure", 0, f"the private part of {span} is missing, and no record says that it was erased")
        for low, high in said.without(self.tombs):
            if high >= max(self.first, 0):
                span = f"record {low}" if low == high else f"records {low} to {high}"
                self.add("erasure", 0, f"{span} should have lost the private part, but did not: erase again")

    def claims(self, expected: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is proved and what is not; ``expected`` is the last record that a checkpoint from elsewhere knows."""
        proved, unproved = [], []
        begin = max(self.first, 0)
        if self.count == 0:
            proved.append(f"records {begin} to {self.last.seq} are whole, in order and without a gap")
            if begin:
                proved.append(f"records 0 to {begin - 1} were let go, as a record says")
            if len(self.tombs):
                proved.append(f"the private parts of {len(self.tombs)} records were erased, as records say")
            if self.head and self.proof.key is not None:
                proved.append(f"records {begin} to {self.head.seq} are those that a holder of the key wrote")
            if self.signed_to >= 0:
                proved.append(f"records {begin} to {self.signed_to} are those that a holder of the signing key wrote")
            if expected is not None:
                proved.append(f"records {begin} to {expected} are those of the expected checkpoint")
        if not self.proof.binds:
            unproved.append("without the key: that nobody who can write the log and its head rewrote both")
        if self.head and self.last.seq > self.head.seq:
            unproved.append(
                f"records {self.head.seq + 1} to {self.last.seq} came after the head: they could be cut off"
            )
        unsealed = list(Spans.of(self._unsealed)) if self.proof.binds else []
        for low, high in unsealed[:MOST_SPANS]:
            unproved.append(f"who wrote records {low} to {high}: no head had sealed them when the log was opened again")
        if len(unsealed) > MOST_SPANS:
            unproved.append(f"the same of {len(unsealed) - MOST_SPANS} more spans of records")
        if not self.head:
            unproved.append("without a head: that no records were cut off the end")
        if expected is None:
            unproved.append(
                "without an expected checkpoint: that log and head were not both put back to an older state"
            )
        return tuple(proved), tuple(unproved)


def _spans(found: Any, before: int) -> list[tuple[int, int]] | None:
    if not isinstance(found, list):
        return None
    spans = []
    for one in found:
        if not (isinstance(one, list) and len(one) == 2 and is_number(one[0]) and is_number(one[1])):
            return None
        if not one[0] <= one[1] < before:
            return None
        spans.append((one[0], one[1]))
    return spans
