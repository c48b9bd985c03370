from __future__ import annotations

import os
from pathlib import Path

import pytest
from scan_data import log, scan

from aimds.errors import DataError
from aimds.jobs.scan.inputs import discover


def names(patterns: list[str | Path], output: Path) -> list[str]:
    return [source.name for source in discover([str(pattern) for pattern in patterns], output)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name in ("a.parquet", "b.parquet", "2024/a.parquet", "2024/deep/c.parquet", "_tmp/x.parquet", ".hid/x.parquet"):
        log(tmp_path / "logs" / name, 1)
    (tmp_path / "logs" / "notes.txt").write_text("not data")
    (tmp_path / "logs" / "_SUCCESS").write_text("")
    return tmp_path / "logs"


def test_a_folder_is_searched_but_for_hidden_and_foreign_files(logs: Path, tmp_path: Path) -> None:
    expected = ["2024/a.parquet", "2024/deep/c.parquet", "a.parquet", "b.parquet"]
    assert names([logs], tmp_path / "out") == expected
    assert names([f"{logs}/"], tmp_path / "out") == expected


def test_what_a_folder_holds_of_other_kinds_is_handed_back_but_for_hidden_files_and_what_is_read(
    logs: Path, tmp_path: Path
) -> None:
    for name in ("2024/t.tsv", "2024/g.csv.gz", "named.json", "_tmp/x.json", ".hid/x.json", ".x.json", "_x.json"):
        (logs / name).write_text("")
    for folder in (f"{logs}", f"file://{logs}"):
        others: dict[str, list[str]] = {}
        discover([folder, str(logs / "named.json"), f"{logs}/*.parquet"], tmp_path / "out", None, others)
        assert others == {folder: ["2024/g.csv.gz", "2024/t.tsv", "notes.txt"]}


def test_what_a_scan_left_in_a_folder_is_none_of_its_files_of_other_kinds(tmp_path: Path) -> None:
    log(tmp_path / "d.parquet", 10).rename(tmp_path / "d.dat")
    scan(tmp_path / "d.dat", tmp_path / "logs/verdicts")
    (tmp_path / "logs/a.csv").write_text("text\nhello\n")
    others: dict[str, list[str]] = {}
    discover([str(tmp_path / "logs"), str(tmp_path / "logs/verdicts")], tmp_path / "out", None, others)
    assert others == {}


def test_a_suffix_may_be_in_capitals(logs: Path, tmp_path: Path) -> None:
    (logs / "2024/a.parquet").rename(logs / "2024/A.PARQUET")
    (logs / "B.Jsonl").write_text('{"text": "a"}\n')
    expected = ["2024/A.PARQUET", "2024/deep/c.parquet", "B.Jsonl.parquet", "a.parquet", "b.parquet"]
    assert names([logs], tmp_path / "out") == expected
    assert [s.kind for s in discover([str(logs)], tmp_path / "out")].count("jsonl") == 1


def test_folders_behind_links_are_searched_once_and_loops_end(logs: Path, tmp_path: Path) -> None:
    log(tmp_path / "elsewhere/d.parquet", 1)
    log(tmp_path / "elsewhere/more/e.parquet", 1)
    (logs / "jan").symlink_to(tmp_path / "elsewhere")
    (logs / "2024/again").symlink_to(tmp_path / "elsewhere/more")
    (logs / "0").symlink_to(logs / "2024")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "elsewhere")
    (logs / "2024/up").symlink_to(logs)
    expected = [
        "2024/a.parquet",
        "2024/deep/c.parquet",
        "a.parquet",
        "b.parquet",
        "jan/d.parquet",
        "jan/more/e.parquet",
    ]
    assert names([logs], tmp_path / "out") == expected


def test_verdicts_of_an_earlier_scan_below_a_folder_are_left_out_and_found_when_named(
    logs: Path, tmp_path: Path
) -> None:
    log(logs / "verdicts/a.parquet", 1)
    (logs / "verdicts/.aimds").mkdir()
    assert not [name for name in names([logs], tmp_path / "out") if "verdicts" in name]
    assert names([logs / "verdicts"], tmp_path / "out") == ["a.parquet"]


def test_quoted_globs_are_expanded_and_two_stars_span_folders(logs: Path, tmp_path: Path) -> None:
    assert names([f"{logs}/*.parquet"], tmp_path / "out") == ["a.parquet", "b.parquet"]
    assert names([f"{logs}/**/c.parquet"], tmp_path / "out") == ["2024/deep/c.parquet"]
    assert names([f"{logs}/[b]*"], tmp_path / "out") == ["b.parquet"]


def test_files_of_one_name_in_two_folders_keep_apart(logs: Path, tmp_path: Path) -> None:
    assert names([logs / "a.parquet", logs / "2024/a.parquet"], tmp_path / "out") == ["2024/a.parquet", "a.parquet"]


