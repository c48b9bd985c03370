"""Another Python: found, checked, started, and its lines read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from redteam_data import GARAK, environment, front

from aimds.errors import ConfigError, DataError
from aimds.jobs.redteam import others
from aimds.jobs.redteam.others import ToolError

WANTED: dict[str, Any] = {
    "modules": ["dan", "encoding", "web_injection", "suffix"],
    "probes": [],
    "prompts": 5,
    "seed": 1,
}


@pytest.fixture(scope="module")
def garak(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("garak") / "env", "garak", "0.17.1", GARAK)


def said(garak: Path, **more: Any) -> list[dict[str, Any]]:
    with front() as url:
        wanted = {**WANTED, "proxy": url, "bare": url, "ends_in_s": 60.0, **more}
        return list(others.lines("garak", garak / "bin" / "python", wanted, limit_s=60.0))


def test_probes_are_asked_and_judged_by_the_detectors_of_the_tool(garak: Path) -> None:
    lines = said(garak)
    plan = next(line for line in lines if line["kind"] == "plan")
    assert plan["probes"] == ["dan.Plain", "encoding.Odd", "suffix.Empty", "web_injection.Fetched"]
    attempts = [line for line in lines if line["kind"] == "attempt" and line["probe"] == "dan.Plain"]
    assert [one["outcome"] for one in attempts] == ["held", "flagged", "passed"]
    assert [one["works"] for one in attempts] == [False, True, True]
    assert next(line for line in lines if line["kind"] == "probe")["tags"] == ["owasp:llm06", "quality:x"]


def test_what_is_left_out_is_named_with_the_reason(garak: Path) -> None:
    why = {line["probe"]: line["why"] for line in said(garak) if line["kind"] == "left_out"}
    assert why["tap.PAIR"] == "needs a model that attacks"
    assert why["lmrc.Rude"] == "manipulates nothing"
    assert why["dan.PlainFull"] == "the longer edition of one that is run"
    assert "without what it would fetch" in why["suffix.Empty"]
    assert "would fetch" in why["web_injection.Fetched"]


def test_nothing_gets_out_and_the_host_is_named(garak: Path) -> None:
    assert said(garak)[-1] == {"kind": "done", "refused": {"hub.example.org": 1}}


def test_probes_can_be_named_also_those_that_are_left_out_otherwise(garak: Path) -> None:
    lines = said(garak, probes=["lmrc", "dan.PlainFull"])
    assert next(line for line in lines if line["kind"] == "plan")["probes"] == ["dan.PlainFull", "lmrc.Rude"]


def test_probes_that_no_time_is_left_for_are_named(garak: Path) -> None:
    why = [line["why"] for line in said(garak, ends_in_s=-1.0) if line["kind"] == "left_out"]
    assert why.count("no time was left") == 4


def test_tool_that_breaks_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    broken = {**GARAK, "_config.py": "raise RuntimeError('no configuration today')\n"}
    folder = environment(tmp_path / "env", "garak", "0.17.1", broken)
    with pytest.raises(ToolError, match="no configuration today"):
        said(folder)


def test_tool_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(others, "GRACE_S", 0.5)
    hanging = {**GARAK, "_config.py": "import time; time.sleep(60)\n"}
    folder = environment(tmp_path / "env", "garak", "0.17.1", hanging)
    with pytest.raises(ToolError, match="ended before it was done"):
        list(others.lines("garak", folder / "bin" / "python", {**WANTED, "ends_in_s": 0.0}, limit_s=0.5))


def test_other_python_gets_no_credentials_and_a_home_that_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-fake-0000")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org")
    found = others.surroundings("/somewhere")
    assert "sk-fake-0000" not in found.values()
    assert "HTTPS_PROXY" not in found
    assert found["HOME"] == "/somewhere"
    assert found["HF_HUB_OFFLINE"] == "1"


def test_version_is_that_of_the_other_python(garak: Path) -> None:
    assert others.version("garak", garak / "bin" / "python") == "0.17.1"


def test_python_without_the_tool_is_an_error_that_says_how_to_install_it(garak: Path) -> None:
    with pytest.raises(DataError, match=r"has no pyrit.*pip install pyrit==1\.1\.0"):
        others.version("pyrit", garak / "bin" / "python")


def test_program_that_is_no_python_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "python"
    file.write_text("no program")
    os.chmod(file, 0o755)
    with pytest.raises(DataError, match="no Python that runs"):
        others.version("garak", file)


def test_python_is_found_by_path_by_environment_and_where_make_puts_it(
    garak: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = garak / "bin" / "python"
    assert others.find("garak", python) == python == others.find("garak", garak)
    monkeypatch.chdir(tmp_path)
    assert others.find("garak", None) is None
    usual = tmp_path / ".venv-redteam-garak" / "bin"
    usual.mkdir(parents=True)
    (usual / "python").symlink_to(sys.executable)
    assert others.find("garak", None) == usual / "python"
    with pytest.raises(ConfigError, match="garak-python"):
        others.find("garak", tmp_path / "nowhere")


def test_python_named_by_a_relative_path_runs_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / ".venv-redteam-garak" / "bin" / "python"
    usual.parent.mkdir(parents=True)
    usual.symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    for given in (None, Path(".venv-redteam-garak"), Path(".venv-redteam-garak/bin/python")):
        found = others.find("garak", given)
        assert found == usual
        with pytest.raises(ToolError) as told:
            list(others.lines("garak", found, {}, limit_s=5))
        assert "does not run" not in told.value.problem


def test_python_that_does_not_run_is_an_error_of_the_tool(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="does not run"):
        list(others.lines("garak", tmp_path / "none", {}, limit_s=5))
