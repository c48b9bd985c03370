"""Sessions as they happen: verdicts come in, and go out with what their conversation as a whole looks like.

The state of a session is a row of packed arrays; how many are kept is fixed, and the one seen longest ago makes room. A
batch is judged row by row in the order given, so that many small batches say what one large batch says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds import kernels
from aimds.analyze import traces
from aimds.analyze.rephrase import DIMS, fingerprints, refused
from aimds.analyze.series import COLUMN, INPUTS, WINDOW, surprise
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.slots import SlotTable
from aimds.detect.texts import Texts
from aimds.errors import ConfigError, SchemaError
from aimds.schema import CHANNELS, REQUESTS, VERDICTS

CAPACITY: Final = 100_000
MAX_AGE_S: Final = 24 * 3600.0
STITCH_BYTES: Final = 1024
"""So much of what came in before is joined to a new turn."""
CHUNK_ROWS: Final = 8192
KIND: Final = np.array(
    [
        traces.USER
        if name == "user"
        else traces.INPUT
        if name in INPUTS
        else traces.ASSISTANT
        if name == "assistant"
        else traces.OTHER
        for name in CHANNELS
    ],
    np.uint8,
)
"""Kind of row by channel code."""
BELOW_ONE: Final = np.nextafter(np.float32(1.0), np.float32(0.0))

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Attractor = Callable[[F64, npt.NDArray[np.int64]], pa.Array]
"""From series of surprises, values float64 (N,) and offsets int64 (B+1,), to the column ``attractor`` of B rows."""


class Judge(Protocol):
    """What joins need of `aimds.screener.Screener`."""

    def screen_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """REQUESTS in, VERDICTS out: same rows, same order."""


class Sessions:
    """The sessions that are going on.

    Args:
        model: what session scores follow; by default the shipped one.
        capacity: sessions that are kept.
        window: turns of each that are kept and judged.
        max_age_s: a session not seen for so long is forgotten, in the unit of ``now``.
        screener: judges what a turn makes together with those before it; without one nothing is joined, and the bytes
            of texts are not kept.
        attractor: fills the column of that name.

    Raises:
        ConfigError: a value that cannot be.
    """

    def __init__(
        self,
        model: SessionModel | None = None,
        *,
        capacity: int = CAPACITY,
        window: int = WINDOW,
        max_age_s: float = MAX_AGE_S,
        screener: Judge | None = None,
        attractor: Attractor | None = None,
    ) -> None:
        if not 2 <= window <= 1024:
            raise ConfigError("window", window, "a number of turns from 2 to 1024")
        if not max_age_s > 0:
            raise ConfigError("max_age_s", max_age_s, "a positive number of seconds")
        self.model = SessionModel.load() if model is None else model
        self.window, self.max_age_s = window, max_age_s
        self.screener, self.attractor = screener, attractor
        self.table = SlotTable(capacity)
        self.arrays: dict[str, npt.NDArray[Any]] = {
            "values": np.zeros((capacity, window), np.float32),
            "orders": np.zeros((capacity, window), np.int64),
            "idents": np.zeros((capacity, window), np.uint32),
            "counts": np.zeros(capacity, np.int32),
            "latest": np.zeros(capacity, np.int64),
            "prints": np.zeros((capacity, traces.LOOKBACK, DIMS), np.int8),
            "printed": np.zeros(capacity, np.int32),
            "refusals": np.zeros(capacity, np.uint8),
            "found": np.zeros((capacity, 2), np.float32),
        }
        if screener is not None:
            self.arrays["tails"] = np.zeros((capacity, STITCH_BYTES), np.uint8)
            self.arrays["tail_sizes"] = np.zeros(capacity, np.int32)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, whether in use or not."""
        own = (self.table.index, self.table.keys, self.table.links, self.table.seen)
        return sum(array.nbytes for array in (*self.arrays.values(), *own))

    def observe(self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, now: float) -> pa.RecordBatch:
        """``verdicts`` (VERDICTS) of ``requests`` (REQUESTS), same rows, with ``session_score`` filled, and
        ``attractor`` where somebody judges it.

        The score of a row is that of its session as it stands with this row. Rows without a session, and rows of
        sessions that have no judged input yet, have none.

        Args:
            now: seconds on a clock that does not go back; sessions not seen for ``max_age_s`` are forgotten.

        Raises:
            SchemaError: the batches have other rows.
        """
        if requests.num_rows != verdicts.num_rows:
            problem = f"{verdicts.num_rows} verdicts of {requests.num_rows} requests"
            raise SchemaError("request_id", problem)
        self.table.expire(now - self.max_age_s)
        named = np.flatnonzero(verdicts.column("session_id").is_valid().to_numpy(zero_copy_only=False))
        n = verdicts.num_rows
        scores, known = np.zeros(n, np.float32), np.zeros(n, np.bool_)
        attractors: list[pa.Array] = []
        step = min(CHUNK_ROWS, self.table.capacity)
        for start in range(0, len(named), step):
            rows = named[start : start + step]
            chosen = pa.array(rows)
            parts, values, offsets = self.follow(requests.take(chosen), verdicts.take(chosen), now)
            scores[rows], known[rows] = _in_range(self.model.scores(self.model.p_values(parts))), parts.lengths > 0
            if self.attractor is not None:
                attractors.append(self.attractor(values, offsets))
        out = _with(verdicts, "session_score", pa.array(scores, pa.float32(), mask=~known))
        if self.attractor is None or not attractors:
            return out
        kinds = pa.concat_arrays([part.cast(pa.string()) for part in attractors])
        place = np.full(n, -1, np.int64)
        place[named] = np.arange(len(named))
        picked = pc.take(kinds, pa.array(place, mask=place < 0))
        return _with(out, "attractor", picked.dictionary_encode().cast(VERDICTS.field("attractor").type))

    def follow(
        self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, now: float
    ) -> tuple[Parts, F64, npt.NDArray[np.int64]]:
        """What each session shows at each of B rows, all of sessions and at most ``capacity``, and the surprises it is
        seen by, ragged: values float64 (N,), offsets int64 (B+1,)."""
        slots, fresh = self.table.admit(_keys(verdicts), now)
        for array in self.arrays.values():
            array[fresh] = 0
        n, made = len(slots), self.arrays
        kinds = KIND[_channels(verdicts)]
        texts = Texts.from_arrow(requests.column("text"))
        turns = _turns(verdicts, kinds)
        prints, no = _prints(texts, kinds), _refusals(texts, kinds)
        out, offsets = np.empty(n * self.window, np.float64), np.empty(n + 1, np.int64)
        closest, counted = np.empty(n, np.float64), np.empty(n, np.uint8)
        size = traces.follow(
            *(made[name] for name in ("values", "orders", "idents", "counts", "latest")),
            *(made[name] for name in ("prints", "printed", "refusals", "found")),
            *(slots, kinds, *turns, prints, no, out, offsets, closest, counted),
        )
        values = out[:size]
        features = kernels.session_series(values, offsets)
        lengths = np.diff(offsets)
        split = None
        if self.screener is not None:
            joined = self._joined(self.screener, requests, texts, slots, counted)
            split = np.empty(n, np.float64)
            traces.gained(made["found"], slots, joined, features[:, COLUMN["peak"]].copy(), split)
        return Parts(features, lengths, closest, split), values, offsets

    def _joined(
        self, screener: Judge, requests: pa.RecordBatch, texts: Texts, slots: npt.NDArray[np.int64], counted: Any
    ) -> F64:
        # Surprise of each turn with what came before it, not a number where there is nothing to join.
        out = np.empty(len(slots) * (2 * STITCH_BYTES + 1), np.uint8)
        offsets = np.empty(len(slots) + 1, np.int64)
        tails, sizes = self.arrays["tails"], self.arrays["tail_sizes"]
        size = traces.stitched(tails, sizes, slots, counted, texts.values, texts.offsets, out, offsets)
        joined = np.full(len(slots), np.nan)
        rows = np.flatnonzero(np.diff(offsets) > 0)
        if len(rows):
            chosen = pa.array(rows)
            whole = pa.LargeStringArray.from_buffers(len(slots), pa.py_buffer(offsets), pa.py_buffer(out[:size]))
            columns = [whole if field.name == "text" else requests.column(field.name) for field in REQUESTS]
            asked = pa.RecordBatch.from_arrays(columns, schema=REQUESTS).take(chosen)
            joined[rows] = surprise(_p_values(screener.screen_batch(asked)))
        return joined


