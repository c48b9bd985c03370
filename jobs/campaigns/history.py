"""The history that is searched: verdicts with their texts as they are, raw logs after a scan of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.report.verdict_files import REQUIRED
from aimds.jobs.scan import Columns, Factory, Progress, Scan, ScanConfig, Skip
from aimds.jobs.scan.columns import resolve
from aimds.jobs.scan.convert import carried, plain, to_requests
from aimds.jobs.scan.inputs import Source, discover, left_out
from aimds.jobs.scan.reading import Chunk, ReadError, Slice, gather, open_table
from aimds.schema import ACTIONS
from aimds.verdicts import named_by_session

VERDICTS = "verdicts"
"""Folder below the output for the verdicts of raw logs."""
NO_ATTACK = pa.array(["none", "pii_exposure"])
"""Threat types of rows that are nobody's campaign: no threat, and personal data that somebody gave away."""
ROWS, BYTES = 2048, 8 << 20
"""Rows, and bytes of them, that are held at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows are candidates: those of an attack whose ``action`` is this one or worse or, where ``p_value`` is
    given, whose p-value is at most that, whatever was done. Rows whose threat type is one of `NO_ATTACK`, or one that
    only their session shows, never are."""

    action: str = "flag"
    p_value: float | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS[1:]:
            raise ConfigError("action", self.action, "one of " + ", ".join(ACTIONS[1:]))
        if self.p_value is not None and not 0 < self.p_value <= 1:
            raise ConfigError("p_value", self.p_value, "a probability above 0 and up to 1")


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of one file. ``requests`` REQUESTS · ``verdicts``: action, threat_type, score, p_value, evidence
    · ``user``: the column of users, null where there is none · ``numbers`` int64: rows in the file · ``candidate``
    and ``ordinary`` bool: what is looked for, and what was allowed."""

    file: str
    requests: pa.RecordBatch
    verdicts: Mapping[str, pa.Array]
    user: pa.Array
    numbers: pa.Array
    candidate: npt.NDArray[np.bool_]
    ordinary: npt.NDArray[np.bool_]


class History:
    """The files of ``config``, told apart by their columns: verdicts, and logs to be screened first."""

    def __init__(self, config: ScanConfig, wanted: Wanted, *, user: str | None = None) -> None:
        """
        Raises:
            DataError: no input.
            SchemaError: verdicts without a column of texts.
        """
        self._wanted, self._user = wanted, user
        own = os.path.realpath(config.output) + os.sep
        self.skipped: list[Skip] = []
        self._verdicts: list[tuple[Source, Columns]] = []
        raw: list[str] = []
        written = 0
        others: dict[str, list[str]] = {}
        for source in discover(config.inputs, config.output / VERDICTS, others=others):
            if not source.uri and os.path.realpath(source.path).startswith(own):
                written += 1
                continue
            try:
                schema = open_table(source).schema
            except (DataError, OSError, ValueError) as error:
                self.skipped.append(Skip(source.label, None, None, None, str(getattr(error, "problem", error))))
                continue
            if source.kind == "parquet" and set(REQUIRED) <= set(schema.names):
                self._check(schema, source.label, config.columns)
                self._verdicts.append((source, config.columns))
            else:
                raw.append(source.label if source.uri else source.path)
        self.notes: list[str] = []
        """What to know of the inputs beside what was skipped."""
        for folder, names in others.items():
            if left := [one for one in names if not os.path.realpath(os.path.join(folder, one)).startswith(own)]:
                self.notes.append(left_out(folder, left))
        self._as_given = not (written or self._verdicts or self.skipped)
        if self._as_given:
            raw = list(config.inputs)
        carry = tuple(name for name in (user,) if name is not None)
        self._scan = replace(config, inputs=tuple(raw), output=config.output / VERDICTS, carry=carry, with_text=True)

    def _check(self, schema: pa.Schema, label: str, columns: Columns) -> None:
        try:
            resolve(schema, columns, label)
        except SchemaError as error:
            if error.column != "text":
                raise
            way = "write them with aimds scan --with-text, or give the original logs instead"
            raise SchemaError("text", f"{label} holds verdicts without their texts; {way}") from None
        if self._wanted.p_value is not None and "p_value" not in schema.names:
            raise SchemaError("p_value", f"no such column in {label}; choose candidates by --at instead")
        if self._user is not None and self._user not in schema.names:
            way = f"write them with aimds scan --carry {self._user}, or leave --user-column out"
            raise SchemaError(self._user, f"no such column in {label}; {way}")

    @property
    def unscreened(self) -> tuple[str, ...]:
        """The logs that have to be screened first."""
        return self._scan.inputs

    def screen(self, factory: Factory, progress: Progress) -> None:
        """Screen the raw logs into a folder of their own; what is done there already is not done again. The `notes` are
        told, by the scan itself where it looks into the same folders.

        Raises:
            DataError, SchemaError, ConfigError: as `Scan.run`.
        """
        for note in () if self._as_given else self.notes:
            progress.note(note)
        if self._scan.inputs:
            summary = Scan(self._scan, factory).run(progress)
            self.skipped += summary.skipped
            for one in summary.outputs:
                path = str(one["output"])
                name = os.path.relpath(path, self._scan.output)
                self._verdicts.append((Source(os.path.abspath(path), "", name, "parquet"), Columns()))

    def parts(self, progress: Progress) -> Iterator[Part]:
        """All rows, files in order of their names; what cannot be read is skipped and listed."""
        found = sorted(self._verdicts, key=lambda one: (one[0].name, one[0].path))
        progress.begin(sum(_rows(source) for source, _ in found), 0)
        try:
            for source, columns in found:
                try:
                    table = open_table(source)
                    groups = table.layout(1 << 16)
                except (DataError, OSError) as error:
                    self.skipped.append(Skip(source.label, None, None, None, str(error)))
                    continue
                used = resolve(table.schema, columns, source.label)[0].used()
                names = list(dict.fromkeys([*used.values(), *(n for n in self._needed() if n in table.schema.names)]))
                first = 0
                for number, group in enumerate(groups):
                    chunks = table.chunks(Slice(number, 0, group.rows, first), names)
                    try:
                        for chunk in gather(chunks, ROWS, BYTES):
                            yield self._part(source.name, chunk, used)
                            progress.advance(chunk.batch.num_rows)
                    except ReadError as error:
                        self.skipped.append(Skip(source.label, number, first, group.rows, error.problem))
                    first += group.rows
        finally:
            progress.end()

    def _needed(self) -> tuple[str, ...]:
        more = () if self._user is None else (self._user,)
        return ("action", "threat_type", "score", "p_value", "evidence", *more)

    def _part(self, file: str, chunk: Chunk, used: dict[str, str]) -> Part:
        batch, n = chunk.batch, chunk.batch.num_rows

        def column(name: str | None, kind: pa.DataType) -> pa.Array:
            found = name is not None and name in batch.schema.names
            return carried(plain(batch.column(name)), kind) if found else pa.nulls(n, kind)

        requests, _ = to_requests(batch, used, chunk.numbers)
        verdicts: dict[str, pa.Array] = {
            "action": column("action", pa.string()),
            "threat_type": column("threat_type", pa.string()),
            "score": column("score", pa.float32()),
            "p_value": column("p_value", pa.float64()),
            "evidence": batch.column("evidence"),
        }
        told = verdicts["threat_type"]
        threat = np.asarray(pc.and_(told.is_valid(), pc.invert(pc.is_in(told, value_set=NO_ATTACK))))
        # Texts of one campaign are alike; what only their session speaks against may be any text.
        judged = {name: verdicts[name] for name in ("threat_type", "p_value")}
        threat &= ~named_by_session(pa.RecordBatch.from_pydict(judged))
        if self._wanted.p_value is None:
            worse = pa.array(ACTIONS[ACTIONS.index(self._wanted.action) :])
            met = np.asarray(pc.is_in(verdicts["action"], value_set=worse))
        else:
            met = np.asarray(pc.fill_null(pc.less_equal(verdicts["p_value"], self._wanted.p_value), False))
        there = np.asarray(requests.column("text").is_valid())
        ordinary = np.asarray(pc.fill_null(pc.equal(verdicts["action"], "allow"), False))
        candidate = threat & met & there
        return Part(
            file,
            requests,
            verdicts,
            column(self._user, pa.string()),
            chunk.numbers,
            candidate,
            ordinary & there & ~candidate,
        )


def evidence(part: Part, rows: npt.NDArray[np.int64]) -> list[list[dict[str, Any]]]:
    """The evidence of ``rows`` of ``part``."""
    found = part.verdicts["evidence"].take(pa.array(rows)).to_pylist()
    return [[item for item in items or [] if item is not None] for items in found]


def _rows(source: Source) -> int:
    """The rows that ``source`` declares; 0 where it cannot be read, which is reported when its rows are asked for."""
    try:
        return sum(group.rows for group in open_table(source).layout(1 << 16))
    except (DataError, OSError):
        return 0
