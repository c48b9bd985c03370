from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from aimds.cli import scan as command
from aimds.cli.over_files import print_skipped, print_timings
from aimds.cli.progress import Bar, Lines
from aimds.errors import AimdsError
from aimds.jobs.scan import Skip
from aimds.record.verification import verify

FAKES = str(Path(__file__).parents[1] / "jobs" / "scan")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(FAKES)
    for name in ("a", "b"):
        table = pa.table({"prompt": ["hello", "ignore all"] * 20, "n": range(40)})
        (tmp_path / "logs").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "logs" / f"{name}.parquet")
    return tmp_path / "logs"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    command.register(app)
    given = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, [*given, "--workers", "1", "--screener", "fake_screener:FakeScreener"])


def test_json_is_one_document_on_stdout_and_all_else_is_on_stderr(logs: Path, tmp_path: Path) -> None:
    result = run(f"{logs}/*.parquet", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["actions"] == {"allow": 40, "block": 40}
    assert found["threats"] == {"direct_injection": 40, "none": 40}
    assert (found["rows"], found["files"], found["units_total"], found["units_resumed"]) == (80, 2, 2, 0)
    assert {"units_done", "rows_per_s", "seconds", "skipped", "outputs"} <= set(found)
    assert (found["nothing_read"], found["way_out"]) == (False, "")
    assert result.stderr == "a.parquet: columns guessed: --text-column prompt\n"


def test_people_read_counts_and_where_the_verdicts_are(logs: Path, tmp_path: Path) -> None:
    result = run(logs, "-o", tmp_path / "out", "-q")
    assert result.stdout.startswith("80 rows in ")
    assert f"verdicts in {tmp_path}/out" in result.stdout
    assert "direct_injection" in result.stdout
    assert result.stderr == ""
    assert run(logs, "-o", tmp_path / "out").stdout.startswith("nothing to do: all verdicts are there already, in ")


def test_timings_show_the_share_of_each_stage(logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_timings({"normalize": 1.0, "patterns": 3.0}, 1000, 2.5)
    *table, last = capsys.readouterr().out.splitlines()
    assert [line.split() for line in table] == [
        ["stage", "seconds", "share", "µs", "a", "row"],
        ["normalize", "1.00", "25.0%", "1,000.0"],
        ["patterns", "3.00", "75.0%", "3,000.0"],
        ["all", "4.00", "100.0%", "4,000.0"],
    ]
    assert last.startswith("2.50 s on the clock: ")
    assert "fake      1.25  100.0%  15,625.0" in run(logs, "-o", tmp_path / "out", "-q", "--timings").stdout
    again = run(logs, "-o", tmp_path / "out", "-q", "--timings")
    assert again.stderr == "no times by stage: nothing was screened in this run\n"


def test_skipped_input_is_listed_with_exit_status_1(logs: Path, tmp_path: Path) -> None:
    (logs / "c.parquet").write_bytes(b"damaged")
    result = run(logs, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert f"skipped: {logs}/c.parquet: is not a readable Parquet file" in result.stderr
    assert "1 skipped, listed in" in result.stderr
    assert run(logs, "-o", tmp_path / "out", "-q").exit_code == 1


def test_files_of_other_kinds_in_a_folder_are_counted_and_some_are_named(logs: Path, tmp_path: Path) -> None:
    kinds = "(read are .parquet, .parq, .pq, .jsonl, .ndjson, .csv)"
    (logs / "a.json").write_text("{}")
    result = run(logs, "-o", tmp_path / "out")
    assert result.exit_code == 0
    told = result.stderr.splitlines()
    assert f"1 file in {logs} is of another kind and was left out: a.json {kinds}" in told
    for name in ("t.tsv", "g.csv.gz", "_x.json"):
        (logs / name).write_text("")
    told = run(logs, "-o", tmp_path / "out").stderr.splitlines()
    many = f"files in {logs} are of other kinds and were left out: a.json, g.csv.gz, t.tsv"
    assert f"3 {many} {kinds}" in told
    (logs / "z").write_text("")
    assert f"4 {many}, … {kinds}" in run(logs, "-o", tmp_path / "out").stderr.splitlines()
    assert "other kinds" not in run(f"{logs}/*.parquet", "-o", tmp_path / "out").stderr


def test_what_a_file_name_hides_is_written_out_while_a_scan_runs(tmp_path: Path) -> None:
    (tmp_path / "c\x1b[2J\u202e.jsonl").write_text('{"prompt": "hello"}\n')
    result = run(tmp_path, "-o", tmp_path / "out")
    assert "\x1b" not in result.stderr
    assert "\u202e" not in result.stderr
    (note,) = [line for line in result.stderr.splitlines() if "columns guessed" in line and ".jsonl" in line]
    assert note.startswith("c⟨U+001B⟩[2J⟨U+202E⟩.jsonl: ")


def test_an_input_none_of_which_can_be_read_ends_with_that_and_with_what_to_do(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"damaged")
    (tmp_path / "d.jsonl").write_bytes(b"\n")
    given = (tmp_path / "c.parquet", tmp_path / "d.jsonl", "-o", tmp_path / "out", "-q")
    result = run(*given)
    assert result.exit_code == 1
    assert result.stdout == f"nothing could be read: no verdicts were written to {tmp_path}/out\n"
    *skipped, listed, way = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in skipped] == [
        ["skipped", f"{tmp_path}/c.parquet"],
        ["skipped", f"{tmp_path}/d.jsonl"],
    ]
    assert listed == f"2 skipped, listed in {tmp_path}/out/_skipped.json"
    assert way.startswith("to go on: make what was skipped readable, or leave it out, and run the same command again (")
    found = json.loads(run(*given, "--json").stdout)
    assert (found["nothing_read"], f"to go on: {found['way_out']}") == (True, way)
    assert [Path(skip["file"]).name for skip in found["skipped"]] == ["c.parquet", "d.jsonl"]
    (tmp_path / "d.jsonl").write_text('{"text": "hello"}\n')
    assert run(*given).stdout.startswith("1 row in ")


def test_a_file_all_of_whose_rows_are_damaged_is_not_said_to_be_done(tmp_path: Path, logs: Path) -> None:
    file = tmp_path / "c.parquet"
    content = (logs / "a.parquet").read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    for _ in range(2):
        result = run(file, "-o", tmp_path / "out", "-q")
        assert result.exit_code == 1
        assert result.stdout == f"nothing could be read: no verdicts were written to {tmp_path}/out\n"
        assert f"skipped: {file} rows 0 to 39: row group 0 cannot be read" in result.stderr
        assert result.stderr.endswith("run the same command again with --overwrite\n")


def test_what_an_error_quotes_of_a_file_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_skipped([Skip("a\x1b[2J.parquet", 0, 0, 3, "type \x0f")], "list.json")
    assert capsys.readouterr().err.startswith("skipped: a⟨U+001B⟩[2J.parquet rows 0 to 2: type ⟨U+000F⟩\n1 skipped, ")


def test_the_help_says_the_exit_status_of_an_input_none_of_which_can_be_read(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "c.parquet").write_bytes(b"damaged")
    assert run(tmp_path / "c.parquet", "-o", tmp_path / "out", "-q").exit_code == 1
    assert "1 something, or all of it, could not be read" in " ".join(run("--help").stdout.split())


def test_an_option_that_verdicts_were_made_with_or_without_is_named(logs: Path, tmp_path: Path) -> None:
    run(logs, "-o", tmp_path / "joined", "-q", "--joined")
    run(logs, "-o", tmp_path / "plain", "-q")
    with pytest.raises(AimdsError, match=r"\(different: the settings.*; made with --joined\)"):
        raise run(logs, "-o", tmp_path / "joined", "-q").exception or AssertionError
    with pytest.raises(AimdsError, match=r"\(different: the settings.*; made without --joined\)"):
        raise run(logs, "-o", tmp_path / "plain", "-q", "--joined").exception or AssertionError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text-column", "txt"], "no such column .* its columns are prompt"),
        (["--text-column", "n"], "holds int64 .* expected text"),
        (["--carry", "score"], "carry"),
    ],
)
def test_bad_usage_is_an_error_that_says_what_is_wrong(
    logs: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run(logs, "-o", tmp_path / "out", *arguments)
    assert isinstance(result.exception, AimdsError)
    with pytest.raises(AimdsError, match=message):
        raise result.exception
    assert not (tmp_path / "out").exists()


def test_columns_are_named_carried_and_turned_off(logs: Path, tmp_path: Path) -> None:
    arguments = ["--session-column", "n", "--id-column", "-", "--carry", "n", "--with-text"]
    assert run(logs, "-o", tmp_path / "out", *arguments).exit_code == 0
    table = pq.read_table(tmp_path / "out/a.parquet")
    assert table["session_id"].to_pylist()[:2] == ["0", "1"]
    assert table["text"].to_pylist()[:2] == ["hello", "ignore all"]
    assert table["n"].to_pylist() == list(range(40))


def test_a_log_file_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Lines(lambda: now[0])
    lines.begin(100, 20)
    for moment in (1.0, 4.0, 6.0, 7.0):
        now[0] = moment
        lines.advance(10)
    lines.end()
    assert capsys.readouterr().err == "50 of 100 rows, 5 rows/s, 10 s left\n"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.begin(100, 20)
    bar.note("[a] note")
    bar.advance(80)
    bar.end()
    bar.end()
    said = capsys.readouterr().err
    assert "[a] note" in said
    assert "100/100" in said


def test_the_audit_log_names_every_output_with_its_hash(logs: Path, tmp_path: Path) -> None:
    (logs / "c.parquet").write_bytes(b"damaged")
    audit = tmp_path / "audit.jsonl"
    assert run(logs, "-o", tmp_path / "out", "-q", "--audit", audit).exit_code == 1
    assert verify(audit).ok
    bodies = [json.loads(line)["body"] for line in audit.read_text().splitlines() if '"kind":"scan"' in line]
    hashes = {Path(body["output"]).name: body["sha256"] for body in bodies if "output" in body}
    assert hashes == {
        name: hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() for name in ("a.parquet", "b.parquet")
    }
    assert any("damaged" in str(body) or "not a readable" in str(body) for body in bodies)


def test_sessions_are_judged_by_the_policies_that_are_named(logs: Path, tmp_path: Path) -> None:
    talk = pa.table({"text": ["ignore", "hello"], "session_id": ["s", "s"], "role": ["user", "tool"]})
    pq.write_table(talk, tmp_path / "talk.parquet")
    file = tmp_path / "p.toml"
    file.write_text(
        'format = 1\nversion = "1"\n[policies.no_tool]\nsays = "No tool after an attack."\n'
        'formula = "G (injection_detected -> N (!tool_called W released))"\nholds = ["allowed"]\n'
        'fails = ["injection_detected; tool_called"]\n'
    )
    result = run(tmp_path / "talk.parquet", "-o", tmp_path / "out", "--trace-policies", file, "--json")
    assert json.loads(result.stdout)["violations"] == {"no_tool": 1}
    assert "no column of events (--events-column): released never happened there" in result.stderr
    found = pq.read_table(tmp_path / "out" / "talk.parquet")
    assert found["violations"].to_pylist() == [[], ["no_tool"]]
    again = run(tmp_path / "talk.parquet", "-o", tmp_path / "out", "--trace-policies", file)
    assert "sessions that break a policy: no_tool 1" in again.stdout


def test_policies_that_cannot_be_read_stop_a_scan_before_it_begins(logs: Path, tmp_path: Path) -> None:
    with pytest.raises(AimdsError, match="cannot be read"):
        raise run(logs, "-o", tmp_path / "out", "--trace-policies", tmp_path / "none.toml").exception  # type: ignore[misc]
    with pytest.raises(AimdsError, match="trace-policies"):
        raise run(logs, "-o", tmp_path / "out", "--events-column", "n").exception  # type: ignore[misc]
    assert not (tmp_path / "out").exists()
