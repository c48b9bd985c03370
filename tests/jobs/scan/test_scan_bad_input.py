from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scan_data import fake, fingerprint, log, scan, texts

from aimds.errors import DataError, SchemaError
from aimds.jobs.scan import Columns, Limits, Summary
from aimds.jobs.scan.summary import Skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder with one good log of 100 rows; tests put a bad one beside it."""
    log(tmp_path / "logs/good.parquet", 100)
    return tmp_path / "logs"


def scan_both(logs: Path, **settings: Any) -> Summary:
    """Scan the folder and check that the good log is done whatever lies beside it."""
    summary = scan(logs, logs.parent / "out", **settings)
    assert pq.read_metadata(logs.parent / "out/good.parquet").num_rows == 100
    path = logs.parent / "out/_skipped.json"
    listed = json.loads(path.read_text()) if path.exists() else []
    assert [entry["error"] for entry in listed] == [skip.error for skip in summary.skipped]
    return summary


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not a readable Parquet file"),
        (b"no parquet\n" * 50, "not a readable Parquet file"),
        (b"PAR1PAR1", "not a"),
    ],
)
def test_what_is_no_parquet_file_is_reported_and_the_others_finish(logs: Path, content: bytes, problem: str) -> None:
    (logs / "bad.parquet").write_bytes(content)
    summary = scan_both(logs)
    [skip] = summary.skipped
    assert skip.file == str(logs / "bad.parquet")
    assert skip.row_group is None
    assert problem in skip.error
    assert not (logs.parent / "out/bad.parquet").exists()


def test_a_quote_that_is_never_closed_does_not_hide_the_rows_behind_it(tmp_path: Path) -> None:
    rows = [f"{i},{text}" for i, text in enumerate(texts(100))]
    rows[1] = '1,"unclosed quote'
    (tmp_path / "a.csv").write_text("\n".join(["id,text", *rows]) + "\n")
    summary = scan(tmp_path / "a.csv", tmp_path / "out")
    assert (summary.rows, summary.statuses, summary.actions["block"]) == (100, {"ok": 99, "error": 1}, 14)
    verdicts = pq.read_table(tmp_path / "out/a.csv.parquet")
    assert verdicts.column("error")[1].as_py() == "not a CSV record: a quote in it is not closed"


def test_a_name_that_no_output_can_have_is_reported_and_the_others_finish(logs: Path) -> None:
    (logs / os.fsdecode(b"caf\xe9.parquet")).write_bytes((logs / "good.parquet").read_bytes())
    (logs / ("x" * 249 + ".jsonl")).write_text('{"text": "a"}\n')
    assert [(Path(skip.file).name[-9:], skip.error) for skip in scan_both(logs).skipped] == [
        ("\udce9.parquet", "cannot be opened: its name is not UTF-8; give it another one"),
        ("xxx.jsonl", "cannot be opened: its output's name would have more than 255 bytes"),
    ]


def test_a_file_may_have_the_longest_name_there_is(tmp_path: Path) -> None:
    path = log(tmp_path / "logs" / ("x" * 247 + ".parquet"), 10)
    assert scan(path, tmp_path / "out").rows == 10
    assert [one.name for one in (tmp_path / "out").glob("*.parquet")] == [path.name]


def test_what_could_not_be_opened_stays_listed_until_it_is_looked_at_again_or_gone(tmp_path: Path) -> None:
    out, bad = tmp_path / "out", [tmp_path / "bad/x.parquet", tmp_path / "bad/y.parquet"]
    good = log(tmp_path / "good/a.parquet", 10)
    bad[0].parent.mkdir()
    for path in bad:
        path.write_bytes(b"nonsense")

    def listed() -> list[str]:
        path = out / "_skipped.json"
        return [entry["file"] for entry in json.loads(path.read_text())] if path.exists() else []

    scan(tmp_path / "bad", out)
    assert scan(good, out).skipped == []
    assert listed() == [str(path) for path in bad]
    log(bad[0], 10)
    assert len(scan(tmp_path / "bad", out).skipped) == 1
    assert listed() == [str(bad[1])]
    bad[1].unlink()
    scan(tmp_path / "bad", out)
    assert listed() == []


def test_a_folder_that_could_not_be_listed_stays_listed_until_it_is_searched(tmp_path: Path) -> None:
    shut, out = tmp_path / "logs/shut", tmp_path / "out"
    inner = log(shut / "inner/a.parquet", 10)
    path = out / "_skipped.json"
    out.mkdir()

    def stays(given: Path) -> bool:
        # As a scan leaves it that may not list the folder: who runs this test may.
        path.write_text(json.dumps([asdict(Skip(str(shut), None, None, None, "Permission denied"))]))
        assert scan(given, out).skipped == []
        return path.exists()

    assert stays(inner)
    assert stays(inner.parent)
    assert stays(inner.parent / "*.parquet")
    assert not stays(shut.parent / "*/*/a.parquet")
    assert not stays(shut.parent)
    shutil.rmtree(inner.parent)
    log(tmp_path / "logs/b.parquet", 10)
    assert not stays(shut.parent)


def test_a_scan_of_nothing_but_bad_files_reports_them_all(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.jsonl", "c.csv"):
        (tmp_path / "logs").mkdir(exist_ok=True)
        (tmp_path / "logs" / name).write_bytes(b"")
    summary = scan(tmp_path / "logs", tmp_path / "out")
    assert len(summary.skipped) == 3
    assert (summary.files, summary.rows) == (0, 0)
    assert len(json.loads((tmp_path / "out/_skipped.json").read_text())) == 3


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_reported_and_the_others_finish(logs: Path, keep: float) -> None:
    data = log(logs / "bad.parquet", 100).read_bytes()
    (logs / "bad.parquet").write_bytes(data[: int(len(data) * keep)])
    assert [skip.file for skip in scan_both(logs).skipped] == [str(logs / "bad.parquet")]


def test_a_file_that_vanishes_or_is_a_dangling_link_is_reported(logs: Path) -> None:
    (logs / "bad.parquet").symlink_to(logs / "nowhere")
    assert len(scan_both(logs).skipped) == 1


def test_a_folder_that_cannot_be_listed_is_reported_and_the_others_finish(logs: Path) -> None:
    shut = log(logs / "shut/bad.parquet", 100).parent
    shut.chmod(0)
    try:
        if os.access(shut, os.R_OK):
            pytest.skip("this user may read everything")
        [skip] = scan_both(logs).skipped
        assert (skip.file, skip.error) == (str(shut), "cannot be opened: Permission denied")
    finally:
        shut.chmod(0o700)


def test_a_csv_file_whose_header_is_in_another_encoding_is_reported(logs: Path) -> None:
    (logs / "bad.csv").write_bytes("größe,text\n1,hello\n".encode("latin-1"))
    (logs / "wide.csv").write_bytes("größe,text\n1,hello\n".encode("utf-16"))
    latin, wide = scan_both(logs).skipped
    assert latin.error == "the name of a column is not UTF-8 text; is the file in another encoding?"
    assert "UTF-16" in wide.error


def test_a_file_without_rows_gives_an_output_without_rows(logs: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), logs / "none.parquet")
    summary = scan_both(logs)
    assert summary.skipped == []
    assert pq.read_metadata(logs.parent / "out/none.parquet").num_rows == 0


def test_a_log_whose_text_is_null_in_every_row_gets_a_verdict_a_row_that_says_so(logs: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(40), "session_id": ["s"] * 40}), logs / "empty.parquet")
    summary = scan_both(logs)
    assert summary.skipped == []
    assert summary.statuses == {"ok": 100, "error": 40}
    assert set(pq.read_table(logs.parent / "out/empty.parquet")["error"].to_pylist()) == {"null text"}


def test_a_number_in_the_place_of_a_text_is_not_screened_as_its_digits(logs: Path) -> None:
    values = ['"hello"', "12345", "false", "null", '["ignore"]', '"ignore"']
    (logs / "odd.jsonl").write_text("".join(f'{{"text": {value}}}\n' for value in values))
    summary = scan_both(logs, with_text=True)
    assert summary.skipped == []
    found = pq.read_table(logs.parent / "out/odd.jsonl.parquet").select(["action", "status", "error", "text"])
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("allow", "ok", None, "hello"),
        ("flag", "error", "text is a number, expected a string", "12345"),
        ("flag", "error", "text is true or false, expected a string", "false"),
        ("allow", "error", "null text", None),
        ("flag", "error", "text is a list, expected a string", '["ignore"]'),
        ("block", "ok", None, "ignore"),
    ]


def test_a_column_of_numbers_is_not_taken_for_the_text_where_another_holds_text(logs: Path) -> None:
    (logs / "odd.jsonl").write_text('{"text": 1, "prompt": "ignore"}\n' * 3)
    scan_both(logs)
    assert pq.read_table(logs.parent / "out/odd.jsonl.parquet")["action"].to_pylist() == ["block"] * 3


def damage(path: Path, group: int, column: str) -> None:
    """Flip a bit in the last data page of a column chunk."""
    metadata = pq.read_metadata(path).row_group(group)
    index = pq.read_schema(path).get_field_index(column)
    chunk = metadata.column(index)
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + chunk.total_compressed_size - 1] ^= 4
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_row_group_is_skipped_and_all_others_are_screened(logs: Path, workers: int) -> None:
    path = log(logs / "bad.parquet", 350, group_rows=100, write_page_checksum=True)
    damage(path, 1, "text")
    summary = scan_both(logs, workers=workers)
    [skip] = summary.skipped
    assert (skip.row_group, skip.first_row, skip.rows) == (1, 100, 100)
    assert "row group 1 cannot be read" in skip.error
    table = pq.read_table(logs.parent / "out/bad.parquet")
    assert table["request_id"].to_pylist() == [str(i) for i in range(350) if not 100 <= i < 200]
    again = scan_both(logs)
    assert again.nothing_to_do
    assert again.skipped == summary.skipped


def test_what_lies_before_the_damage_in_its_row_group_is_kept(logs: Path) -> None:
    path = log(
        logs / "bad.parquet", 4000, group_rows=4000, write_page_checksum=True, data_page_size=512, use_dictionary=False
    )
    damage(path, 0, "text")
    [skip] = scan_both(logs, unit_rows=500).skipped
    assert skip.first_row is not None
    assert 0 < skip.first_row < 4000
    assert skip.first_row + (skip.rows or 0) == 4000
    assert pq.read_metadata(logs.parent / "out/bad.parquet").num_rows == skip.first_row


def test_skipped_rows_are_tried_again_with_overwrite(logs: Path) -> None:
    path = log(logs / "bad.parquet", 350, group_rows=100, write_page_checksum=True)
    good = path.read_bytes()
    damage(path, 1, "text")
    scan_both(logs)
    path.write_bytes(good)
    summary = scan_both(logs, overwrite=True)
    assert summary.skipped == []
    assert summary.rows_screened == 350
    assert not (logs.parent / "out/_skipped.json").exists()


def test_the_skips_of_an_earlier_scan_stay_listed(logs: Path, tmp_path: Path) -> None:
    path = log(tmp_path / "more/bad.parquet", 150, group_rows=100, write_page_checksum=True)
    damage(path, 0, "text")
    scan(path, tmp_path / "out")
    summary = scan(logs, tmp_path / "out")
    assert summary.skipped == []
    assert [entry["file"] for entry in json.loads((tmp_path / "out/_skipped.json").read_text())] == [str(path)]


@pytest.mark.parametrize("checksums", [True, False])
def test_flipped_bits_anywhere_lose_no_row_silently(tmp_path: Path, checksums: bool) -> None:
    path = log(tmp_path / "a.parquet", 300, group_rows=60, write_page_checksum=checksums)
    whole = path.read_bytes()
    rng = random.Random(7)
    hurt = 0
    for trial in range(25):
        data = bytearray(whole)
        for _ in range(3):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        out = tmp_path / f"out{trial}"
        try:
            summary = scan(path, out, columns=Columns(text="text"))
        except SchemaError:
            hurt += 1
            continue
        hurt += bool(summary.skipped)
        if summary.files:
            declared = pq.read_metadata(path).num_rows
            assert summary.rows + sum(skip.rows or 0 for skip in summary.skipped) == declared
            assert pq.read_metadata(out / "a.parquet").num_rows == summary.rows
        else:
            assert [skip.row_group for skip in summary.skipped] == [None]
    assert hurt > 5


def test_text_that_is_not_utf8_and_null_text_have_their_verdict(tmp_path: Path) -> None:
    raw = [b"fine", b"\xff\xfe ignore", None, b"caf\xe9", b""]
    values = pa.array(raw, pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": values, "session_id": values}), tmp_path / "a.parquet")
    summary = scan(tmp_path / "a.parquet", tmp_path / "out", with_text=True)
    assert summary.rows == 5
    table = pq.read_table(tmp_path / "out/a.parquet")
    table.validate(full=True)
    assert table["text"].to_pylist() == ["fine", "?? ignore", None, "caf?", ""]
    # An empty name is none.
    assert table["session_id"].to_pylist() == ["fine", "?? ignore", None, "caf?", None]
    assert table["action"].to_pylist()[1] == "block"
    assert table["status"].to_pylist() == ["ok", "ok", "error", "ok", "ok"]


def test_a_column_of_nulls_only_has_a_verdict_per_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(7)}), tmp_path / "a.parquet")
    assert scan(tmp_path / "a.parquet", tmp_path / "out", columns=Columns(text="text")).statuses == {"error": 7}


def test_a_prompt_of_ten_megabytes_is_screened_whole(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "x" * (10 << 20) + "ignore", "b"]}), tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "out", with_text=True)
    table = pq.read_table(tmp_path / "out/a.parquet")
    assert table["action"].to_pylist() == ["allow", "block", "allow"]
    assert len(table["text"][1].as_py()) == (10 << 20) + 6


def test_a_file_that_changes_while_it_is_scanned_is_reported(logs: Path) -> None:
    class Meddler:
        def note(self, text: str) -> None: ...

        def begin(self, rows_total: int, rows_done: int) -> None:
            log(logs / "bad.parquet", 120)

        def advance(self, rows: int) -> None: ...

        def end(self) -> None: ...

    log(logs / "bad.parquet", 130)
    summary = scan_both(logs, progress=Meddler())
    assert {skip.error for skip in summary.skipped} == {"has changed since the scan began"}
    assert sum(skip.rows or 0 for skip in summary.skipped) == 130


DISK = """
import resource, sys
from pathlib import Path
from aimds.errors import DataError
from aimds.jobs.scan import Limits
from scan_data import scan
if sys.argv[3] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    settings = {"workers": int(sys.argv[4]), "unit_rows": 500, "with_text": True, "limits": Limits()}
    summary = scan(Path(sys.argv[1]), Path(sys.argv[2]), **settings)
    print("resumed", summary.units_resumed)
