"""The command line as a whole: help, version, and errors that are one line with the right exit code."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from typer.testing import CliRunner

from aimds import cli
from aimds.__main__ import main
from aimds.errors import DataError
from aimds.kernels.cuda import problem


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aimds", *arguments],
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_lists_every_command() -> None:
    from aimds.cli import COMMANDS

    done = run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


def test_version_is_printed() -> None:
    from aimds import __version__

    assert run("--version").stdout.strip() == f"aimds {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "no-such-folder"),
        ("train", "no-such-file.parquet"),
        ("scan", "no-such-file.parquet", "-o", "out"),
        ("report", "no-such-folder"),
        ("check", "--file", "no-such-file.txt"),
    ],
)
def test_a_missing_input_is_one_line_naming_it_and_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aimds", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "no-such" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    done = run("frobnicate")
    assert done.returncode == 2
    assert "frobnicate" in done.stderr


def run_into(stdout: Any, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command with its stdout going to ``stdout``."""
    command = [sys.executable, "-m", "aimds", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=env, timeout=300, check=False)


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
PRINTING = [("--version",), ("policy", "show"), ("policy", "show", "--json"), ("--help",)]


@needs_full
@pytest.mark.parametrize("arguments", PRINTING)
def test_output_that_cannot_be_written_is_one_line_and_exit_code_2(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_into(full, *arguments)
    assert done.returncode == 2
    assert done.stderr == b"error: No space left on device\n"


@needs_full
def test_errors_that_cannot_be_written_keep_their_exit_code() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "aimds", "policy", "check", "no-such-file"]
        done = subprocess.run(command, stdout=full, stderr=full, timeout=300, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_pipe_that_nobody_reads_ends_the_command_quietly(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run_into(writing, *arguments)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_the_encoding_lacks_are_escaped(encoding: str) -> None:
    done = run_into(subprocess.PIPE, "policy", "show", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert rb"at p \u2264" in done.stdout
    assert rb"\u2192 refuse" in done.stdout


def test_control_characters_in_a_file_name_stay_out_of_the_error() -> None:
    done = run("policy", "check", "no-such\x1b[31m\nfile")
    assert done.returncode == 2
    assert done.stderr.startswith("error: no-such⟨U+001B⟩[31m file: cannot be read")
    assert done.stderr.count("\n") == 1


def test_an_unknown_backend_is_one_line_naming_the_variable() -> None:
    done = run_into(subprocess.PIPE, "check", "hi", AIMDS_BACKEND="foo")
    assert (done.returncode, done.stderr) == (2, b"error: AIMDS_BACKEND = 'foo': expected auto, cpu or cuda\n")


@pytest.mark.skipif(not problem(), reason="there is a GPU")
@pytest.mark.parametrize(
    "arguments",
    [("check", "hi"), ("scan", "x.parquet", "-o", "out"), ("hunt", "x.parquet", "-o", "out", "-e", "hi there")],
)
def test_cuda_without_a_gpu_is_one_line_with_the_reason(arguments: tuple[str, ...], tmp_path: Path) -> None:
    expected = f"error: backend 'cuda' is not available: {problem()}\n".encode()
    for more, variable in (((), "cuda"), (("--backend", "cuda"), "cpu")):
        done = run_into(subprocess.PIPE, *arguments, *more, AIMDS_BACKEND=variable)
        assert (done.returncode, done.stderr) == (2, expected)


@pytest.mark.parametrize("command", ["check", "scan", "hunt", "evaluate"])
def test_a_backend_can_be_asked_for(command: str) -> None:
    assert "--backend" in run(command, "--help").stdout


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--help",), 0), (("policy",), 2), (("check", "--nope"), 2)])
def test_help_and_usage_errors_have_their_exit_codes(arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert "aimds" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def in_process(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Exit code of main where the command raises ``error``."""
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "build", lambda: app)
    monkeypatch.setattr(sys, "argv", ["aimds"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (typer.Exit(1), 1, ""),
        (typer.Exit(130), 130, ""),
        (typer.BadParameter("no"), 2, "no"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (DataError("a\x1bb", "is bad"), 2, "error: a⟨U+001B⟩b: is bad\n"),
        (PermissionError(13, "Permission denied", "x\x07y"), 2, "error: x⟨U+0007⟩y: Permission denied\n"),
    ],
)
def test_what_a_command_raises_has_its_exit_code_and_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert in_process(monkeypatch, error) == code
    said = capsys.readouterr().err
    assert message in said
    assert bool(message) == bool(said)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        in_process(monkeypatch, ZeroDivisionError())


def test_nothing_of_a_help_text_is_taken_for_markup() -> None:
    def texts(command: Any, path: str) -> Iterator[tuple[str, str]]:
        yield path, command.help or ""
        for one in command.params:
            yield f"{path} {one.opts[0] if one.opts else one.name}", getattr(one, "help", None) or ""
        for name, one in getattr(command, "commands", {}).items():
            yield from texts(one, f"{path} {name}")

    found = dict(texts(typer.main.get_command(cli.build()), "aimds"))
    lost = [path for path, told in found.items() if Text.from_markup(told).plain != told.replace("\\[", "[")]
    assert lost == []
    result = CliRunner().invoke(cli.build(), ["scan", "--help"], env={"COLUMNS": "160"})
    assert "Policy file.  [default: the shipped one]" in result.stdout
