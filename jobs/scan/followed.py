"""What following its session says of each row of a file: the score, and what it moves on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.attractors import named
from aimds.jobs.scan import durable
from aimds.respond.session_findings import UNSIGNED
from aimds.schema import VERDICTS

NAME: Final = f".followed{durable.TEMPORARY}"
"""Swept away with the parts once the output stands."""
RECORD: Final = np.dtype([("row", "<i8"), ("score", "<f4"), ("sign", "i1"), ("kind", "i1")])
READ: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Followed:
    """Of N rows: ``scores`` float32 (N,), not a number where there is none · ``signs`` int8 (N,), what each score rests
    on most, as `Policy.with_sessions` takes them · ``kinds`` int8 (N,), places in `attractors.TYPES`, -1 where there is
    none."""

    scores: npt.NDArray[np.float32]
    signs: npt.NDArray[np.int8]
    kinds: npt.NDArray[np.int8]

    @classmethod
    def nothing(cls, count: int) -> Followed:
        """Of ``count`` rows, nothing yet."""
        return cls(np.full(count, np.nan, np.float32), np.full(count, UNSIGNED, np.int8), np.full(count, -1, np.int8))

    def of(self, rows: slice | npt.NDArray[np.int64]) -> Followed:
        """What is said of ``rows``."""
        return Followed(self.scores[rows], self.signs[rows], self.kinds[rows])

    def put_at(self, rows: npt.NDArray[np.int64], said: Followed) -> None:
        """Take in what is ``said`` of ``rows``, int64."""
        self.scores[rows], self.signs[rows], self.kinds[rows] = said.scores, said.signs, said.kinds

    def put(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """``batch`` (VERDICTS) of these rows with the column ``attractor`` where it has a type."""
        if not (self.kinds >= 0).any():
            return batch
        place, field = batch.schema.get_field_index("attractor"), VERDICTS.field("attractor")
        return batch.set_column(place, field, named(self.kinds).dictionary_encode().cast(field.type))


def clear(folder: Path) -> None:
    """Begin in ``folder``: nothing is known of any row."""
    with durable.guarded(folder / NAME, "write"):
        (folder / NAME).write_bytes(b"")


def add(folder: Path, rows: npt.NDArray[np.int64], followed: Followed) -> None:
    """Add to what is in ``folder``: what is ``followed`` of the rows ``rows``, int64 (N,), of its file.

    Raises:
        OutputError: the operating system refuses the write.
    """
    records = np.empty(len(rows), RECORD)
    records["row"], records["score"] = rows, followed.scores
    records["sign"], records["kind"] = followed.signs, followed.kinds
    with durable.guarded(folder / NAME, "write"), open(folder / NAME, "ab") as file:
        file.write(records.tobytes())


def read(folder: Path, count: int) -> Followed:
    """Of ``count`` rows of a file, what was added in ``folder``.

    Raises:
        OutputError: the operating system refuses the read.
    """
    out = Followed.nothing(count)
    with durable.guarded(folder / NAME, "read"), open(folder / NAME, "rb") as file:
        while len(records := np.fromfile(file, RECORD, READ)):
            out.put_at(records["row"], Followed(records["score"], records["sign"], records["kind"]))
    return out
