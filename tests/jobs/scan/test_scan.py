from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scan_data import fake, fingerprint, log, scan, texts

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.scan import Columns, Limits, Silent, durable
from aimds.schema import check_verdicts


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.rows = 0
        self.begun: tuple[int, int] | None = None
        self.ended = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, rows_total: int, rows_done: int) -> None:
        self.begun = (rows_total, rows_done)

    def advance(self, rows: int) -> None:
        self.rows += rows

    def end(self) -> None:
        self.ended += 1


def test_each_row_has_its_verdict_in_the_same_place(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 250)
    summary = scan(path, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    check_verdicts(table)
    assert table["request_id"].to_pylist() == [str(i) for i in range(250)]
    assert table["session_id"].to_pylist() == [f"s{i // 5}" for i in range(250)]
    expected = ["block" if "ignore" in text else "allow" for text in texts(250)]
    assert table["action"].to_pylist() == expected
    assert summary.actions == {"allow": expected.count("allow"), "block": expected.count("block")}
    assert (summary.rows, summary.rows_screened, summary.units_total, summary.units_done) == (250, 250, 10, 10)
    assert summary.skipped == []
    assert not (tmp_path / "out" / "_skipped.json").exists()


def test_text_and_other_columns_can_be_carried(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table(
            {
                "text": texts(50),
                "label": pa.array(range(50), pa.int16()),
                "kind": pa.array(["k"] * 50).dictionary_encode(),
            }
        ),
        path,
    )
    scan(path, tmp_path / "out", with_text=True, carry=("label", "kind"))
    table = pq.read_table(tmp_path / "out" / "a.parquet")
    assert table.column_names[-3:] == ["text", "label", "kind"]
    assert table["text"].to_pylist() == texts(50)
    assert table["label"].to_pylist() == list(range(50))
    assert table["label"].type == pa.int16()
    assert table["kind"].to_pylist() == ["k"] * 50
    with pytest.raises(ConfigError, match=r"text"):
        scan(path, tmp_path / "other", with_text=True, carry=("text",))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_seconds_of_each_stage_are_summed_over_workers(tmp_path: Path, workers: int) -> None:
    log(tmp_path / "logs/a.parquet", 100)
    log(tmp_path / "logs/b.parquet", 28, seed=1)
    assert scan(tmp_path / "logs", tmp_path / "out", workers=workers).to_json()["stages"] == {"fake": 2.0}


def test_objects_and_lists_of_json_lines_are_carried_as_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "meta": {"n": 1}, "tags": ["x"]}\n{"text": "b", "meta": "odd"}\n')
    scan(path, tmp_path / "out", carry=("meta", "tags"))
    table = pq.read_table(tmp_path / "out" / "a.jsonl.parquet")
    assert table["meta"].to_pylist() == ['{"n": 1}', "odd"]
    assert table["tags"].to_pylist() == ['["x"]', None]
    path.write_text('{"text": "a", "meta": {"n": 1}}\n')
    scan(path, tmp_path / "other", carry=("meta",))
    assert pq.read_table(tmp_path / "other" / "a.jsonl.parquet")["meta"].to_pylist() == ['{"n": 1}']


def test_lists_of_nothing_in_parquet_are_carried_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "tags": pa.array([[]], pa.list_(pa.null()))}), path)
    scan(path, tmp_path / "out", carry=("tags",))
    assert pq.read_table(tmp_path / "out" / "a.parquet")["tags"].to_pylist() == [[]]