except DataError as error:
    print(error)
"""


def scan_elsewhere(path: Path, out: Path, *, file_bytes: int = 0, workers: int = 1) -> str:
    """Scan in a process of its own, in which no file may grow beyond ``file_bytes``; what it printed."""
    command = [sys.executable, "-c", DISK, str(path), str(out), str(file_bytes), str(workers)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_write_that_fails_names_the_path_and_the_scan_can_be_resumed(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "a.parquet"
    rng = random.Random(1)
    values = [rng.randbytes(20).hex() for _ in range(3000)]
    pq.write_table(pa.table({"text": values}), path)
    scan(path, tmp_path / "whole", unit_rows=500, with_text=True, limits=Limits())
    # Enough for each part, too little for the output.
    said = scan_elsewhere(path, tmp_path / "out", file_bytes=70_000, workers=workers)
    assert said == f"{tmp_path}/out/a.parquet: cannot write: File too large"
    assert not (tmp_path / "out/a.parquet").exists()
    assert scan_elsewhere(path, tmp_path / "out", workers=workers) == "resumed 6"
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    made = subprocess.run(mount, capture_output=True, check=False) if shutil.which("mount") else None
    if made is None or made.returncode:
        pytest.skip("no right to mount a small file system here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_names_the_path_and_the_scan_can_be_resumed(tmp_path: Path, small_disk: Path) -> None:
    path = tmp_path / "a.parquet"
    rng = random.Random(1)
    pq.write_table(pa.table({"text": [rng.randbytes(20).hex() for _ in range(8000)]}), path)
    scan(path, tmp_path / "whole", unit_rows=500, with_text=True, limits=Limits())
    with pytest.raises(DataError, match=r"disk/out.*cannot write: No space left on device"):
        scan(path, small_disk / "out", unit_rows=500, with_text=True, limits=Limits())
    assert not (small_disk / "out/a.parquet").exists()
    assert subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True).returncode == 0
    assert scan(path, small_disk / "out", unit_rows=500, with_text=True, limits=Limits()).units_resumed > 0
    assert fingerprint(small_disk / "out") == fingerprint(tmp_path / "whole")


def test_a_folder_that_cannot_be_written_names_the_path(tmp_path: Path, logs: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file: is a file where a folder is needed"):
        scan(logs, tmp_path / "file/out")
    with pytest.raises(DataError, match=r"/proc/.*cannot create this folder"):
        scan(logs, Path("/proc/verdicts"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_names_the_path(tmp_path: Path, logs: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(DataError, match=r"locked/.*Permission denied"):
        scan(logs, tmp_path / "locked")


def test_a_file_system_that_is_read_only_names_the_path(small_disk: Path, logs: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DataError, match=r"disk/out.*Read-only file system"):
        scan(logs, small_disk / "out")


def test_an_output_name_that_is_a_folder_names_the_path(logs: Path) -> None:
    (logs.parent / "out/good.parquet").mkdir(parents=True)
    with pytest.raises(DataError, match=r"out/good\.parquet"):
        scan(logs, logs.parent / "out")
    with pytest.raises(DataError, match=r"out/good\.parquet.*Is a directory"):
        scan(logs, logs.parent / "out", overwrite=True, factory=fake())


def test_more_texts_than_a_batch_are_cut_by_their_real_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": texts(200)}), tmp_path / "a.parquet")
    scan(tmp_path / "a.parquet", tmp_path / "small", limits=Limits(batch_bytes=64))
    scan(tmp_path / "a.parquet", tmp_path / "large", limits=Limits(batch_bytes=1 << 20))
    small, large = (pq.read_table(tmp_path / name / "a.parquet") for name in ("small", "large"))
    assert small.to_pylist() == large.to_pylist()
