"""The texts of a batch as the kernels see them: bytes and offsets, straight from the Arrow column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Texts:
    """B texts: ``values`` uint8 (N,), ``offsets`` int64 (B+1,) beginning at 0, ``valid`` bool (B,), False for null.

    The bytes may hold invalid UTF-8. A null text has no bytes.
    """

    values: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    valid: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.valid)

    def raw(self, row: int) -> bytes:
        """The bytes of one text."""
        return self.values[self.offsets[row] : self.offsets[row + 1]].tobytes()

    @classmethod
    def from_arrow(cls, column: pa.Array) -> Texts:
        """The texts of a large_string ``column``, without a copy where it holds no nulls."""
        n = len(column)
        _, offset_buffer, data_buffer = column.buffers()
        if n == 0 or offset_buffer is None:
            return cls(np.zeros(0, np.uint8), np.zeros(n + 1, np.int64), np.zeros(n, np.bool_))
        offsets = np.frombuffer(offset_buffer, np.int64, n + 1, column.offset * 8)
        data = np.zeros(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
        values = data[offsets[0] : offsets[-1]]
        filled = np.empty(n, np.bool_)
        filled.fill(True)
        whole = cls(values, offsets - offsets[0], filled)
        if not column.null_count:
            return whole
        # Bytes behind a null slot are undefined in Arrow, so the valid rows are gathered.
        valid = column.is_valid().to_numpy(zero_copy_only=False)
        kept = whole.take(np.flatnonzero(valid))
        lengths = np.zeros(n + 1, np.int64)
        lengths[1:][valid] = np.diff(kept.offsets)
        return cls(kept.values, np.cumsum(lengths), valid)

    def take(self, rows: npt.NDArray[np.int64]) -> Texts:
        """The texts of ``rows``, copied."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Texts(self.values[places], offsets, self.valid[rows])

    def slices(self, max_rows: int, max_bytes: int) -> list[tuple[int, int]]:
        """Row ranges of at most ``max_rows`` rows and ``max_bytes`` bytes; a longer text is a range of its own."""
        if 0 < len(self) <= max_rows and self.offsets[-1] <= max_bytes:
            return [(0, len(self))]
        out: list[tuple[int, int]] = []
        start = 0
        while start < len(self):
            stop = int(np.searchsorted(self.offsets, self.offsets[start] + max_bytes, side="right")) - 1
            stop = min(max(stop, start + 1), start + max_rows, len(self))
            out.append((start, stop))
            start = stop
        return out

    def slice(self, start: int, stop: int) -> Texts:
        """The texts of rows ``start`` to ``stop``, without a copy of the bytes."""
        low, high = self.offsets[start], self.offsets[stop]
        return Texts(self.values[low:high], self.offsets[start : stop + 1] - low, self.valid[start:stop])