def test_files_of_one_name_in_two_folders_get_an_output_each(tmp_path: Path) -> None:
    log(tmp_path / "logs/x/a.parquet", 10, seed=1)
    log(tmp_path / "logs/y/a.parquet", 20, seed=2)
    scan(tmp_path / "logs", tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out/x/a.parquet").num_rows == 10
    assert pq.read_metadata(tmp_path / "out/y/a.parquet").num_rows == 20


def test_json_lines_and_csv_give_the_same_verdicts_as_parquet(tmp_path: Path) -> None:
    log(tmp_path / "a.parquet", 80)
    rows = [{"text": text, "session_id": f"s{i // 5}"} for i, text in enumerate(texts(80))]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "c.csv").write_text("text,session_id\n" + "".join(f'"{r["text"]}",{r["session_id"]}\n' for r in rows))
    scan([tmp_path / "a.parquet", tmp_path / "b.jsonl", tmp_path / "c.csv"], tmp_path / "out")
    expected = pq.read_table(tmp_path / "out/a.parquet").to_pylist()
    assert pq.read_table(tmp_path / "out/b.jsonl.parquet").to_pylist() == expected
    assert pq.read_table(tmp_path / "out/c.csv.parquet").to_pylist() == expected


def test_progress_and_guessed_columns_are_told(tmp_path: Path) -> None:
    told = Notes()
    scan(log(tmp_path / "a.parquet", 100), tmp_path / "out", progress=told)
    assert told.notes == ["a.parquet: columns guessed: --text-column text, --session-column session_id"]
    assert (told.begun, told.rows) == ((100, 0), 100)
    assert told.ended


def test_remarks_name_the_input_not_its_output(tmp_path: Path) -> None:
    told = Notes()
    (tmp_path / "logs/day").mkdir(parents=True)
    (tmp_path / "logs/day/odd.csv").write_text("text\nhello\n")
    (tmp_path / "logs/b.jsonl").write_text('{"prompt": "hello"}\n')
    scan(tmp_path / "logs", tmp_path / "out", progress=told)
    assert told.notes == [
        "b.jsonl: columns guessed: --text-column prompt",
        "day/odd.csv: columns guessed: --text-column text",
    ]


def test_a_second_run_does_nothing_and_says_so(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 100)
    first = scan(path, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    again = scan(path, tmp_path / "out")
    assert not first.nothing_to_do
    assert again.nothing_to_do
    assert (again.units_done, again.units_resumed, again.rows) == (0, first.units_total, 100)
    assert again.actions == first.actions
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")} == before


def test_a_new_file_beside_finished_ones_is_all_that_is_screened(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 100)
    scan(tmp_path / "logs", tmp_path / "out")
    log(tmp_path / "logs/b.parquet", 50)
    summary = scan(tmp_path / "logs", tmp_path / "out")
    assert (summary.rows_screened, summary.rows) == (50, 150)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"factory": fake(name="other")}, "the settings"),
        ({"with_text": True}, "--with-text"),
        ({"columns": Columns(text="session_id")}, "the columns"),
        ({"carry": ("label",)}, "--carry"),
    ],
)
def test_verdicts_of_other_settings_are_kept_unless_told_otherwise(
    tmp_path: Path, settings: dict[str, Any], word: str
) -> None:
    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "out")
    before = fingerprint(tmp_path / "out")
    with pytest.raises(DataError, match=word) as caught:
        scan(path, tmp_path / "out", **settings)
    assert "--overwrite" in str(caught.value)
    assert fingerprint(tmp_path / "out") == before
    assert scan(path, tmp_path / "out").nothing_to_do
    assert scan(path, tmp_path / "out", overwrite=True, **settings).rows_screened == 100
    assert scan(path, tmp_path / "out", **settings).nothing_to_do


def test_verdicts_of_an_input_that_has_changed_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "out")
    log(path, 101)
    with pytest.raises(DataError, match=r"different: the input file\)"):
        scan(path, tmp_path / "out")
    assert scan(path, tmp_path / "out", overwrite=True).rows == 101


