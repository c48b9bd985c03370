"""Texts come out of Arrow columns as they went in, whatever the slicing and the nulls."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.texts import Texts

COLUMNS = st.lists(st.none() | st.text(max_size=20), max_size=30)


def rows(texts: Texts) -> list[bytes | None]:
    return [texts.raw(row) if texts.valid[row] else None for row in range(len(texts))]


@given(COLUMNS, st.data())
def test_any_slice_of_a_column_gives_its_own_bytes(items: list[str | None], data: st.DataObject) -> None:
    column = pa.array(items, pa.large_string())
    start = data.draw(st.integers(0, len(items)))
    stop = data.draw(st.integers(start, len(items)))
    texts = Texts.from_arrow(column.slice(start, stop - start))
    assert rows(texts) == [None if item is None else item.encode() for item in items[start:stop]]
    assert texts.offsets[0] == 0
    assert texts.offsets[-1] == len(texts.values)


@given(COLUMNS, st.data())
def test_take_and_slice_keep_bytes_and_nulls(items: list[str | None], data: st.DataObject) -> None:
    texts = Texts.from_arrow(pa.array(items, pa.large_string()))
    chosen = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=10)) if items else []
    everything = rows(texts)
    assert rows(texts.take(np.array(chosen, np.int64))) == [everything[row] for row in chosen]
    assert rows(texts.slice(0, len(texts))) == everything


def test_bytes_behind_a_null_are_not_read() -> None:
    offsets = pa.py_buffer(np.array([0, 3, 9, 12], np.int64))
    column = pa.Array.from_buffers(
        pa.large_string(), 3, [pa.py_buffer(bytes([0b101])), offsets, pa.py_buffer(b"oneSECRETtwo")]
    )
    texts = Texts.from_arrow(column)
    assert rows(texts) == [b"one", None, b"two"]
    assert texts.values.tobytes() == b"onetwo"


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 8), st.integers(1, 60))
def test_slices_cover_all_rows_in_order_within_their_bounds(sizes: list[int], max_rows: int, max_bytes: int) -> None:
    texts = Texts.from_arrow(pa.array(["x" * size for size in sizes], pa.large_string()))
    slices = texts.slices(max_rows, max_bytes)
    assert [row for start, stop in slices for row in range(start, stop)] == list(range(len(sizes)))
    for start, stop in slices:
        assert stop - start <= max_rows
        assert stop - start == 1 or sum(sizes[start:stop]) <= max_bytes