def test_a_single_file_keeps_its_bare_name_and_a_link_its_own(logs: Path, tmp_path: Path) -> None:
    (logs / "today.parquet").symlink_to(logs / "b.parquet")
    assert names([logs / "2024/deep/c.parquet"], tmp_path / "out") == ["c.parquet"]
    assert names([logs / "today.parquet"], tmp_path / "out") == ["today.parquet"]


def test_a_file_named_twice_is_read_once(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(logs)
    found = names(
        [logs / "a.parquet", f"{logs}/a*", f"file://{logs}/a.parquet", tmp_path / "other/a.parquet"], tmp_path
    )
    assert found == ["a.parquet"]


def test_relative_paths_work(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logs.parent)
    assert names(["logs/*.parquet"], Path("out")) == ["a.parquet", "b.parquet"]
    monkeypatch.chdir(logs)
    assert names(["*.parquet"], Path("out")) == ["a.parquet", "b.parquet"]
    assert names(["."], Path("out"))[-1] == "b.parquet"


def test_file_urls_work_with_and_without_globs(logs: Path, tmp_path: Path) -> None:
    assert names([f"file://{logs}/a.parquet"], tmp_path / "out") == ["a.parquet"]
    assert names([f"file://{logs}/*.parquet"], tmp_path / "out") == ["a.parquet", "b.parquet"]
    assert names([f"file://{logs}/**/a.parquet"], tmp_path / "out") == ["2024/a.parquet", "a.parquet"]
    assert len(names([f"file://{logs}"], tmp_path / "out")) == 4
    source = discover([f"file://{logs}/a.parquet"], tmp_path / "out")[0]
    assert source.open().size() == os.path.getsize(logs / "a.parquet")


def test_verdicts_of_an_earlier_scan_are_no_input(logs: Path) -> None:
    scan(logs, logs / "verdicts")
    assert len(names([logs], logs / "verdicts")) == 4
    elsewhere = names([f"{logs}/**/*.parquet"], logs.parent / "out")
    assert len(names([f"{logs}/**/*.parquet"], logs / "verdicts")) == len(elsewhere) - 4


def test_the_output_may_be_the_folder_above_the_inputs(logs: Path) -> None:
    scan(f"{logs}/*.parquet", logs.parent)
    assert names([f"{logs}/*.parquet"], logs.parent) == ["a.parquet", "b.parquet"]


def test_an_output_that_would_replace_an_input_is_refused(logs: Path) -> None:
    with pytest.raises(DataError, match=r"would replace this input"):
        discover([str(logs / "a.parquet")], logs)


def test_two_inputs_with_one_output_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n')
    log(tmp_path / "x.jsonl.parquet", 1)
    with pytest.raises(DataError, match=r"same file.*x\.jsonl\.parquet"):
        discover([str(tmp_path / "x.jsonl"), str(tmp_path / "x.jsonl.parquet")], tmp_path / "out")


@pytest.mark.parametrize("pattern", ["nowhere.parquet", "no*.parquet", "empty", "file:///nowhere/x.parquet"])
def test_a_pattern_without_a_file_is_an_error_that_names_it(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "empty").mkdir()
    given = pattern if "://" in pattern else str(tmp_path / pattern)
    with pytest.raises(DataError) as caught:
        discover([given], tmp_path / "out")
    assert pattern.rsplit("/", 1)[-1] in str(caught.value)


@pytest.mark.parametrize("given", ["logs", "logs/2024", "logs/2*/*.parquet", "logs/**/*.parquet", "logs/*/a.parquet"])
def test_a_folder_that_cannot_be_listed_is_a_source_that_cannot_be_opened(
    logs: Path, tmp_path: Path, given: str
) -> None:
    shut = logs / "2024"
    shut.chmod(0)
    try:
        if os.access(shut, os.R_OK):
            pytest.skip("this user may read everything")
        found = [source for source in discover([str(tmp_path / given)], tmp_path / "out") if source.problem]
        assert [(source.path, source.problem) for source in found] == [(str(shut), "Permission denied")]
        with pytest.raises(OSError, match="Permission denied"):
            found[0].identity()
        with pytest.raises(DataError, match=r"2024/a\.parquet: cannot be opened: Permission denied"):
            discover([str(shut / "a.parquet")], tmp_path / "out")
    finally:
        shut.chmod(0o700)


def test_a_folder_whose_files_are_named_may_be_unlisted(logs: Path, tmp_path: Path) -> None:
    (logs / "2024").chmod(0o100)
    try:
        assert names([f"{logs}/2*/a.parquet"], tmp_path / "out") == ["2024/a.parquet"]
    finally:
        (logs / "2024").chmod(0o700)


def test_an_unknown_url_scheme_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gopher://host/x: this URL cannot be opened"):
        discover(["gopher://host/x"], tmp_path)


def test_identity_changes_with_the_content(tmp_path: Path) -> None:
    path = log(tmp_path / "a.parquet", 5)
    source = discover([str(path)], tmp_path / "out")[0]
    before, when = source.identity(), path.stat().st_mtime_ns
    assert before == source.identity()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(when, when))
    assert source.identity() != before
