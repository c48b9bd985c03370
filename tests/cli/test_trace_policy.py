from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result
from verdict_factory import attack, row, write

from aimds.cli import policy
from aimds.errors import ConfigError, DataError
from aimds.ltl.checker import check
from aimds.ltl.examples import read_steps

MINE = """
format = 1
version = "1"
[policies.mine]
says = "No b after a."
formula = "G (a -> G !b)"
holds = ["a; -"]
fails = ["a; -; b"]
"""


def run(*arguments: object) -> Result:
    app = typer.Typer()
    policy.register(app)

    @app.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def mine(tmp_path: Path, old: str = "", new: str = "") -> Path:
    (tmp_path / "mine.toml").write_text(MINE.replace(old, new) if old else MINE)
    return tmp_path / "mine.toml"


def test_shipped_policies_pass_their_examples() -> None:
    result = run("policy", "test")
    assert result.exit_code == 0
    assert "31 of 31 examples come out as they say" in result.stdout


def test_an_example_that_fails_is_marked_and_the_exit_code_is_1(tmp_path: Path) -> None:
    file = mine(tmp_path, '"a; -"', '"a; b"')
    result = run("policy", "test", file)
    assert result.exit_code == 1
    assert "NOT mine holds on: a; b" in result.stdout
    content = json.loads(run("policy", "test", file, "--json").stdout)
    assert [one["ok"] for one in content["examples"]] == [False, True]


def test_an_event_that_nothing_knows_is_named(tmp_path: Path) -> None:
    file = mine(tmp_path, '"a; -"', '"a allowed; bb"')
    text = "bb stands in no formula of these policies and is no event of a verdict"
    for more in ([], ["--json"]):
        tried = run("policy", "test", file, *more)
        assert tried.exit_code == 0
        assert tried.stderr == f"note: policies.mine.holds[0]: {text}\n"
    typed = run("policy", "explain", "mine", "-f", file, "--steps", "a; flagged bb")
    assert typed.exit_code == 0
    assert typed.stderr == f"note: --steps: {text}\n"
    assert run("policy", "explain", "mine", "-f", file, "--steps", "a; flagged b").stderr == ""
    assert run("policy", "test").stderr == ""


def test_check_knows_both_kinds_of_files(tmp_path: Path) -> None:
    assert "policies over sessions: 1" in run("policy", "check", mine(tmp_path)).stdout
    assert json.loads(run("policy", "check", mine(tmp_path), "--json").stdout)["states"] == {"mine": 3}
    error = run("policy", "check", mine(tmp_path, '"a; -"', '"a; b"')).exception
    assert isinstance(error, ConfigError)
    assert error.key == "policies.mine.holds[0]"


@pytest.mark.parametrize(
    "command", [["check"], ["test"], ["graph", "mine", "-f"], ["explain", "mine", "--steps", "a", "-f"]]
)
def test_a_formula_that_cannot_be_read_is_shown_with_a_caret(tmp_path: Path, command: list[str]) -> None:
    result = run("policy", *command, mine(tmp_path, "G !b)", "G !)"))
    assert result.exit_code == 2
    assert "error: policies.mine.formula: expected an event" in result.output
    assert "  G (a -> G !)\n             ^" in result.output


def test_a_violation_is_explained_with_its_turns() -> None:
    steps = "allowed; injection_detected flagged; allowed; tool_called @90s"
    result = run("policy", "explain", "no_tool_after_injection", "--steps", steps)
    assert result.exit_code == 1
    assert "no_tool_after_injection is broken at turn 3." in result.stdout
    assert "Turn 1 (flagged, injection_detected) is what it begins with." in result.stdout
    assert "Turn 2 (allowed) has to keep: !tool_called W released." in result.stdout
    kept = run("policy", "explain", "no_tool_after_injection", "--steps", "allowed")
    assert kept.exit_code == 0
    assert "is kept" in kept.stdout