def _in_range(scores: F64) -> F32:
    return np.clip(scores.astype(np.float32), np.finfo(np.float32).tiny, BELOW_ONE)


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), VERDICTS.field(name), column)


def _keys(verdicts: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    tenant, session = (_codes(verdicts.column(name)) for name in ("tenant", "session_id"))
    pairs = np.stack([tenant[0], session[0]], axis=1)
    unique, owner = np.unique(pairs, axis=0, return_inverse=True)
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


def _channels(verdicts: pa.RecordBatch) -> npt.NDArray[np.int64]:
    codes = pc.index_in(verdicts.column("channel").cast(pa.string()), value_set=pa.array(CHANNELS))
    return np.asarray(pc.fill_null(codes, 0).to_numpy(zero_copy_only=False), np.int64)


def _p_values(verdicts: pa.RecordBatch) -> F64:
    # A verdict that is an error has none.
    return np.asarray(verdicts.column("p_value").cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _turns(verdicts: pa.RecordBatch, kinds: npt.NDArray[np.uint8]) -> tuple[Any, Any, Any, Any]:
    """Surprise, order, whether there is one, and what a row is known by within its session."""
    surprises = surprise(_p_values(verdicts))
    turn, has_turn = _numbers(verdicts.column("turn"))
    time, has_time = _numbers(verdicts.column("ts").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()))
    order = np.where(has_turn, turn, np.where(has_time, time, 0))
    names = np.empty(len(kinds), np.uint32)
    ids = verdicts.column("request_id").cast(pa.string()).to_pylist()
    bits = surprises.view(np.uint64)
    # A turn sent again has the same number, channel and score; where turns have no number, the same request.
    mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + kinds.astype(np.uint64)
    names[:] = (mixed >> np.uint64(32)).astype(np.uint32)
    for row in np.flatnonzero(~has_turn).tolist():
        names[row] = int.from_bytes(hashlib.blake2b(ids[row].encode(), digest_size=4).digest(), "little")
    return surprises, order, (has_turn | has_time).astype(np.uint8), names


def _numbers(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    filled = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    return np.asarray(filled, np.int64), np.asarray(valid, np.bool_)


def _prints(texts: Texts, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    out = np.zeros((len(texts), DIMS), np.int8)
    rows = np.flatnonzero((kinds == traces.USER) & texts.valid)
    if len(rows):
        out[rows] = fingerprints(texts.take(rows))
    return out


def _refusals(texts: Texts, kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    out = np.zeros(len(texts), np.uint8)
    rows = np.flatnonzero(kinds == traces.ASSISTANT)
    out[rows] = refused([texts.raw(row) for row in rows.tolist()])
    return out
