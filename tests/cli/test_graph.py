"""`aimds graph` on the command line: fill it, ask it, draw it, take subjects out of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
import verdict_factory as made
from feedback_factory import row as decision
from feedback_factory import table as feedback_table
from typer.testing import CliRunner, Result

from aimds.cli import graph
from aimds.errors import AimdsError, ConfigError, DataError, SchemaError


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("AIMDS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    app = typer.Typer()
    graph.register(app)

    @app.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(app, ["graph", *map(str, arguments)])


def done(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*arguments: object) -> AimdsError:
    error = run(*arguments).exception
    assert isinstance(error, AimdsError), error
    return error


@pytest.fixture
def verdicts(tmp_path: Path) -> Path:
    folder = tmp_path / "verdicts"
    folder.mkdir()
    made.write(folder / "a.parquet", [made.attack(k) if k < 3 else made.row(k) for k in range(20)])
    made.write(folder / "b.parquet", [made.attack(40, session_id="elsewhere")])
    return folder


@pytest.mark.parametrize("name", ["g.sqlite", "g.lbug"])
def test_verdicts_and_feedback_go_in_and_answers_come_out(tmp_path: Path, verdicts: Path, name: str) -> None:
    if name.endswith(".lbug"):
        pytest.importorskip("ladybug")
    pq.write_table(feedback_table([decision(1, request_id="r0000000")]), tmp_path / "feedback.parquet")
    at = ("--graph", tmp_path / name)
    fed = json.loads(done("add", verdicts, tmp_path / "feedback.parquet", "--json", *at))
    assert fed == {"rows": 22, "attacks": 4, "variants": 3, "timeless": 0}
    assert json.loads(done("status", "--json", *at))["attack"] == 4
    found = json.loads(done("related", "r0000001", "--json", *at))
    assert {one["name"] for one in found} == {"r0000000", "r0000002", "r0000040"}
    assert "marks" not in found[0]
    whole = json.loads(done("chain", "r0000040", "--json", *at))
    assert {one["label"] for one in whole["events"] if one["name"] == "r0000000/outcome"} == {"confirmed"}
    done("chain", "r0000040", "-o", tmp_path / "c.svg", *at)
    assert (tmp_path / "c.svg").read_text("utf-8").startswith("<svg")
    assert json.loads(done("erase", "--session", "elsewhere", "--json", *at)) == {"erased": 3}
    assert json.loads(done("retain", "--days", 1, "--json", *at)) == {"would_remove": 9, "events": 9}
    assert json.loads(done("status", "--json", *at))["attack"] == 3
    assert json.loads(done("retain", "--days", 1, "--yes", "--json", *at)) == {"removed": 9, "events": 9}
    assert json.loads(done("status", "--json", *at))["attack"] == 0


def test_the_graph_is_in_the_users_folder_and_its_salt_is_for_the_owner_only(home: Path, verdicts: Path) -> None:
    assert "4 attacks added out of 21 rows, 3 of them variants" in done("add", verdicts)
    assert (home / "graph.sqlite").exists()
    assert (home / "graph.sqlite.salt").stat().st_mode & 0o777 == 0o600
    assert "4 attacks" in done("status")
    assert "r0000002" in done("related", "r0000001")
    assert "came back" in done("chain", "r0000001")


def test_what_cannot_be_done_is_said_with_the_way_out(tmp_path: Path, home: Path, verdicts: Path) -> None:
    assert "graph add" in str(refused("status"))
    (tmp_path / "empty").mkdir()
    assert isinstance(refused("add", tmp_path / "empty"), DataError)
    assert isinstance(refused("add", tmp_path / "none.parquet"), DataError)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    assert isinstance(refused("add", tmp_path / "x.parquet"), SchemaError)
    done("add", verdicts)
    for command in ("related", "chain"):
        assert str(refused(command, "nobody")).startswith("ID = 'nobody'")
    assert isinstance(refused("chain", "r0000001", "-o", tmp_path / "c.png"), ConfigError)
    assert isinstance(refused("erase"), ConfigError)
    (home / "graph.sqlite.salt").unlink()
    assert "salt" in str(refused("status"))


def test_days_beyond_a_century_are_refused(verdicts: Path) -> None:
    done("add", verdicts)
    for days in ("1e300", "36501", "-1", "nan"):
        assert run("retain", "--days", days, "--yes").exit_code == 2, days
    assert "9 of 9" not in done("retain", "--days", 36_500)


def test_a_file_that_is_no_graph_is_named_and_not_its_salt(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a graph " * 100)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("text", "empty"):
        error = str(refused("status", "--graph", tmp_path / name))
        assert f"{name}: " in error
        assert "salt" not in error
    assert (tmp_path / "empty").read_bytes() == b""
    assert sorted(file.name for file in tmp_path.iterdir()) == ["empty", "text"]


def test_a_bad_file_among_good_ones_leaves_nothing_behind(tmp_path: Path, home: Path, verdicts: Path) -> None:
    (tmp_path / "text.parquet").write_text("not Parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    table = made.table([made.attack(1), made.row(2)])
    for column in ("action", "threat_type", "request_id"):
        place = table.schema.get_field_index(column)
        values = pa.array([table.column(column)[0].as_py(), None])
        pq.write_table(table.set_column(place, column, values), tmp_path / f"{column}.parquet")
        error = refused("add", verdicts, tmp_path / f"{column}.parquet")
        assert isinstance(error, SchemaError)
        assert (error.column, error.row) == (column, 1)
    for name, kind in (("text", DataError), ("x", SchemaError), ("none", DataError)):
        assert isinstance(refused("add", verdicts, tmp_path / f"{name}.parquet"), kind)
    assert not home.exists()


ADD = """
import sys
from pathlib import Path
from typing import Any
from aimds.cli.graph_file import opened
from aimds.record.graph import ATTACK, Event
from aimds.record.graph_sqlite import SqliteGraph
from aimds.record.marks import Marks
print("ready", flush=True)
sys.stdin.readline()
with opened(Path(sys.argv[1]), create=True) as (store, marks):
    store.put([Event(sys.argv[2], ATTACK, "x", 1, "s", marks=marks.of(session="s"))], [])