def test_sessions_of_a_file_are_explained_and_their_certificates_pass_the_checker(tmp_path: Path) -> None:
    rows = [
        attack(0, "direct_injection", "flag", session_id="[b]s\x1b", turn=4, spans=[]),
        row(0, session_id="[b]s\x1b", turn=6, channel="tool"),
        row(0, session_id="other", turn=0, channel="tool"),
    ]
    file = write(tmp_path / "v.parquet", rows)
    shown = run("policy", "explain", "no_tool_after_injection", "--verdicts", file)
    assert "tenant acme-test, session [b]s⟨U+001B⟩: no_tool_after_injection is broken" in shown.stdout
    assert "broken at turn 6" in shown.stdout
    assert "1 session breaks" in shown.stdout
    assert run("policy", "explain", "no_tool_after_injection", "--verdicts", file.parent).stdout == shown.stdout
    (one,) = json.loads(run("policy", "explain", "no_tool_after_injection", "--verdicts", file, "--json").stdout)
    assert one["certificate"]["turns"] == [4, 6]
    assert run("policy", "explain", "no_tool_after_injection", "--verdicts", file, "--session", "other").exit_code == 0


def test_a_session_whose_events_the_verdicts_lack_does_not_pass_for_kept(tmp_path: Path) -> None:
    own = mine(tmp_path, "G (a -> G !b)", "G (channel.tool -> G !b)")
    own.write_text(own.read_text().replace('"a; -', '"channel.tool; -'))
    rows = [
        row(0, session_id="s1", turn=0, channel="tool"),
        row(1, session_id="s1", turn=1, violations=["mine"]),
        row(2, session_id="s2", turn=0, channel="tool"),
    ]
    asked = ("policy", "explain", "mine", "-f", own, "--verdicts")
    file = write(tmp_path / "v.parquet", rows)
    for more in ([], ["--session", "s1"], ["--json"]):
        found = run(*asked, file, *more)
        assert isinstance(found.exception, DataError)
        assert (
            "has no column events (--events-column names another), and mine speaks of b; aimds scan --carry keeps them"
            in str(found.exception)
        )
        assert "session s1" in str(found.exception)
    other = run(*asked, file, "--session", "s2")
    assert other.exit_code == 0
    assert "note: " in other.stderr
    assert "speaks of b; aimds scan --carry keeps them, here they never happened" in other.stderr

    table = pq.read_table(file)
    pq.write_table(table.append_column("events", pa.array([[], ["b"], None], pa.list_(pa.string()))), file)
    carried = run(*asked, file)
    assert carried.exit_code == 1
    assert "session s1: mine is broken at turn 1" in carried.stdout
    assert carried.stderr == ""


@pytest.mark.parametrize("events", [pa.array(["", "b c"]), pa.array([None, '["b"]'], pa.large_string())])
def test_events_carried_as_text_are_read_as_a_scan_reads_them(tmp_path: Path, events: pa.Array) -> None:
    own = mine(tmp_path, "G (a -> G !b)", "G !b")
    own.write_text(own.read_text().replace('["a; -"]', '["a"]'))
    file = write(tmp_path / "v.parquet", [row(0), row(1)])
    pq.write_table(pq.read_table(file).append_column("events", events), file)
    found = run("policy", "explain", "mine", "-f", own, "--verdicts", file)
    assert found.exit_code == 1
    assert "is broken at turn 1" in found.stdout
    pq.write_table(pq.read_table(file).drop_columns("events").append_column("events", pa.array([0, 1])), file)
    error = run("policy", "explain", "mine", "-f", own, "--verdicts", file).exception
    assert isinstance(error, DataError)
    assert "has a column events of type int64, expected lists of names or text" in str(error)


def test_events_carried_under_another_name_are_read_where_it_is_named(tmp_path: Path) -> None:
    own = mine(tmp_path, "G (a -> G !b)", "G !b")
    own.write_text(own.read_text().replace('["a; -"]', '["a"]'))
    file = write(tmp_path / "v.parquet", [row(0), row(1)])
    tags = pa.array([[], ["b"]], pa.list_(pa.string()))
    pq.write_table(pq.read_table(file).append_column("tags", tags), file)
    asked = ("policy", "explain", "mine", "-f", own, "--verdicts", file)
    unread = run(*asked)
    assert unread.exit_code == 0
    assert "has no column events (--events-column names another)" in unread.stderr
    found = run(*asked, "--events-column", "tags")
    assert found.exit_code == 1
    assert "is broken at turn 1" in found.stdout
    assert found.stderr == ""
    # Beside a column events the one that is named counts.
    pq.write_table(pq.read_table(file).append_column("events", pa.array([["b"], []], pa.list_(pa.string()))), file)
    assert "is broken at turn 0" in run(*asked).stdout
    assert "is broken at turn 1" in run(*asked, "--events-column", "tags").stdout
    error = run(*asked, "--events-column", "tag").exception
    assert isinstance(error, DataError)
    assert "has no column tag" in str(error)
    assert run(*asked[:5], "--steps", "a", "--events-column", "tags").exit_code == 2


