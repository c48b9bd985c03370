"""Rows on their way: what an exchange hands to the batcher, what the worker makes of it, and how both may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import pyarrow as pa

from aimds.errors import ConfigError
from aimds.gateway.batching import Job
from aimds.gateway.identity import Identity
from aimds.gateway.output import OutputConfig
from aimds.gateway.problem import Problem
from aimds.gateway.rows import Row, batch_of, lines, objects
from aimds.gateway.turning_away import Refusal
from aimds.gateway.under_way import Bodies

OBJECTS, FULL, BRIEF, ARROW = "objects", "full", "brief", "arrow"
"""Forms of an answer: dicts, JSON lines, short JSON lines, a RecordBatch."""
ANY_TIER, LOCAL_TIERS = "any", "local"
"""Which model tiers a row may be sent to, where a choice is asked for."""
TURNS_BODIES = 8
"""A request with turns may be so many times as large as one with a text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one request may hold or ask for; ``_ms`` in milliseconds, the rest in bytes and rows.
    ``max_held_bytes`` is what all together may hold of bodies that have not come whole and of tables that wait to be
    judged, those of an identity half."""

    max_body_bytes: int = 2 << 20
    max_text_bytes: int = 1 << 20
    max_batch_bytes: int = 4 << 30
    max_message_bytes: int = 16 << 20
    max_expanded_bytes: int = 64 << 20
    max_held_bytes: int = 256 << 20
    max_turns: int = 256
    deadline_ms: float = 1000.0
    batch_deadline_ms: float = 60_000.0
    max_deadline_ms: float = 120_000.0
    piece_rows: int = 256
    piece_bytes: int = 256 << 10
    window_pieces: int = 4
    window_rows: int = 2048

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value <= 0:
                raise ConfigError(f"limits.{one.name}", value, "more than 0")

    @property
    def max_turns_bytes(self) -> int:
        """Of the body of a request with turns."""
        return TURNS_BODIES * self.max_body_bytes

    def check(self) -> None:
        """Look whether one body alone, as large as may be, could be held.

        Raises:
            ConfigError: it could not, so that it would be refused for ever.
        """
        own = self.max_held_bytes // 2
        for name, most in (
            ("max_message_bytes", own),
            ("max_expanded_bytes", own),
            ("max_body_bytes", own // TURNS_BODIES),
        ):
            if (value := getattr(self, name)) > most:
                told = f"at most {most}, since of limits.max_held_bytes = {self.max_held_bytes} one identity has half"
                raise ConfigError(f"limits.{name}", value, told)


@dataclass(slots=True, eq=False)
class Piece:
    """Rows of one exchange that are screened together, as ``rows`` or as a ``table`` of REQUESTS.

    ``done`` gets the answer in the ``form`` asked for, ``failed`` why there is none; one of them is called, once.
    """

    route: str
    identity: Identity
    form: str
    done: Callable[[Any, float], None]
    failed: Callable[[Problem, float], None]
    rows: list[Row] | None = None
    table: pa.RecordBatch | None = None
    admitted: bool = False
    """Its request has been let in with an earlier piece."""
    apart: bool = False
    """Its rows are requests of their own: an answer is a list with a Problem in the place of a row that has none."""
    tiers: str = ""
    """ANY_TIER or LOCAL_TIERS where a choice is asked for; its form is JSON lines then."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with each of its rows, where none of them can be screened."""

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows) if self.rows is not None else int(self.table.num_rows) if self.table is not None else 0

    @property
    def text_bytes(self) -> int:
        """Bytes of text, about: a character of a str counts as it does in memory."""
        if self.rows is not None:
            if len(self.rows) == 1 and (text := self.rows[0].text).isascii():
                return len(text)
            return sum(len(one.text) if one.text.isascii() else len(one.text.encode()) for one in self.rows)
        assert self.table is not None
        column = self.table.column("text")
        return int(column.nbytes)

    def singles(self) -> list[Piece]:
        """Itself, or where its rows stand ``apart`` a piece for each of them; whoever takes them calls nobody back."""
        if not self.apart or self.rows is None or len(self.rows) == 1:
            return [self]
        return [
            Piece(self.route, self.identity, self.form, self.done, self.failed, rows=[one], tiers=self.tiers)
            for one in self.rows
        ]

    def requests(self) -> pa.RecordBatch:
        """The rows as REQUESTS."""
        return self.table if self.rows is None else batch_of(self.rows)

    def formed(self, verdicts: pa.RecordBatch) -> Any:
        """``verdicts`` of these rows in the form asked for."""
        if self.form == ARROW:
            return verdicts
        return objects(verdicts) if self.form == OBJECTS else lines(verdicts, brief=self.form == BRIEF)

    def withheld(self, found: Any) -> list[Problem]:
        """The Problem of each of its rows that has one in the place of a verdict in ``found``, the answer."""
        if isinstance(found, Problem):
            return [found] * self.count
        return [one for one in found if isinstance(one, Problem)] if self.apart else []


class Desk(Protocol):
    """What exchanges ask of the service."""

    limits: Limits
    output: OutputConfig
    has_tiers: bool
    bodies: Bodies

    @property
    def grain(self) -> tuple[int, float]:
        """Rows, and work as `BatchTime` counts it, that may be queued as one job and leave a batch its freedom."""

    def place(self, piece: Piece, deadline: float, urgency: int, now: float, *, trial: bool = False) -> Job:
        """Queue ``piece``, due at ``deadline``, or raise a Problem; as a ``trial``, that is not counted."""

    def expect(self, identity: Identity, rows: int, size: int, deadline: float, now: float) -> None:
        """Whether a piece of so many ``rows`` and ``size`` bytes of text would be queued, before anything is done for
        it, or raise a Problem."""

    def turned_away(
        self, identity: Identity, tenant: str | None, rows: int, slack_s: float, now: float
    ) -> Refusal | None:
        """Why each of ``rows`` texts of ``tenant``, due within ``slack_s``, is refused before anything is made of it;
        None where they have to be placed."""

    def charge(self, identity: Identity, rows: int, now: float, *, admitted: bool = False, apart: bool = False) -> None:
        """Count ``rows`` that are answered without being screened against the rate of ``identity``, or raise a Problem;
        ``admitted`` and ``apart`` as in `Piece`."""

    def shed(self, problem: Problem, n: int) -> None:
        """Count ``n`` rows that were not even tried, since others like them were refused."""

    def cancel(self, job: Job) -> None:
        """Nobody waits for ``job`` any more."""

    def unjudged(self, batch: pa.RecordBatch, reason: str) -> pa.RecordBatch:
        """Verdicts with status error for ``batch``."""

    def forwards(self, action: str) -> bool:
        """Whether a text with ``action`` is passed on."""


def portions(batch: pa.RecordBatch, limits: Limits) -> Iterator[pa.RecordBatch]:
    """``batch`` in parts of up to ``piece_rows`` rows and ``piece_bytes`` of text, but one row at least."""
    start, column = 0, batch.column("text")
    while start < batch.num_rows:
        rows_left = min(limits.piece_rows, batch.num_rows - start)
        while rows_left > 1 and column.slice(start, rows_left).nbytes > limits.piece_bytes:
            rows_left //= 2
        yield batch.slice(start, rows_left)
        start += rows_left


def joined(pieces: Sequence[Piece]) -> pa.RecordBatch:
    """All rows of ``pieces`` as one batch of REQUESTS, in order."""
    if all(piece.rows is not None for piece in pieces):
        return batch_of([one for piece in pieces for one in piece.rows or ()])
    batches = [piece.requests() for piece in pieces]
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