def test_a_file_that_no_scan_wrote_is_not_replaced(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 10)
    log(tmp_path / "out/a.parquet", 3)
    with pytest.raises(DataError, match=r"out/a\.parquet: exists and was not written by a scan"):
        scan(path, tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out/a.parquet").num_rows == 3
    assert scan(path, tmp_path / "out", overwrite=True).rows == 10


def test_an_output_that_was_edited_is_not_replaced_and_a_deleted_one_is_made_again(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "out")
    before = fingerprint(tmp_path / "out")
    (tmp_path / "out/a.parquet").unlink()
    assert scan(path, tmp_path / "out").rows_screened == 100
    assert fingerprint(tmp_path / "out") == before
    (tmp_path / "out/a.parquet").write_bytes(b"edited")
    with pytest.raises(DataError, match=r"was changed after the scan wrote it"):
        scan(path, tmp_path / "out")
    scan(path, tmp_path / "out", overwrite=True)
    assert fingerprint(tmp_path / "out") == before


def test_nothing_is_touched_when_one_of_many_outputs_is_in_the_way(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 10)
    log(tmp_path / "logs/b.parquet", 10)
    log(tmp_path / "out/b.parquet", 3)
    with pytest.raises(DataError, match=r"b\.parquet"):
        scan(tmp_path / "logs", tmp_path / "out")
    assert not (tmp_path / "out/a.parquet").exists()


def test_two_scans_into_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 10)
    (tmp_path / "out/.aimds").mkdir(parents=True)
    with (
        durable.locked(tmp_path / "out/.aimds/lock", ""),
        pytest.raises(DataError, match=r"out: another scan is writing"),
    ):
        scan(path, tmp_path / "out")


def test_a_missing_column_in_one_of_many_files_stops_the_scan_before_anything_is_written(tmp_path: Path) -> None:
    log(tmp_path / "logs/a.parquet", 10)
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "logs/b.parquet")
    with pytest.raises(SchemaError, match=r"no such column in .*b\.parquet"):
        scan(tmp_path / "logs", tmp_path / "out", columns=Columns(text="text"))
    assert not (tmp_path / "out").exists()


def test_a_table_without_texts_that_is_only_found_in_a_folder_is_skipped_and_one_that_was_named_stops_the_scan(
    tmp_path: Path,
) -> None:
    log(tmp_path / "logs/a.parquet", 10)
    other = tmp_path / "logs/prices.parquet"
    pq.write_table(pa.table({"price": [1.5]}), other)
    summary = scan(tmp_path / "logs", tmp_path / "out")
    assert summary.rows == 10
    assert [skip.file for skip in summary.skipped] == [str(other)]
    assert "no text column" in summary.skipped[0].error
    with pytest.raises(SchemaError, match=r"no text column .* in .*prices\.parquet"):
        scan(other, tmp_path / "out2")
    (tmp_path / "logs/a.parquet").unlink()
    with pytest.raises(SchemaError, match=r"no text column .* in .*prices\.parquet"):
        scan(tmp_path / "logs", tmp_path / "out3")


def test_a_column_only_called_channel_is_not_guessed_but_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "channel": ["web", "tool"]}), path)
    told = Notes()
    scan(path, tmp_path / "out", progress=told)
    assert any("'channel' is not used as channel (unknown channel 'web')" in note for note in told.notes)
    assert pq.read_table(tmp_path / "out/a.parquet")["channel"].to_pylist() == ["user", "user"]
    scan(path, tmp_path / "out2", columns=Columns(channel="channel"))
    table = pq.read_table(tmp_path / "out2/a.parquet")
    assert table["channel"].to_pylist() == ["document", "tool"]
    assert table["status"].to_pylist() == ["partial", "ok"]


def test_a_poisoned_row_is_an_error_for_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = [*texts(40), "POISON", *texts(40)]
    pq.write_table(pa.table({"text": values}), path)
    summary = scan(path, tmp_path / "out")
    status = pq.read_table(tmp_path / "out/a.parquet")["status"].to_pylist()
    assert [row for row, value in enumerate(status) if value == "error"] == [40]
    assert summary.statuses == {"ok": 80, "error": 1}


def test_a_text_over_the_limit_is_an_error_for_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b" * 2000, "c"]}), path)
    scan(path, tmp_path / "out", limits=Limits(max_text_bytes=1000))
    table = pq.read_table(tmp_path / "out/a.parquet")
    assert table["status"].to_pylist() == ["ok", "error", "ok"]
    assert "2000 bytes" in table["error"][1].as_py()


