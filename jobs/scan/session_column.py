"""Sessions of a scan: units leave behind what a session needs of each row, the assembly of a file sums it up.

The rows of a session go by turn, else by time, else as they stand, one without a time behind those before it; each
gets the score of its session as it stands with that row, as it would live, and what it moves on where that is asked
for. Memory stays bounded: sessions are shared out by their hash into passes over the parts of about PASS_ROWS rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import kernels
from aimds.analyze import traces
from aimds.analyze import turns as turning
from aimds.analyze.rephrase import DIMS
from aimds.analyze.series import COLUMN, WINDOW
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.traces import Memory
from aimds.analyze.turns import Marks, Turns, keys, marks, turns
from aimds.detect.texts import Texts
from aimds.jobs.scan import parts
from aimds.jobs.scan.followed import Followed
from aimds.jobs.scan.joined import TAIL, Joined
from aimds.ltl.sessions import moments
from aimds.schema import VERDICTS

MARKS: Final = pa.field("_session_marks", pa.binary(DIMS + 1))
"""Column of the parts, not of the output: the fingerprint of a row, and a byte with REFUSED and UNNAMED."""
REFUSED, UNNAMED = 1, 2
"""The row refuses; its id is only its place in the file."""
PASS_ROWS: Final = 1_000_000
TEXT_ROWS: Final = 125_000
"""As many where the ends of texts are held too."""
CHUNK_ROWS: Final = 65_536
Codes = Callable[[npt.NDArray[np.float64], npt.NDArray[np.int64]], npt.NDArray[np.int8]]
"""As `Attractors.codes`."""


def wanted(used: Mapping[str, str]) -> bool:
    """Whether a file with these columns has sessions."""
    return "session_id" in used


def column(texts: pa.Array, verdicts: pa.RecordBatch, unnamed: npt.NDArray[np.bool_]) -> pa.Array:
    """MARKS of the rows of ``verdicts``, whose ``texts`` (large_string) are given, and which have no id."""
    made = marks(Texts.from_arrow(texts), turns(verdicts).kinds)
    said = made.refused * REFUSED | np.where(unnamed, UNNAMED, 0).astype(np.uint8)
    packed = np.concatenate([made.prints.view(np.uint8), said[:, None]], axis=1)
    return pa.FixedSizeBinaryArray.from_buffers(MARKS.type, len(packed), [None, pa.py_buffer(packed.tobytes())])


@dataclass(frozen=True, slots=True)
class Kept:
    """What parts keep of B rows with a session: ``named`` uint64 (B, 2), what it is known by · ``turns`` · ``printed``
    uint8 (B, DIMS+1), MARKS. Where turns are joined, ``ends``: joined.TAIL, and ``channels`` uint8 (B,)."""

    named: npt.NDArray[np.uint64]
    turns: Turns
    printed: npt.NDArray[np.uint8]
    ends: pa.Array | None = None
    channels: npt.NDArray[np.uint8] | None = None


def follow(
    found: Sequence[Path], model: SessionModel, types: Codes | None = None, joins: Joined | None = None
) -> Followed:
    """What sessions say of each row of the parts ``found``, in their order.

    ``types`` gives what they move on, ``joins`` judges turns together with those before them.

    Raises:
        OutputError: the operating system refuses a read.
    """
    count = rows(found)
    out, number_of = Followed.nothing(count), passes(count, joined=joins is not None)
    for number in range(number_of):
        _pass(found, number, number_of, model, types, joins, out)
    return out


def rows(found: Sequence[Path]) -> int:
    """How many rows the parts ``found`` have."""
    return sum(parts.rows(path) for path in found)


def passes(count: int, *, joined: bool = False) -> int:
    """How many passes a file of ``count`` rows takes; ``joined``: with the ends of their texts."""
    return -(-count // (TEXT_ROWS if joined else PASS_ROWS))


def mine(known: npt.NDArray[np.uint64], number: int, passes: int) -> npt.NDArray[np.int64]:
    """Those of the sessions ``known`` uint64 (B, 2) that pass ``number`` looks at: a stretch of their hashes."""
    return np.flatnonzero((known[:, 0] >> np.uint64(32)) * np.uint64(passes) >> np.uint64(32) == number)


def scored(batch: pa.RecordBatch, scores: npt.NDArray[np.float32]) -> pa.RecordBatch:
    """``batch`` with the column ``session_score``."""
    index = batch.schema.get_field_index("session_score")
    return batch.set_column(index, VERDICTS.field("session_score"), pa.array(scores, mask=np.isnan(scores)))


def unpacked(column: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of MARKS, uint8 (B, DIMS+1)."""
    width = DIMS + 1
    packed = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    return packed.reshape(-1, width)


