"""Sessions that run on from file to file: each file leaves what a session needs of its rows, and all are followed
together, a stretch of sessions at a time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.analyze.session_model import SessionModel
from aimds.analyze.turns import Turns, channels, turns
from aimds.jobs.scan import by_session, followed, joined, session_column
from aimds.jobs.scan.by_session import BySession
from aimds.jobs.scan.followed import Followed
from aimds.jobs.scan.joined import TAIL, Joined
from aimds.jobs.scan.session_column import MARKS, Codes, Kept, unpacked
from aimds.jobs.scan.tasks import Factory

NAME: Final = "turns.arrow"
COLUMNS: Final = ("kinds", "surprises", "numbers", "times", "ordered", "names")
KINDS: Final = (pa.uint8(), pa.float64(), pa.int64(), pa.int64(), pa.uint8(), pa.uint32())
TURNS: Final = pa.schema(
    [
        *by_session.HASH,
        pa.field("row", pa.int64()),
        *(pa.field(name, kind) for name, kind in zip(COLUMNS, KINDS, strict=True)),
        MARKS,
    ]
)


JOINED: Final = TURNS.append(pa.field("channel", pa.uint8())).append(TAIL)
"""TURNS where they are judged together with those before them."""


def write(folder: Path, found: Sequence[Path], own: str, *, joining: bool = False) -> None:
    """Write what sessions need of the rows of the parts ``found`` into ``folder``.

    ``own``: the name of the file: the place of a row that has no id tells it only from others in it. ``joining``: what
    joining turns needs too.

    Raises:
        OutputError: the operating system refuses a read or a write.
    """

    hashed = hashlib.blake2b(own.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    salt = int.from_bytes(hashed, "little")

    def made(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> Sequence[pa.Array]:
        given = session_column.told_apart(turns(batch), unpacked(batch.column(MARKS.name)), salt)
        columns = [pa.array(rows), *(pa.array(getattr(given, name)) for name in COLUMNS), batch.column(MARKS.name)]
        if joining:
            columns += [pa.array(channels(batch).astype(np.uint8)), batch.column(TAIL.name)]
        return columns

    by_session.write(folder / NAME, JOINED if joining else TURNS, found, made, joined=joining)


def judge(
    model: SessionModel,
    types: Codes | None,
    screener: Factory | None,
    folders: Sequence[Path],
    wanted: Sequence[bool],
) -> None:
    """Follow all sessions in the turns that lie in ``folders``, one for each file in their order, and leave in those
    that are ``wanted`` what is said of the file's rows.

    ``screener``: makes what judges turns together with those before them, in this process; None: nothing does.
    Memory: the turns of a million rows, or of the longest session; of 125,000 where they are joined.

    Raises:
        DataError: what a file left cannot be read.
        OutputError: the operating system refuses a write.
    """
    joins = None
    if screener is not None:
        # Beside the folders of the files, each of which is swept as soon as its own output stands.
        joins = Joined(functools.cache(lambda: screener.make("screener")), folders[0].parent / joined.NAME)
    files = [BySession(folder / NAME, TURNS if joins is None else JOINED) for folder in folders]
    for folder, keep in zip(folders, wanted, strict=True):
        if keep:
            followed.clear(folder)
    passes = session_column.passes(sum(file.rows for file in files), joined=joins is not None)
    for number in range(passes):
        tables = [file.of_pass(number, passes) for file in files]
        sizes = [table.num_rows for table in tables]
        if not sum(sizes):
            continue
        found, rows, file = _followed(pa.concat_tables(tables), sizes, model, types, joins)
        for place, (folder, keep) in enumerate(zip(folders, wanted, strict=True)):
            mine = np.flatnonzero(file == place)
            if keep and len(mine):
                followed.add(folder, rows[mine], found.of(mine))


def _followed(
    table: pa.Table, sizes: Sequence[int], model: SessionModel, types: Codes | None, joins: Joined | None
) -> tuple[Followed, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    # What is said of each row, its place in its file, and the file's place.
    file, row = np.repeat(np.arange(len(sizes)), sizes), table.column("row").to_numpy()
    # Rows of one time stay in the order of files and rows.
    order = np.lexsort((row, file))
    table = table.take(pa.array(order)).combine_chunks()
    known = np.stack([table.column(field.name).to_numpy() for field in by_session.HASH], axis=1)
    given = Turns(*(table.column(name).to_numpy() for name in COLUMNS))
    packed = [unpacked(chunk) for chunk in table.column(MARKS.name).chunks]
    kept = Kept(known, given, np.concatenate(packed))
    if joins is not None:
        ends = table.column(TAIL.name).combine_chunks()
        kept = replace(kept, ends=ends, channels=table.column("channel").to_numpy())
    found = session_column.judged(kept, model, types, joins)
    return found, row[order], file[order]
