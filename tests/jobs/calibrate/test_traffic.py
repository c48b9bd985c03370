"""A sample holds each different text once, knows where it stood, and is the same however it is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.calibrate import traffic
from aimds.jobs.calibrate.traffic import Reading, read
from aimds.jobs.scan import Columns, Limits


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
    assert sample.notes[:2] == [
        "a.parquet: columns guessed: --text-column prompt",
        "b.jsonl: columns guessed: --text-column prompt, --channel-column role",
    ]


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


def test_the_sample_ends_in_a_text_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_BYTES", 2000)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("\n".join(f"{name} {i:04d} " * 40 for i in range(50)))
    sample = read(reading(tmp_path / "*.txt"))
    assert 2000 <= sum(len(sample.texts.raw(row)) for row in range(len(sample))) < 2500
    assert [note for note in sample.notes if "the sample ends" in note] == [
        f"the sample ends in {tmp_path / 'a.txt'} at 0 MiB of text"
    ]


def test_texts_longer_than_a_scan_screens_are_left_out_of_every_kind_of_input_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "MAX_TEXT_BYTES", 10)
    given = ["short", "x" * 10, "x" * 11, "also much too long"]
    (tmp_path / "a.txt").write_text("\n".join(given))
    (tmp_path / "b.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in given))
    table(tmp_path / "c.parquet", text=list(given))
    for file in sorted(tmp_path.iterdir()):
        sample = read(reading(file))
        assert [sample.texts.raw(row) for row in range(len(sample))] == [b"short", b"x" * 10]
        assert (sample.read, sample.rows) == (2, 4)
        assert "2 texts of more than 10 bytes left out: a scan screens none" in sample.notes


def test_a_text_file_with_a_line_too_long_for_a_record_is_left_out_from_there_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "MAX_RECORD_BYTES", 100)
    (tmp_path / "a.txt").write_text("kept\n" + "x" * 101 + "\nnot reached")
    (tmp_path / "b.txt").write_text("of the other file")
    sample = read(reading(tmp_path / "*.txt"))
    texts = {sample.texts.raw(row) for row in range(len(sample))}
    assert texts == {b"kept", b"of the other file"}
    assert any("a.txt: has a line of more than 100 bytes" in note for note in sample.notes)


def test_a_text_file_is_the_same_sample_however_few_lines_are_taken_in_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {i % 90}\n\n" for i in range(300)))
    samples = []
    for rows in (1, 7, 2048):
        monkeypatch.setattr(traffic, "Limits", lambda rows=rows: Limits(batch_rows=rows))
        samples.append(read(reading(tmp_path / "a.txt", max_rows=200)))
    for one in samples[1:]:
        assert one.row.tolist() == samples[0].row.tolist()
        assert one.count.tolist() == samples[0].count.tolist()
    assert 0 < samples[0].read < 300


def test_files_of_other_kinds_in_a_folder_are_counted_and_named(tmp_path: Path) -> None:
    def said(*inputs: object) -> list[str]:
        return [note for note in read(reading(*inputs)).notes if "left out" in note]

    table(tmp_path / "a.parquet", text=["one"])
    (tmp_path / "b.tsv").write_text("x")
    (tmp_path / "c.txt").write_text("two\n")
    (note,) = said(tmp_path)
    assert note.startswith(f"2 files in {tmp_path} are of other kinds and were left out: b.tsv, c.txt (read are .parq")
    assert note.endswith("; .txt where it is named")
    (note,) = said(tmp_path, tmp_path / "*.txt")
    assert note.startswith(f"1 file in {tmp_path} is of another kind and was left out: b.tsv (")
    (tmp_path / "b.tsv").unlink()
    assert said(tmp_path, tmp_path / "*.txt") == []
