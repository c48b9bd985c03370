"""Sessions as they happen: verdicts come in, and go out with what their conversation as a whole looks like.

The state of a session is a row of packed arrays; how many are kept is fixed, and the one seen longest ago makes room. A
batch is judged row by row in the order given, so that many small batches say what one large batch says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds import kernels
from aimds.analyze import joins, traces
from aimds.analyze.series import COLUMN, WINDOW, surprise
from aimds.analyze.session_model import Parts, SessionModel
from aimds.analyze.slots import SlotTable
from aimds.analyze.traces import Memory
from aimds.analyze.turns import keys, marks, p_values, turns
from aimds.detect.texts import Texts
from aimds.errors import ConfigError, SchemaError
from aimds.respond.session_findings import UNSIGNED
from aimds.schema import REQUESTS, VERDICTS

CAPACITY: Final = 100_000
MAX_AGE_S: Final = 24 * 3600.0
CHUNK_ROWS: Final = 8192
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
        self.table, self._memory = SlotTable(capacity), Memory(capacity, window)
        self.arrays = self._memory.arrays
        if screener is not None:
            self.arrays |= joins.tails(capacity)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, whether in use or not."""
        own = (self.table.index, self.table.keys, self.table.links, self.table.seen)
        return sum(array.nbytes for array in (*self.arrays.values(), *own))

    def forget(self, now: float) -> int:
        """Forget the sessions not seen for ``max_age_s``; how many. `observe` does so itself, but only when it is
        called."""
        return self.table.expire(now - self.max_age_s)

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
        return self.observed(requests, verdicts, now)[0]

    def observed(
        self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, now: float
    ) -> tuple[pa.RecordBatch, npt.NDArray[np.int8]]:
        """As `observe`, and what each score rests on most, int8 (B,), as `Policy.with_sessions` takes it."""
        if requests.num_rows != verdicts.num_rows:
            problem = f"{verdicts.num_rows} verdicts of {requests.num_rows} requests"
            raise SchemaError("request_id", problem)
        self.forget(now)
        named = np.flatnonzero(verdicts.column("session_id").is_valid().to_numpy(zero_copy_only=False))
        n = verdicts.num_rows
        scores, known = np.zeros(n, np.float32), np.zeros(n, np.bool_)
        signs = np.full(n, UNSIGNED, np.int8)
        attractors: list[pa.Array] = []
        step = min(CHUNK_ROWS, self.table.capacity)
        for start in range(0, len(named), step):
            rows = named[start : start + step]
            asked, judged = requests, verdicts
            if len(rows) < n:
                asked, judged = requests.take(pa.array(rows)), verdicts.take(pa.array(rows))
            parts, values, offsets = self.follow(asked, judged, now)
            (scores[rows], signs[rows]), known[rows] = self.model.judged(parts), parts.lengths > 0
            if self.attractor is not None:
                attractors.append(self.attractor(values, offsets))
        out = _with(verdicts, "session_score", pa.array(scores, pa.float32(), mask=~known))
        if self.attractor is None or not attractors:
            return out, signs
        kinds = pa.concat_arrays([part.cast(pa.string()) for part in attractors])
        place = np.full(n, -1, np.int64)
        place[named] = np.arange(len(named))
        picked = pc.take(kinds, pa.array(place, mask=place < 0))
        return _with(out, "attractor", picked.dictionary_encode().cast(VERDICTS.field("attractor").type)), signs

    def follow(
        self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, now: float
    ) -> tuple[Parts, F64, npt.NDArray[np.int64]]:
        """What each session shows at each of B rows, all of sessions and at most ``capacity``, and the surprises it is
        seen by, ragged: values float64 (N,), offsets int64 (B+1,)."""
        slots, fresh = self.table.admit(keys(verdicts), now)
        for array in self.arrays.values():
            array[fresh] = 0
        texts, rows = Texts.from_arrow(requests.column("text")), turns(verdicts)
        seen = self._memory.follow(slots, rows, marks(texts, rows.kinds))
        features = kernels.session_series(seen.values, seen.offsets)
        split = None
        if self.screener is not None:
            judged = functools.partial(_judged, self.screener, requests)
            joined = joins.surprises(self.arrays, slots, seen.counted, texts, judged)
            split = np.empty(len(slots), np.float64)
            traces.gained(self.arrays["found"], slots, joined, features[:, COLUMN["peak"]].copy(), split)
        return Parts(features, np.diff(seen.offsets), seen.closest, split), seen.values, seen.offsets


def _judged(screener: Judge, requests: pa.RecordBatch, texts: pa.Array, rows: npt.NDArray[np.int64]) -> F64:
    chosen = requests.take(pa.array(rows))
    columns = [texts if field.name == "text" else chosen.column(field.name) for field in REQUESTS]
    return surprise(p_values(screener.screen_batch(pa.RecordBatch.from_arrays(columns, schema=REQUESTS))))


def _with(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), VERDICTS.field(name), column)
