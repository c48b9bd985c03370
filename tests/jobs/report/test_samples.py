"""Texts of samples that come from the logs: those of the rows themselves, or none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.jobs.report.tally import tally
from aimds.jobs.scan import Factory, Scan, ScanConfig

ATTACK = "ignore this: the row of day one"
OTHER = "my card is 4111 1111 1111 1111: the row of day two"
DAYS = {"day=01": ["hello", ATTACK], "day=02": ["fine", OTHER]}


def log(path: str, texts: list[str], **columns: list[Any]) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": texts, **columns}), path)


def logs(**columns: list[Any]) -> None:
    for day, texts in DAYS.items():
        log(f"logs/{day}/part-0.parquet", texts, **columns)


def scan(*inputs: str) -> None:
    Scan(ScanConfig(inputs, output=Path("v")), Factory("fake_screener:FakeScreener", {})).run()


def shown(verdicts: list[str], requests: list[str]) -> list[str | None]:
    """The text of each sample, or None."""
    samples = tally(verdicts, requests=requests).samples
    assert all((one.pieces is None) == (one.missing is not None) for one in samples)
    return [None if one.pieces is None else "".join(piece.text for piece in one.pieces) for one in samples]


def why(verdicts: list[str], requests: list[str]) -> set[str | None]:
    return {one.missing for one in tally(verdicts, requests=requests).samples}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("columns", [{}, {"id": ["1", "2"]}])
def test_files_of_one_name_in_folders_of_a_day_give_each_row_its_own_text(columns: dict[str, list[str]]) -> None:
    logs(**columns)
    scan("logs")
    for requests in (["logs"], ["logs/*/*.parquet"], ["logs/day=02", "./logs/day=01", str(Path("logs").resolve())]):
        assert shown(["v"], requests) == [ATTACK]
    assert shown(["v/day=01/part-0.parquet"], ["logs"]) == [ATTACK]


def test_the_log_of_another_day_gives_no_text() -> None:
    logs()
    scan("logs")
    for verdicts in ("v", "v/day=01", "v/day=01/part-0.parquet"):
        assert shown([verdicts], ["logs/day=02"]) == [None]
    assert "None of the logs" in str(why(["v"], ["logs/day=02"]))


def test_ids_that_start_anew_in_each_file_find_nothing_in_another_file() -> None:
    logs(id=["1", "2"])
    scan("logs")
    assert shown(["v"], ["logs/day=02"]) == [None]


def test_verdicts_that_were_moved_are_matched_below_the_folder_that_holds_them_all() -> None:
    logs()
    scan("logs")
    shutil.rmtree("v/.aimds")
    assert shown(["v"], ["logs"]) == [ATTACK]
    assert shown(["v/day=01/part-0.parquet", "v/day=02/part-0.parquet"], ["logs"]) == [ATTACK]
    # Nothing says of which day it is.
    assert shown(["v/day=01/part-0.parquet"], ["logs"]) == [None]
    assert "More than one" in str(why(["v/day=01/part-0.parquet"], ["logs"]))


def test_two_logs_that_fit_alike_are_told_apart_by_their_ids_or_not_at_all() -> None:
    logs(id=["1", "2"])
    scan("logs")
    log("old/day=01/part-0.parquet", ["a", OTHER], id=["1", "8"])
    assert shown(["v"], ["old", "logs"]) == shown(["v"], ["logs", "old"]) == [ATTACK]
    log("old/day=01/part-0.parquet", ["a", OTHER], id=["1", "2"])
    assert shown(["v"], ["old", "logs"]) == [None]
    assert "More than one" in str(why(["v"], ["logs", "old"]))


def test_an_id_that_occurs_twice_finds_nothing() -> None:
    log("logs/a.parquet", ["hello", ATTACK], id=["x", "y"])
    log("logs/b.parquet", ["fine", OTHER], id=["z", "y"])
    scan("logs")
    log("kept/one.parquet", ["fine", OTHER], id=["z", "y"])
    assert shown(["v"], ["kept"]) == [None]
    log("kept/one.parquet", [OTHER, OTHER, ATTACK], id=["x", "y", "y"])
    assert shown(["v/a.parquet"], ["kept"]) == [None]
    log("kept/one.parquet", [OTHER, OTHER, ATTACK], id=["x", "z", "y"])
    assert shown(["v/a.parquet"], ["kept"]) == [ATTACK]


def test_a_row_without_an_id_is_not_looked_up_by_its_number() -> None:
    logs()
    scan("logs")
    log("kept/numbered.parquet", [OTHER, OTHER], id=[1, 2])
    assert shown(["v/day=01"], ["kept"]) == [None]
