"""PyRIT's half: which attacks are sent, and what counts as an attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redteam_data import PYRIT, environment, front

from aimds.jobs.redteam import others
from aimds.jobs.redteam.material import SMALL_TALK


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("pyrit") / "env", "pyrit", "1.1.0", PYRIT) / "bin" / "python"


def said(python: Path, probes: list[str], texts: list[str], turns: int = 3) -> list[dict[str, Any]]:
    with front() as url:
        wanted = {
            "proxy": url,
            "texts": texts,
            "small_talk": SMALL_TALK,
            "turns": turns,
            "concurrent": 2,
            "each_s": 0.5,
            "probes": probes,
            "seed": 1,
            "ends_in_s": 60.0,
        }
        return list(others.lines("pyrit", python, wanted, limit_s=60.0))


def test_texts_are_sent_as_the_converter_makes_them(python: Path) -> None:
    attempts = [line for line in said(python, ["plain", "Base64"], ["HOLD", "FLAG"]) if line["kind"] == "attempt"]
    found = {(one["probe"], one["turns"][-1][1]): one["outcome"] for one in attempts}
    assert found == {
        ("plain", "HOLD"): "held",
        ("plain", "FLAG"): "flagged",
        ("Base64", "SE9MRA=="): "passed",
        ("Base64", "RkxBRw=="): "passed",
    }


def test_small_talk_before_an_attack_is_no_attempt(python: Path) -> None:
    attempts = [line for line in said(python, ["multi-turn"], ["HOLD", "quiet"], turns=4) if line["kind"] == "attempt"]
    assert {(one["turns"][-1][1], one["outcome"], len(one["turns"])) for one in attempts} == {
        ("HOLD", "held", 7),
        ("quiet", "passed", 7),
    }


def test_attack_that_takes_too_long_is_cut_off_and_the_next_one_runs(python: Path) -> None:
    lines = said(python, ["many-shot", "skeleton key"], ["quiet"])
    assert [(one["probe"], one["why"]) for one in lines if one["kind"] == "left_out"] == [
        ("many-shot", "was cut off after 0.5 s")
    ]
    assert [one["probe"] for one in lines if one["kind"] == "probe"] == ["skeleton key"]


def test_converter_that_is_not_there_is_left_out_with_the_reason(python: Path) -> None:
    why = [one["why"] for one in said(python, ["ROT13"], ["quiet"]) if one["kind"] == "left_out"]
    assert why == ["ImportError: no such module"]
