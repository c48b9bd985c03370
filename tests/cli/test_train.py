"""`aimds train` on the command line: what it leaves of the folders it was given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from aimds.cli import train as command
from aimds.errors import ConfigError
from aimds.jobs import corpus
from aimds.jobs import train as job
from aimds.jobs.train.work import PARTS


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    def trained(labelled: object, config: object, folder: Path, **options: object) -> Any:
        (folder / PARTS).mkdir(parents=True)
        (folder / PARTS / "linear.npz").write_bytes(b"a part")
        return SimpleNamespace(model=SimpleNamespace(card={}))

    def write(trained: object, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "model.npz").write_bytes(b"a model")

    monkeypatch.setattr(corpus, "read", lambda *_, **__: None)
    monkeypatch.setattr(job, "train", trained)
    monkeypatch.setattr(job, "write", write)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    command.register(app)
    return app


def run(app: typer.Typer, *arguments: str) -> None:
    done = CliRunner().invoke(app, ["train", "own.parquet", "--layers", "0", *arguments], catch_exceptions=False)
    assert done.exit_code == 0


def test_a_named_work_folder_keeps_everything_but_the_parts(app: typer.Typer) -> None:
    Path("data").mkdir()
    Path("data/thesis.npz").write_bytes(b"years of work")
    run(app, "-o", "model", "--work", "data")
    assert [file.name for file in Path("data").iterdir()] == ["thesis.npz"]


def test_the_default_work_folder_goes_where_it_is_empty_and_stays_where_it_is_not(app: typer.Typer) -> None:
    run(app, "-o", "model")
    assert [file.name for file in Path().iterdir()] == ["model"]
    Path("other.work").mkdir()
    Path("other.work/notes.txt").write_text("mine")
    run(app, "-o", "other")
    assert [file.name for file in Path("other.work").iterdir()] == ["notes.txt"]


def test_the_current_folder_can_be_the_output(app: typer.Typer) -> None:
    run(app, "-o", ".")
    assert Path("model.npz").exists()
    assert sorted(file.name for file in Path("..").resolve().iterdir()) == ["here"]


def test_without_options_the_model_is_that_of_the_default_config(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[job.TrainConfig] = []
    right = job.train

    def noted(labelled: Any, config: job.TrainConfig, *rest: Any, **options: Any) -> Any:
        seen.append(config)
        return right(labelled, config, *rest, **options)

    monkeypatch.setattr(job, "train", noted)
    run(app)
    assert seen == [job.TrainConfig()]


def test_an_encoder_to_learn_further_without_layers_is_refused(app: typer.Typer) -> None:
    done = CliRunner().invoke(app, ["train", "own.parquet", "--pretrained", "."])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("layers = 0: expected the layers of the encoder that --pretrained names")
