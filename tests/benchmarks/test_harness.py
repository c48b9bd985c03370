"""The harness times both sides for what they did, tells a wrong result and a revision that is not there, and draws."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import harness, page
from benchmarks.harness import Case, Result


def case(**changes: Any) -> Case:
    given: dict[str, Any] = {
        "name": "sum",
        "unit": "row",
        "work": 10,
        "ours": lambda: np.arange(3),
        "peer": lambda: np.arange(3),
        "peer_name": "numpy",
        "same": np.array_equal,
    }
    return Case(**(given | changes))


def test_a_peer_that_does_a_part_of_the_work_is_timed_for_that_part(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: float(next(clock)))
    found = harness.measure(case(peer_work=5), rounds=3, budget_s=1)
    assert (found.ours, found.peer, found.ratio, found.same) == (10, 5, 2, True)


def test_a_wrong_result_and_a_low_ratio_are_faults() -> None:
    wrong = harness.measure(case(peer=lambda: np.arange(4)), rounds=3, budget_s=0)
    assert harness.fault(case(), wrong) == "sum: the result is not that of numpy"
    slow = Result("sum", 1, 2, "numpy", 0.5, "row", True)
    assert harness.fault(case(floor=0.6), slow) == "sum: 0.50 times numpy, the smoke floor is 0.6"
    assert harness.fault(case(floor=0.5), slow) == ""


def test_lines_go_to_stdout_and_with_the_machine_to_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def two(smoke: bool) -> Iterator[Case | Result]:
        yield case()
        yield Result("told", 1, 2, "numpy", 0.5, "row", True)

    run = tmp_path / "run.jsonl"
    assert harness.main({"two": two}, ["--json", str(run)]) == 0
    lines = [json.loads(line) for line in run.read_text().splitlines()]
    assert [line["name"] for line in lines[1:]] == ["sum", "told"]
    assert {"machine", "cores", "python", "versions"} <= lines[0].keys()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines[1:]
    assert harness.main({"bad": lambda smoke: [case(peer=lambda: None, same=lambda a, b: False)]}, []) == 1


def test_a_peer_that_is_not_installed_is_skipped_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert harness.available("no_such_peer") is None
    assert capsys.readouterr().err.startswith("SKIPPED no_such_peer: not installed")


def test_a_revision_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    with pytest.raises(SystemExit, match="--against nowhere: no such revision"):
        harness.main({"sum": lambda smoke: [case()]}, ["--against", "nowhere"])


def test_a_run_becomes_tables_and_plots(tmp_path: Path) -> None:
    lines = [
        {"machine": "M", "vector": "AVX2", "cores": 2, "python": "3", "versions": {"numpy": "2"}},
        {"name": "dtw", "ours": 3, "peer": 1, "peer_name": "a < b", "ratio": 3.0, "unit": "cell", "same": True},
        {"name": "screen_worst_x", "ours": 1, "peer": 9, "peer_name": "c", "ratio": 0.1, "unit": "MB", "same": False},
    ]
    (tmp_path / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "page.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    assert page.main([str(tmp_path / "run.jsonl"), str(tmp_path / "page.md")]) == 0
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| dtw | a < b | 3 | 1 | cell/s | 3.00 | yes |" in text
    assert "| 0.10 | **no** |" in text
    plot = (tmp_path / "images" / "bench-kernels.svg").read_text()
    assert "dtw" in plot
    assert "3.00×" in plot
    assert page.POOR in (tmp_path / "images" / "bench-worst.svg").read_text()


def test_a_page_without_marks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.jsonl").write_text("")
    (tmp_path / "page.md").write_text("nothing")
    assert page.main([str(tmp_path / "run.jsonl"), str(tmp_path / "page.md")]) == 2
    assert page.BEGIN in capsys.readouterr().err
    assert page.main([str(tmp_path / "gone"), str(tmp_path / "page.md")]) == 2
