"""A file's rows as steps of sessions, kept beside its output: sessions that run on in other files are judged by them.

A row without a session is no step: it is judged where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.jobs.scan import by_session
from aimds.jobs.scan.by_session import BySession
from aimds.jobs.scan.followed import Followed
from aimds.jobs.scan.outcome import acted
from aimds.ltl.sessions import masks, micros
from aimds.respond.policy import Policy

NAME: Final = "steps.arrow"
EVENTS: Final = pa.field("_events", pa.uint64())
"""Column of the parts, not of the output: which events of the policies the request itself names."""
STEPS: Final = pa.schema(
    [
        *by_session.HASH,
        pa.field("turn", pa.int64()),
        pa.field("ts", pa.int64()),
        pa.field("events", pa.uint64()),
        pa.field("row", pa.int64()),
    ]
)


def write(
    folder: Path,
    found: Sequence[Path],
    said: Followed,
    policy: Policy | None,
    names: Sequence[str],
) -> None:
    """Write the steps of the parts ``found`` into ``folder``: the events ``names`` that occur in each row once the
    ``policy`` has acted on what is ``said`` of it.

    Raises:
        OutputError: the operating system refuses a read or a write.
    """

    def made(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> Sequence[pa.Array]:
        verdicts = acted(batch, said.of(rows), policy)
        events = masks(verdicts, names) | batch.column(EVENTS.name).to_numpy(zero_copy_only=False)
        return [batch.column("turn"), micros(batch.column("ts")), pa.array(events), pa.array(rows)]

    by_session.write(folder / NAME, STEPS, found, made)


def read(folder: Path) -> BySession:
    """The steps in ``folder``, which `write` left there.

    Raises:
        DataError: they cannot be read.
    """
    return BySession(folder / NAME, STEPS)
