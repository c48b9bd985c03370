"""A sample holds each different text once, knows where it stood, and is the same however it is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.calibrate import traffic
from aimds.jobs.calibrate.traffic import Reading, read
from aimds.jobs.scan import Columns


def reading(*inputs: object, **more: object) -> Reading:
    return Reading(tuple(map(str, inputs)), Path("nowhere"), **more)  # type: ignore[arg-type]


def table(path: Path, rows: int = 7, **columns: list[object]) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def test_equal_texts_of_one_channel_count_once_and_are_counted(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", text=["x", "y", "x", "x", None, ""], channel=["user"] * 3 + ["tool"] * 3)
    sample = read(reading(file))
    assert [sample.texts.raw(row) for row in range(len(sample))] == [b"x", b"y", b"x"]
    assert sample.count.tolist() == [2, 1, 1]
    assert sample.channel.tolist() == [0, 0, 3]
    assert sample.row.tolist() == [0, 1, 3]
    assert (sample.rows, sample.read, sample.files) == (6, 4, [str(file)])


def test_a_text_file_holds_one_text_a_line_in_the_channel_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"erste Zeile\n\nzweite Zeile\r\nlast")
    sample = read(reading(tmp_path / "*.txt", channel="document"))
    assert [sample.texts.raw(row) for row in range(3)] == [b"erste Zeile", b"zweite Zeile", b"last"]
    assert set(sample.channel.tolist()) == {4}


def test_parquet_json_lines_and_text_are_read_together(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", prompt=["one"])
    (tmp_path / "b.jsonl").write_text('{"prompt": "two", "role": "document"}\nnot json\n')
    (tmp_path / "c.txt").write_text("three\n")
    sample = read(reading(tmp_path / "a.parquet", tmp_path / "b.jsonl", tmp_path / "c.txt"))
    assert {sample.texts.raw(row) for row in range(3)} == {b"one", b"two", b"three"}
    assert dict(zip([sample.texts.raw(r) for r in range(3)], sample.channel.tolist(), strict=True))[b"two"] == 4
    assert any("--text-column prompt" in note for note in sample.notes)


def test_a_large_log_is_sampled_evenly_and_the_same_each_time(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", rows=900, text=[f"text {i}" for i in range(4000)])
    one, two = (read(reading(file, max_rows=1000, seed=seed)) for seed in (3, 3))
    assert one.row.tolist() == two.row.tolist()
    assert 850 < len(one) < 1150
    counts = np.histogram(one.row, bins=4, range=(0, 4000))[0]
    assert counts.min() > 180
    other = read(reading(file, max_rows=1000, seed=4))
    assert other.row.tolist() != one.row.tolist()
    assert one.rows == 4000


def test_what_cannot_be_read_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", text=["fine"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 this is not parquet PAR1")
    sample = read(reading(tmp_path))
    assert len(sample) == 1
    assert any("b.parquet" in note for note in sample.notes)


def test_inputs_without_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no text"):
        read(reading(table(tmp_path / "a.parquet", text=["", None])))
    with pytest.raises(DataError, match="no such file"):
        read(reading(tmp_path / "none.txt"))
    with pytest.raises(SchemaError, match="no such column"):
        read(reading(tmp_path / "a.parquet", columns=Columns(text="words")))


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="channel"):
        reading("x", channel="telepathy")
    with pytest.raises(ConfigError, match="max_rows"):
        reading("x", max_rows=0)


def test_the_sample_ends_where_its_room_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_BYTES", 2000)
    file = table(tmp_path / "a.parquet", text=[f"{i:04d}" * 100 for i in range(50)])
    sample = read(reading(file))
    assert 5 <= len(sample) < 50
    assert any("the sample ends" in note for note in sample.notes)
