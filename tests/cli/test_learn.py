"""`aimds learn` on the command line: key, feedback, a round, promotion by name, history, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from feedback_factory import row, table
from proposal_factory import VARIANTS, detector
from teaching_material import BENIGN
from typer.testing import CliRunner, Result

from aimds import Screener
from aimds.cli import learn
from aimds.errors import AimdsError, ArtefactError, ConfigError, DataError, SchemaError
from aimds.learn import proposal, rounds
from aimds.respond.policy import Policy


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A detector that is quick to teach, two folds, the user's data folder inside the test's."""
    quick = Screener(detector(), Policy.load())
    monkeypatch.setattr(Screener, "default", classmethod(lambda cls, **options: quick))
    monkeypatch.setattr(proposal, "FOLDS", 2)
    monkeypatch.setenv("AIMDS_HOME", str(tmp_path / "home"))


def run(*arguments: object) -> Result:
    app = typer.Typer()
    learn.register(app)

    @app.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(app, ["learn", *map(str, arguments)])


def done(*arguments: object, code: int = 0) -> str:
    result = run(*arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def refused(*arguments: object) -> AimdsError:
    error = run(*arguments).exception
    assert isinstance(error, AimdsError), error
    return error


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Feedback, and benign texts without and with more words."""
    feedback, benign = tmp_path / "feedback.parquet", tmp_path / "benign.txt"
    pq.write_table(table([row(number, text) for number, text in enumerate(VARIANTS[:12])]), feedback)
    many = [f"{text} {ending}" for text in BENIGN for ending in ("", "Thank you.", "Is that so?", "I wonder.", "Well.")]
    benign.write_text("\n".join(many), "utf-8")
    return feedback, benign


def test_from_feedback_to_what_is_in_force_and_back(tmp_path: Path, files: tuple[Path, Path]) -> None:
    state = tmp_path / "home" / "learning"
    done("keygen")
    assert "no round has been proposed" in done("status")
    assert "no round has been proposed yet" in run("history", "-o", tmp_path / "none.html").stderr
    assert "No round has been proposed yet" in (tmp_path / "none.html").read_text("utf-8")
    first = json.loads(done("propose", files[0], "--benign", files[1], "--by", "a proposer", "--json"))
    assert first["passed"]
    assert first["held_out"]["gained"] >= 6
    assert "promote 2 --by NAME" in done("propose", "--benign", files[1])
    assert rounds.load(state).current == 0
    done("promote", 2, "--by", "first person", "--share", 0.25, "-m", "on trial")
    assert json.loads(done("status", "--json"))["share"] == 0.25
    assert "in force: round 2" in done("promote", 2, "--by", "second person")
    shown = done("history", "-o", tmp_path / "gain.html")
    assert f"{first['held_out']['gain']:+.1%}" in shown
    assert "first person" in shown
    assert "second person" in shown
    page = (tmp_path / "gain.html").read_text("utf-8")
    assert "round 2" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    happened = json.loads(done("history", "--json"))
    assert [event["kind"] for event in happened["events"]] == ["opened", *["proposed"] * 2, *["promoted"] * 2]
    assert "nothing learnt" in done("rollback", "--by", "third person")
    assert "1 row erased" in done("erase", "--session", "s3")


def test_thresholds_move_with_a_round_where_that_is_asked_for(tmp_path: Path, files: tuple[Path, Path]) -> None:
    done("keygen")
    said = done("propose", files[0], "--benign", files[1])
    report = rounds.load(tmp_path / "home" / "learning").rounds[0].report
    assert report["moved"]["to"] != report["levels"]
    assert "passed with these thresholds" in said
    assert "add --thresholds" in said
    assert "moves the thresholds of the policy: flag 0.01 to" in done("promote", 1, "--by", "a", "--thresholds")
    found = json.loads(done("status", "--json"))["thresholds"]
    assert found == {"current": report["moved"]["to"], "trial": None}
    # The next step goes on from what is in force, and is laid over what the policy says.
    done("propose", "--benign", files[1], code=1)
    after = rounds.load(tmp_path / "home" / "learning").rounds[1].report
    assert after["levels"] == report["moved"]["to"]
    assert after["policy"] == report["policy"]


def test_a_round_that_does_not_pass_says_why_and_cannot_be_promoted(tmp_path: Path, files: tuple[Path, Path]) -> None:
    done("keygen")
    few = tmp_path / "few.txt"
    few.write_text("\n".join(BENIGN[:50]), "utf-8")
    assert "does not let it through" in done("propose", files[0], "--benign", few, code=1)
    assert "takes 1,497 texts" in str(refused("promote", 1, "--by", "someone"))


def test_benign_texts_of_recorded_verdicts_are_those_that_were_allowed(tmp_path: Path) -> None:
    from aimds.cli.learn_propose import read_benign

    columns = {"text": ["one", "two", None], "action": ["allow", "block", "allow"], "channel": ["tool", "user", "user"]}
    pq.write_table(pa.table(columns), tmp_path / "v.parquet")
    found = read_benign([tmp_path / "v.parquet"])
    assert (found.texts, found.channels) == (["one"], ["tool"])


def test_what_is_missing_is_named_with_the_way_out(tmp_path: Path, files: tuple[Path, Path]) -> None:
    assert "keygen" in str(refused("propose", files[0], "--benign", files[1]))
    done("keygen")
    assert isinstance(refused("propose", files[0]), ConfigError)
    assert isinstance(refused("propose", "--benign", files[1]), DataError)
    assert isinstance(refused("propose", files[0], "--benign", tmp_path / "none.txt"), DataError)
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "other.parquet")
    assert isinstance(refused("propose", tmp_path / "other.parquet", "--benign", files[1]), SchemaError)
    assert isinstance(refused("history", "-o", tmp_path / "gain.png"), ConfigError)
    assert isinstance(refused("status", "--state", tmp_path / "nowhere"), ArtefactError)
    assert isinstance(refused("erase"), ConfigError)
    assert run("promote", 1).exit_code == 2