def told_apart(given: Turns, printed: npt.NDArray[np.uint8], salt: int) -> Turns:
    """``given``, with MARKS as uint8 (B, DIMS+1), where rows that have neither a number nor an id are told from all
    that have one, and from those of files of another ``salt``, 32 bits."""
    alone = (printed[:, DIMS] & UNNAMED > 0) & (given.ordered & 1 == 0)
    return replace(given, names=np.where(alone, ~given.names ^ np.uint32(salt), given.names))


def _pass(
    found: Sequence[Path],
    number: int,
    passes: int,
    model: SessionModel,
    types: Codes | None,
    joins: Joined | None,
    out: Followed,
) -> None:
    named, places, kept, printed, ends, channels = [], [], [], [], [], []
    first = 0
    for path in found:
        for batch in parts.read(path):
            with_session = np.flatnonzero(batch.column("session_id").is_valid().to_numpy(zero_copy_only=False))
            if len(with_session):
                batch_rows = batch.take(pa.array(with_session))
                known = keys(batch_rows)
                chosen = mine(known, number, passes)
                named.append(known[chosen])
                places.append(with_session[chosen] + first)
                marked = unpacked(batch_rows.column(MARKS.name))[chosen]
                kept.append(told_apart(turns(batch_rows).take(chosen), marked, 0))
                printed.append(marked)
                if joins is not None:
                    ends.append(batch_rows.column(TAIL.name).take(pa.array(chosen)))
                    channels.append(turning.channels(batch_rows)[chosen].astype(np.uint8))
            first += batch.num_rows
    if places:
        where = np.concatenate(places)
        texts = None if joins is None else pa.concat_arrays(ends)
        said = None if joins is None else np.concatenate(channels)
        whole = Kept(np.concatenate(named), _joined(kept), np.concatenate(printed), texts, said)
        out.put_at(where, judged(whole, model, types, joins))


def groups(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The number of each row's session, known by two words of a hash, int64 (B,)."""
    order = np.lexsort((low, high))
    changes = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
    out = np.zeros(len(high), np.int64)
    out[order[1:]] = np.cumsum(changes)
    return out


def _joined(kept: Sequence[Turns]) -> Turns:
    names = ("kinds", "surprises", "numbers", "times", "ordered", "names")
    return Turns(*(np.concatenate([getattr(part, name) for part in kept]) for name in names))


def judged(kept: Kept, model: SessionModel, types: Codes | None, joins: Joined | None) -> Followed:
    """What is said of the B rows of ``kept``, whose sessions come with all their rows.

    Rows of a session that come at one time go as they stand here.
    """
    named, given, printed = kept.named, kept.turns, kept.printed
    out = Followed.nothing(len(named))
    owner = groups(named[:, 0], named[:, 1])
    # By turn where every row of the session has one, else by time.
    has_turn, has_time = given.ordered & 1, given.ordered & 2
    by_turn = (np.bincount(owner, has_turn) == np.bincount(owner))[owner]
    moment = np.where(by_turn, given.numbers, moments(given.times, has_time > 0, owner))
    order = np.lexsort((np.arange(len(named)), moment, owner))
    group = owner[order]
    begins = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    start = 0
    while start < len(order):
        # Whole sessions, at least one.
        last = int(np.searchsorted(begins, start + CHUNK_ROWS, side="right"))
        stop = int(begins[last - 1]) if last < len(begins) and begins[last - 1] > start else len(order)
        if stop == len(order) and last < len(begins):
            stop = int(begins[last])
        chosen = order[start:stop]
        slots = (group[start:stop] - group[start]).astype(np.int64)
        memory = Memory(int(slots[-1]) + 1, WINDOW)
        mine = printed[chosen]
        left = Marks(
            np.ascontiguousarray(mine[:, :DIMS]).view(np.int8), np.ascontiguousarray(mine[:, DIMS] & np.uint8(REFUSED))
        )
        seen = memory.follow(slots, given.take(chosen), left)
        features = kernels.session_series(seen.values, seen.offsets)
        lengths = np.diff(seen.offsets)
        split = None
        if joins is not None and kept.ends is not None and kept.channels is not None:
            ends = kept.ends.take(pa.array(chosen))
            together = joins.surprises(slots, seen.counted, ends, kept.channels[chosen])
            split = np.empty(len(slots), np.float64)
            traces.gained(memory.arrays["found"], slots, together, features[:, COLUMN["peak"]].copy(), split)
        found, out.signs[chosen] = model.judged(Parts(features, lengths, seen.closest, split))
        out.scores[chosen] = np.where(lengths > 0, found, np.float32(np.nan))
        if types is not None:
            out.kinds[chosen] = types(seen.values, seen.offsets)
        start = stop
    return out