def test_an_unfit_screener_stops_the_scan(tmp_path: Path) -> None:
    from aimds.errors import ArtefactError
    from aimds.jobs.scan import Factory

    path = log(tmp_path / "a.parquet", 10)
    with pytest.raises(ArtefactError, match=r"weights\.npz"):
        scan(path, tmp_path / "out", factory=Factory("fake_screener:unfit", {}))
    with pytest.raises(ConfigError, match=r"no_such_module"):
        scan(path, tmp_path / "out", factory=Factory("no_such_module:x", {}))


def test_the_parts_are_gone_when_a_file_is_finished(tmp_path: Path) -> None:
    scan(log(tmp_path / "a.parquet", 100), tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.part")) == []
    assert sorted(os.listdir(tmp_path / "out")) == [".aimds", "a.parquet"]


def test_settings_that_make_no_sense_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers"):
        scan("x", tmp_path, workers=0)
    with pytest.raises(ConfigError, match="unit_rows"):
        scan("x", tmp_path, unit_rows=0)
    with pytest.raises(ConfigError, match="local folder"):
        scan("x", Path("s3://bucket"))


def die(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["before the record", "before the parts are deleted", "while forgetting"])
def test_a_scan_that_dies_between_two_steps_of_finishing_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from aimds.jobs.scan.manifest import Memory

    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "whole")

    with monkeypatch.context() as patch:
        if moment == "before the record":
            patch.setattr(Memory, "finish", die)
        elif moment == "before the parts are deleted":
            patch.setattr(Memory, "sweep", die)
        else:
            scan(path, tmp_path / "out", factory=fake(name="old"))
            patch.setattr(Memory, "begin", lambda self, afresh: die(self.forget()))
        with pytest.raises(KeyboardInterrupt):
            scan(path, tmp_path / "out", overwrite=moment == "while forgetting")
    summary = scan(path, tmp_path / "out")
    assert summary.rows == 100
    assert summary.skipped == []
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_unit_of_other_rows_than_the_file_has_there_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aimds.jobs.scan import parts
    from aimds.jobs.scan.manifest import Memory

    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "whole")

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            scan(path, tmp_path / "out")
    _, _, last = parts.listed(next((tmp_path / "out/.aimds").glob("*/")))[-1]
    key = json.loads(last.read_bytes().partition(b'"key": ')[2].partition(b",")[0])
    [first, *_] = parts.read(last)
    short = {"key": key, "read": 1, "rows": 1, "counts": {}}
    parts.write(last, first.schema, [first.slice(0, 1)], short)
    assert scan(path, tmp_path / "out").rows == 100
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize(
    ("broken", "gives", "problem"),
    [("parts.listed", [], "0 of 4 parts are there"), ("assemble", (0, 1), "holds 0 rows where 100 were made")],
)
def test_an_output_with_fewer_rows_than_were_screened_is_never_called_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, gives: object, problem: str
) -> None:
    path = log(tmp_path / "a.parquet", 100)
    with monkeypatch.context() as patch:
        patch.setattr(f"aimds.jobs.scan.executor.{broken}", lambda *_: gives)
        with pytest.raises(DataError, match=problem):
            scan(path, tmp_path / "out")
    assert scan(path, tmp_path / "out").rows == 100
    assert pq.read_metadata(tmp_path / "out/a.parquet").num_rows == 100


def test_a_damaged_part_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aimds.jobs.scan.manifest import Memory

    path = log(tmp_path / "a.parquet", 100)
    scan(path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Memory, "finish", lambda self, record: (self.folder / "x").touch())
        scan(path, tmp_path / "out")
    (tmp_path / "out/a.parquet").unlink()
    damaged = sorted((tmp_path / "out").rglob("*.part"))[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(bytes(data))
    summary = scan(path, tmp_path / "out")
    assert (summary.units_done, summary.units_resumed) == (1, 3)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
