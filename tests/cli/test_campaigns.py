from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from campaign_data import rows, write
from typer.testing import CliRunner, Result

from aimds.cli import campaigns as command
from aimds.errors import AimdsError


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return write(tmp_path / "verdicts" / "a.parquet", rows())


def run(*arguments: object) -> Result:
    app = typer.Typer()
    command.register(app)
    return CliRunner().invoke(app, [*map(str, arguments), "--workers", "1"])


def test_json_is_one_document_on_stdout_and_the_page_is_written(history: Path, tmp_path: Path) -> None:
    result = run(history, "-o", tmp_path / "out", "--user-column", "who", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["n_families"], [one["rows"] for one in found["families"]]) == (2, [16, 9])
    assert found["output"] == str(tmp_path / "out" / "campaigns.parquet")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["campaigns.html", "campaigns.parquet"]


def test_people_read_families_drafts_and_where_all_is(history: Path, tmp_path: Path) -> None:
    result = run(history, "-o", tmp_path / "out", "-q", "--signatures", tmp_path / "drafts")
    assert result.stdout.startswith(
        "85 rows; 25 candidates (attacks with action flag or worse), 25 different texts among them\n"
        "2 families of at least 3 rows hold 25 of the candidates\n"
    )
    assert "draft finds" in result.stdout
    assert "2 drafts in" in result.stdout
    assert "nothing was installed" in result.stdout
    assert len(list((tmp_path / "drafts").glob("*.toml"))) == 2


def test_people_read_why_there_is_no_family(history: Path, tmp_path: Path) -> None:
    loose = run(history, "-o", tmp_path / "out", "-q", "--min-rows", "20", "--min-tenants", "2").stdout.splitlines()
    assert loose[0] == "85 rows; 25 candidates (attacks with action flag or worse), 25 different texts among them"
    assert loose[1] == "no family: no texts are worded alike in 20 rows and 2 tenants or more"
    none = run(history, "-o", tmp_path / "out", "-q", "--p-value", "1e-9").stdout.splitlines()
    assert none[0] == "85 rows; none is an attack with p-value at most 1e-09: nothing to compare"
    assert none[1].startswith("rows in ")


def test_skipped_input_gives_exit_code_1_and_is_named(history: Path, tmp_path: Path) -> None:
    (history.parent / "broken.parquet").write_bytes(b"none")
    result = run(history.parent, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "skipped: " in result.stderr
    assert "broken.parquet" in result.stderr
    assert f"1 skipped, listed in {tmp_path}/out/campaigns.html\nto go on: make " in result.stderr
    assert "broken.parquet" in (tmp_path / "out" / "campaigns.html").read_text()


@pytest.mark.parametrize("kinds", [("a.parquet",), ("a.parquet", "b.jsonl"), ("b.jsonl",)])
def test_files_of_other_kinds_in_a_folder_are_counted_and_some_are_named(
    history: Path, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    logs, out = history.parent, history.parent / "out"
    (logs / "b.jsonl").write_text('{"text": "hello there"}\n')
    for name in {"a.parquet", "b.jsonl"} - set(kinds):
        (logs / name).unlink()
    (logs / "t.tsv").write_text("")
    (logs / "a.json").write_text("{}")
    note = f"2 files in {logs} are of other kinds and were left out: a.json, t.tsv (read are .parq"
    result = run(logs, "-o", out, "--profile", "fast", "--json")
    assert result.exit_code == 0
    assert result.stderr.count(note) == 1
    (told,) = json.loads(result.stdout)["notes"]
    assert told.startswith(note)
    # What it wrote itself is no input of another kind.
    (again,) = json.loads(run(logs, "-o", out, "--profile", "fast", "--json", "-q").stdout)["notes"]
    assert again == told
    assert json.loads(run(logs / kinds[0], "-o", out, "--profile", "fast", "--json", "-q").stdout)["notes"] == []


def test_a_history_none_of_which_can_be_read_is_not_said_to_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"none")
    result = run(tmp_path / "broken.parquet", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert result.stdout == f"nothing could be read: nothing was compared; page {tmp_path}/out/campaigns.html\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "allow"), "action = 'allow'"),
        (("--p-value", "2"), "p_value = 2.0"),
        (("--cut", "0.1"), "cut = 0.1"),
        (("--min-rows", "0"), "min_rows = 0"),
        (("--user-column", "nobody"), "nobody"),
        (("--page", __file__), "holds something else than a page"),
    ],
)
def test_wrong_settings_name_themselves_and_leave_nothing(
    history: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run(history, "-o", tmp_path / "out", *arguments)
    assert isinstance(result.exception, AimdsError)
    with pytest.raises(AimdsError, match=message):
        raise result.exception
    assert not (tmp_path / "out").exists()


def test_interrupted_search_says_how_to_go_on(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aimds.jobs.campaigns.Campaigns.run", stop)
    result = run(history, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr
