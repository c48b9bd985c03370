"""`aimds graph` on the command line: fill it, ask it, draw it, take subjects out of it."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert json.loads(done("retain", "--days", 1, "--json", *at)) == {"removed": 9}


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
    assert isinstance(refused("related", "nobody"), ConfigError)
    assert isinstance(refused("chain", "r0000001", "-o", tmp_path / "c.png"), ConfigError)
    assert isinstance(refused("erase"), ConfigError)
    (home / "graph.sqlite.salt").unlink()
    assert "salt" in str(refused("status"))