"""


def test_first_additions_at_the_same_time_share_one_graph_and_one_salt(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started: list[Any] = [
        subprocess.Popen([sys.executable, "-c", ADD, str(path), f"r{k}"], **pipes)  # type: ignore[call-overload]
        for k in range(5)
    ]
    for child in started:
        assert child.stdout.readline() == "ready\n"
    for child in started:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in started:
        _, problem = child.communicate()
        assert child.returncode == 0, problem
    # Under one salt the session is one mark, so that each attack is related to all others.
    assert len(json.loads(done("related", "r0", "--json", "--graph", path))) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["graph.sqlite", "graph.sqlite.salt"]


def test_a_session_of_two_tenants_is_two_sessions(tmp_path: Path) -> None:
    texts = ("crimson ferrets juggle", "the moon council convenes", "lanterns out at nine")
    rows = [
        made.attack(k, session_id="s", tenant=name, evidence=[], text=texts[k])
        for k, name in enumerate(("a", "b", None))
    ]
    made.write(tmp_path / "v.parquet", rows)
    done("add", tmp_path / "v.parquet")
    assert json.loads(done("related", "r0000000", "--json")) == []
    error = refused("erase", "--session", "s")
    assert isinstance(error, ConfigError)
    assert '"" (events of none), a, b' in str(error)
    assert json.loads(done("status", "--json"))["attack"] == 3
    assert json.loads(done("erase", "--session", "s", "--tenant", "", "--json")) == {"erased": 3}
    assert json.loads(done("erase", "--session", "s", "--tenant", "b", "--json")) == {"erased": 3}
    assert json.loads(done("erase", "--session", "s", "--json")) == {"erased": 3}
