"""Verdicts as turns of sessions: what of each row a session remembers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.analyze.rephrase import DIMS, fingerprints, refused
from aimds.analyze.series import INPUTS, surprise
from aimds.detect.texts import Texts
from aimds.schema import CHANNELS

F64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.uint8]

FEW: Final = 64
"""Rows up to which one at a time is quicker."""
INPUT, USER, ASSISTANT, OTHER = 0, 1, 2, 3
"""Kinds of row: input that is not the user's, the user's, what the assistant said, the rest."""
_NAMED: Final = {"user": USER, "assistant": ASSISTANT}
KIND: Final = np.array([_NAMED.get(name, INPUT if name in INPUTS else OTHER) for name in CHANNELS], np.uint8)
"""Kind of row by channel code."""


@dataclass(frozen=True, slots=True)
class Turns:
    """B rows. ``kinds`` uint8 (B,) · ``surprises`` float64 (B,), not a number where nobody judged · ``numbers`` int64
    (B,) of the turns and ``times`` int64 (B,) in microseconds; ``ordered`` uint8 (B,): 1 where there is a number, and 2
    where there is a time · ``names`` uint32 (B,): what tells a turn from others of its order."""

    kinds: Flags
    surprises: F64
    numbers: Ints
    times: Ints
    ordered: Flags
    names: npt.NDArray[np.uint32]

    def take(self, rows: Ints) -> Turns:
        """The rows ``rows``."""
        order = (self.numbers[rows], self.times[rows], self.ordered[rows])
        return Turns(self.kinds[rows], self.surprises[rows], *order, self.names[rows])


@dataclass(frozen=True, slots=True)
class Marks:
    """What texts leave behind: ``prints`` int8 (B, 64) of what users said, ``refused`` uint8 (B,) of what assistants
    did."""

    prints: npt.NDArray[np.int8]
    refused: Flags


def keys(verdicts: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """What the session of each row is known by, uint64 (B, 2); every row must have one."""
    if verdicts.num_rows <= FEW:
        pairs = zip(
            *(verdicts.column(name).cast(pa.string()).to_pylist() for name in ("tenant", "session_id")), strict=True
        )
        hashed = b"".join(key_of(tenant, session) for tenant, session in pairs)
        return np.frombuffer(hashed, "<u8").astype(np.uint64).reshape(-1, 2)
    tenant, session = (_codes(verdicts.column(name)) for name in ("tenant", "session_id"))
    both = np.stack([tenant[0], session[0]], axis=1)
    unique, owner = np.unique(both, axis=0, return_inverse=True)
    hashed = b"".join(key_of(tenant[1][one] if one >= 0 else None, session[1][other]) for one, other in unique.tolist())
    return np.frombuffer(hashed, "<u8").astype(np.uint64).reshape(-1, 2)[owner.ravel()]


def key_of(tenant: str | None, session: str) -> bytes:
    """What a session is known by, 16 bytes."""
    # A length in front, so that no two pairs give one text.
    name = "" if tenant is None else tenant
    text = f"{-1 if tenant is None else len(name)}:{name}{session}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _codes(column: pa.Array) -> tuple[npt.NDArray[np.int64], list[str]]:
    made = column.cast(pa.string()).dictionary_encode()
    codes = pc.fill_null(made.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, made.dictionary.to_pylist()


def channels(verdicts: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The channel of each row, int64 (B,): its place in CHANNELS."""
    codes = pc.index_in(verdicts.column("channel").cast(pa.string()), value_set=pa.array(CHANNELS))
    return np.asarray(pc.fill_null(codes, 0).to_numpy(zero_copy_only=False), np.int64)


def p_values(verdicts: pa.RecordBatch) -> F64:
    """The p-value of each row, float64 (B,), not a number where there is none."""
    return np.asarray(verdicts.column("p_value").cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def turns(verdicts: pa.RecordBatch) -> Turns:
    """The rows of ``verdicts`` (VERDICTS) as turns."""
    kinds = KIND[channels(verdicts)]
    surprises = surprise(p_values(verdicts))
    turn, has_turn = _numbers(verdicts.column("turn"))
    time, has_time = _numbers(verdicts.column("ts").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()))
    names = np.empty(len(kinds), np.uint32)
    ids = verdicts.column("request_id").cast(pa.string()).to_pylist()
    bits = surprises.view(np.uint64)
    # A turn sent again has the same number, channel and score; where turns have no number, the same request.
    bits = bits ^ (turn.astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93))
    mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + kinds.astype(np.uint64)
    names[:] = (mixed >> np.uint64(32)).astype(np.uint32)
    for row in np.flatnonzero(~has_turn).tolist():
        names[row] = int.from_bytes(hashlib.blake2b(ids[row].encode(), digest_size=4).digest(), "little")
    ordered = np.asarray(has_turn + 2 * has_time.astype(np.uint8), np.uint8)
    return Turns(kinds, surprises, turn, time, ordered, names)


def _numbers(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    filled = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return np.asarray(filled, np.int64), np.asarray(valid, np.bool_)


def marks(texts: Texts, kinds: Flags) -> Marks:
    """What B texts of rows of ``kinds`` leave behind."""
    prints, no = np.zeros((len(texts), DIMS), np.int8), np.zeros(len(texts), np.uint8)
    said = np.flatnonzero((kinds == USER) & texts.valid)
    if len(said):
        prints[said] = fingerprints(texts.take(said))
    answered = np.flatnonzero(kinds == ASSISTANT)
    no[answered] = refused([texts.raw(row) for row in answered.tolist()])
    return Marks(prints, no)
