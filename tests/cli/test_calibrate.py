"""`aimds calibrate` on the command line, on sample traffic of our own."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import encoder_file
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from aimds import Screener
from aimds.cli import calibrate as command
from aimds.detect import tail
from aimds.detect.calibration import Calibration
from aimds.detect.classifier import Classifier
from aimds.detect.deep import Deep
from aimds.errors import ConfigError, DataError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import traffic
    finally:
        sys.path.remove(str(EXAMPLES))
    folder = tmp_path_factory.mktemp("logs")
    traffic.write(folder, 1500, 2, 11, 3)
    return folder


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    command.register(app)
    return app


def test_benign_traffic_is_calibrated_and_a_screener_takes_the_result(
    app: typer.Typer, logs: Path, tmp_path: Path
) -> None:
    benign = tmp_path / "benign.parquet"
    table = pq.read_table(logs)
    pq.write_table(table.filter(pc.equal(table["expected"], "none")), benign)
    out = tmp_path / "calibration"
    result = CliRunner().invoke(app, ["calibrate", str(benign), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    total = card["total"]
    assert total["fitted"] + total["judged"] == card["rows"]["different"]
    assert total["flag"]["after"]["hits"] <= total["flag"]["before"]["hits"] + 3
    assert "warning" not in result.stderr
    shipped, own = (Screener.default(cache_bytes=0, calibration=folder) for folder in (None, str(out)))
    assert own.versions["model"].startswith(f"{shipped.detector.classifier.version}+{Calibration.load(out).version}")
    assert own.config_hash != shipped.config_hash
    texts = table["text"].to_pylist()[:300]
    before, after = ([verdict.p_value for verdict in screener.screen(texts)] for screener in (shipped, own))
    assert before != after
    with pytest.raises(DataError, match="--overwrite"):
        CliRunner().invoke(app, ["calibrate", str(benign), "-o", str(out)], catch_exceptions=False)


def test_attacks_in_the_traffic_are_warned_of_and_written_out_for_review(
    app: typer.Typer, logs: Path, tmp_path: Path
) -> None:
    look = tmp_path / "look.parquet"
    arguments = [
        "calibrate",
        str(logs / "*.parquet"),
        "-o",
        str(tmp_path / "c"),
        "--review",
        str(look),
        "--trim",
        "0.04",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "warning" in result.stderr
    assert "--trim" in result.stderr
    written = pq.read_table(look)
    assert written.column_names == ["file", "row", "times", "p_value", "text"]
    assert max(written["p_value"].to_pylist()) <= 0.001
    log = pq.read_table(written["file"][0].as_py())
    assert log["text"][written["row"][0].as_py()].as_py() == written["text"][0].as_py()
    assert "at 95% confidence" in result.stdout
    assert "pooled" in result.stdout


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped model with a tiny encoder of random weights beside it."""
    more = dict.fromkeys(("joint", "joint.untrusted"), tail.fit(np.linspace(0.0, 4.0, 200)))
    model, deep = Classifier.load(), Deep.unpack("deep.npz", encoder_file.content())
    model = dataclasses.replace(model, tails={**model.tails, **more})
    monkeypatch.setattr("aimds.artefacts.Classifier.load", lambda *_: model)
    monkeypatch.setattr("aimds.artefacts.Deep.load", lambda *_: deep)


@pytest.mark.usefixtures("encoder")
def test_a_calibration_is_for_the_gray_zone_it_was_made_with_and_refused_with_another(
    app: typer.Typer, tmp_path: Path
) -> None:
    lines, out = tmp_path / "lines.txt", tmp_path / "calibration"
    lines.write_text("".join(f"Tell me about rivers and bread, number {i}\n" for i in range(120)))
    result = CliRunner().invoke(app, ["calibrate", str(lines), "-o", str(out), "--gray", "0.3"])
    assert result.exit_code == 0, result.output
    assert "profile cascade, gray zone from p = 0.3" in result.stdout
    card = Calibration.load(out).card
    assert (card["profile"], card["gray"]) == ("cascade", 0.3)
    assert "gray zone from p = 0.3" in (out / "card.md").read_text("utf-8")
    with pytest.raises(ConfigError, match=r"from p = 0\.2, not 0\.3"):
        Screener.default(calibration=out)
    assert Screener.default(calibration=out, gray=0.3).detector.gray == 0.3


def test_a_gray_zone_that_cannot_be_is_refused(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one line\n")
    arguments = ["calibrate", str(tmp_path / "lines.txt"), "-o", str(tmp_path / "c"), "--gray", "2"]
    with pytest.raises(ConfigError, match="gray = 2"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