def test_verdicts_without_events_are_enough_for_a_policy_that_asks_for_none_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path / "v.parquet", [row(0, violations=["unjudged_is_not_allowed"])])
    found = run("policy", "explain", "unjudged_is_not_allowed", "--verdicts", file)
    assert found.exit_code == 0
    assert found.stderr == ""


def test_a_certificate_of_typed_steps_passes_the_checker() -> None:
    steps = "unjudged flagged; unjudged allowed"
    (one,) = json.loads(run("policy", "explain", "unjudged_is_not_allowed", "--steps", steps, "--json").stdout)
    check(one["certificate"], read_steps(steps))


def test_what_is_no_file_of_verdicts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v.parquet").write_bytes(b"nothing")
    error = run("policy", "explain", "threat_rate", "--verdicts", tmp_path / "v.parquet").exception
    assert isinstance(error, DataError)
    assert run("policy", "explain", "threat_rate").exit_code == 2


def test_steps_that_cannot_be_read_name_their_option() -> None:
    error = run("policy", "explain", "threat_rate", "--steps", ";;;").exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("--steps = ';;;': expected steps as in ")


def test_a_policy_is_drawn_as_svg_and_as_dot(tmp_path: Path) -> None:
    assert run("policy", "graph", "threat_response_time", "-o", tmp_path / "a.svg").exit_code == 0
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0", "1", "2", "10ms over", "broken for good"} <= set(texts)
    result = run("policy", "graph", "--formula", 'G (a -> "x\x1b<y>")')
    assert "digraph" in result.stdout
    assert "\x1b" not in result.stdout
    assert run("policy", "graph").exit_code == 2


def test_a_drawing_never_takes_the_place_of_a_policy_and_a_place_that_cannot_be_written_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    found = run("policy", "graph", "mine", "-f", tmp_path / "mine.toml", "-o", tmp_path / "mine.toml")
    assert isinstance(found.exception, ConfigError)
    assert ".svg or .dot" in str(found.exception)
    assert (tmp_path / "mine.toml").read_text() == MINE
    (tmp_path / "a.svg").mkdir()
    found = run("policy", "graph", "threat_response_time", "-o", tmp_path / "a.svg")
    assert isinstance(found.exception, DataError)
    assert "cannot be written" in str(found.exception)


def test_all_that_is_wrong_in_policies_over_sessions_is_named_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("""
format = 1
version = "1"
[policies.one]
says = ""
formula = "G (a"
holds = [1]
[policies.two]
says = "Fine."
formula = "a"
holds = ["a"]
fails = ["b"]
[policies.three]
says = "A b."
formula = "b"
holds = ["b"]
fails = ["a"]
threat = "leak"
""")
    result = run("policy", "check", tmp_path / "mine.toml")
    told = f"{result.stderr}error: {result.exception}"
    for key in ("policies.one.says", "policies.one.holds[0]", "policies.one.fails", "policies.one.formula"):
        assert told.count(f"{key}") == 1, told
    assert "G (a" in told
    assert "policies.two" not in told
    assert told.endswith("policies.three.threat = 'leak': expected one of multi_turn, none")


def test_all_examples_that_come_out_otherwise_are_named(tmp_path: Path) -> None:
    result = run("policy", "check", mine(tmp_path, '["a; -"]', '["a; b", "a; -", "a; -; b"]'))
    assert "policies.mine.holds[0]" in result.stderr
    assert "policies.mine.holds[2]" in str(result.exception)
