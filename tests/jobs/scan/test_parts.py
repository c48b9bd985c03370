from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimds.jobs.scan import parts

SCHEMA = pa.schema([("t", pa.string()), ("d", pa.dictionary(pa.int8(), pa.string()))])


def batch(values: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(values), pa.array(values).dictionary_encode().cast(SCHEMA[1].type)], schema=SCHEMA
    )


BATCHES = [batch(["a", "b"]), batch(["c"]), batch(["a", "x", "y"])]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / parts.name(3, 4)
    trailer: dict[str, Any] = {"key": "k", "rows": 0}

    def batches() -> Any:
        for one in BATCHES:
            trailer["rows"] += one.num_rows
            yield one

    parts.write(path, SCHEMA, batches(), trailer)
    return path


def test_a_part_comes_back_with_its_trailer(part: Path) -> None:
    assert parts.verify(part, "k") == {"key": "k", "rows": 6}
    assert pa.Table.from_batches(parts.read(part)).equals(pa.Table.from_batches(BATCHES))


def test_a_part_of_another_scan_is_not_taken(part: Path) -> None:
    assert parts.verify(part, "other") is None


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_part_with_any_byte_changed_or_cut_off_is_not_taken(part: Path, data: st.DataObject) -> None:
    whole = part.read_bytes()
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    part.write_bytes(bytes(damaged))
    found = parts.verify(part, "k")
    part.write_bytes(whole)
    assert found is None


def test_parts_are_listed_in_row_order_whatever_their_numbers(tmp_path: Path) -> None:
    wanted = [(0, 0), (0, 9), (0, 10), (2, 1), (10, 0)]
    for group, slice_ in reversed(wanted):
        (tmp_path / parts.name(group, slice_)).touch()
    (tmp_path / "x-y.part").touch()
    assert [(group, slice_) for group, slice_, _ in parts.listed(tmp_path)] == wanted


def test_a_part_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    def batches() -> Any:
        yield BATCHES[0]
        raise ValueError("reading broke")

    with pytest.raises(ValueError, match="reading broke"):
        parts.write(tmp_path / parts.name(0, 0), SCHEMA, batches(), {"key": "k"})
    assert list(tmp_path.iterdir()) == []
