from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner, Result

from aimds import data
from aimds.cli import doctor, selftest
from aimds.kernels import cuda, registry


class Fake:
    """A screener that answers each self-test case with its first expected action, except where told otherwise."""

    versions = {"engine": "0", "model": "m"}  # noqa: RUF012
    profile = "fast"
    backend = "cpu"
    detector = SimpleNamespace(deep=None)

    def __init__(self, **changed: str) -> None:
        self.actions = {text: expected[0] for _, _, text, expected in selftest.CASES}
        self.actions |= {text: changed[name] for name, _, text, _ in selftest.CASES if name in changed}

    def screen(self, source: Any) -> Any:
        if isinstance(source, list):
            return None
        actions = [self.actions[text] for text in source.column("text").to_pylist()]
        return SimpleNamespace(table=pa.table({"action": actions}))


def run(monkeypatch: pytest.MonkeyPatch, screener: Any, *arguments: str) -> Result:
    def load(say: Any) -> Any:
        if isinstance(screener, Exception):
            raise screener
        return screener

    monkeypatch.setattr(doctor, "_load", load)
    monkeypatch.setattr(doctor, "SELF_TEST_S", 0.01)
    monkeypatch.setattr(doctor, "_kernels", lambda say: iter([doctor.Check("kernels", "backend", True, "cpu")]))
    app = typer.Typer()
    doctor.register(app)
    return CliRunner().invoke(app, list(arguments))


def test_healthy_machine_gives_exit_code_0_and_names_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Fake())
    assert result.exit_code == 0, result.stdout
    for word in ("python", "cpu", "memory", "pyarrow", "policy.toml", "deep stage", "rows/s", "all well"):
        assert word in result.stdout
    assert "✗" not in result.stdout


def test_each_speed_says_of_which_texts_and_which_profile_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = json.loads(run(monkeypatch, Fake(), "--json").stdout)["checks"]
    short, long = (check["detail"] for name, _ in doctor.SPEEDS for check in checks if check["name"] == name)
    assert "rows/s in profile fast" in short
    assert "texts of 115 bytes" in short
    assert [
        word
        for word in ("texts of 2,319 bytes", "harmless and much alike", "one thread, cache off")
        if word not in long
    ] == []


def test_every_text_that_is_measured_on_is_another_and_as_long_as_is_said() -> None:
    seen: list[str] = []
    _, rows, size = selftest.measure(SimpleNamespace(screen=seen.extend), 0.001, 20)
    assert len(seen) == len(set(seen)) > rows > 0
    assert {len(text.encode()) for text in seen} == {size}


def test_what_the_first_batch_compiles_is_no_part_of_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def screen(texts: list[str]) -> None:
        clock[0] += 0.5 if clock[0] else 100.0

    monkeypatch.setattr(selftest.time, "perf_counter", lambda: clock[0])
    rate, rows, _ = selftest.measure(SimpleNamespace(screen=screen), 2.0, 1)  # type: ignore[arg-type]
    assert (rate, rows) == (2000.0, 4000)


def test_no_detail_of_the_report_is_cut_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr("platform.platform", lambda: "Linux-" + "6.18.44-" * 10 + "end")
    shown = run(monkeypatch, Fake()).stdout
    assert "…" not in shown
    assert "Linux-" + "6.18.44-" * 10 + "end" in "".join(shown.split())


def test_json_report_lists_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    report = json.loads(run(monkeypatch, Fake(), "--json").stdout)
    assert report["ok"] is True
    groups = list(dict.fromkeys(check["group"] for check in report["checks"]))
    assert groups == ["system", "packages", "artefacts", "kernels", "gpu", "screener"]


def test_attack_that_is_allowed_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, Fake(**{"an injection": "allow"}), "--json")
    assert result.exit_code == 1
    bad = [check for check in json.loads(result.stdout)["checks"] if check["ok"] is False]
    assert [check["name"] for check in bad] == ["self-test"]
    assert "an injection got allow" in bad[0]["detail"]


def test_screener_that_does_not_load_is_a_line_and_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, ValueError("no weights"))
    assert result.exit_code == 1
    assert "ValueError: no weights" in result.stdout
    assert "1 of" in result.stdout


def test_artefact_that_does_not_match_the_manifest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "manifest", lambda: {"policy.toml": "0" * 64, "gone.npz": "1" * 64})
    result = run(monkeypatch, Fake(), "--json")
    bad = {check["name"] for check in json.loads(result.stdout)["checks"] if check["ok"] is False}
    assert bad == {"policy.toml", "gone.npz"}


def test_missing_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy>=2", "no_such_package_here>=1; python_version > '3'", "ray>=2; extra == 'ray'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: needed)
    result = run(monkeypatch, Fake(), "--json")
    bad = {check["name"] for check in json.loads(result.stdout)["checks"] if check["ok"] is False}
    assert bad == {"no_such_package_here"}


def test_self_test_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        check["name"] for check in json.loads(run(monkeypatch, Fake(), "--json", "--no-self-test").stdout)["checks"]
    }
    assert "deep stage" in names
    assert not names & {"self-test", *(name for name, _ in doctor.SPEEDS)}


def test_kernels_are_loaded_and_reported_by_name() -> None:
    heard: list[str] = []
    checks = list(doctor._kernels(heard.append))
    assert all(check.ok is not False for check in checks)
    assert "loading kernel topk" in heard
    assert {"backend", "topk", "compiled code"} <= {check.name for check in checks}


def test_cuda_that_is_asked_for_and_cannot_run_fails_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "no such card")
    monkeypatch.setenv("AIMDS_BACKEND", "cuda")
    first, *others = doctor._kernels(lambda said: None)
    assert (first.ok, first.detail) == (False, "backend 'cuda' is not available: no such card")
    assert {check.detail for check in others if check.name == "topk"} == {"cpu"}


def test_both_backends_are_loaded_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_cuda_problem", lambda: "")
    monkeypatch.delenv("AIMDS_BACKEND", raising=False)
    checks = {check.name: check for check in doctor._kernels(lambda said: None)}
    assert checks["backend"].detail == "cuda (AIMDS_BACKEND=auto)"
    assert checks["linear"].detail == "cpu, cuda"


def test_whether_a_gpu_can_be_used_is_said_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "problem", lambda: "the driver is too old")
    assert {check.name: check.detail for check in doctor._gpu(lambda said: None)}["usable"] == (
        "no: the driver is too old"
    )
    monkeypatch.setattr(cuda, "problem", lambda: "")
    monkeypatch.setattr(cuda, "devices", lambda: ("0 A card, sm_90, 81,559 MiB",))
    assert {check.name: check.detail for check in doctor._gpu(lambda said: None)}["usable"] == (
        "yes: 0 A card, sm_90, 81,559 MiB"
    )


def test_machine_without_proc_still_gets_a_memory_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_lines", lambda path: [])
    assert doctor._memory().endswith("MiB")
    monkeypatch.setattr(doctor, "_lines", lambda path: ["1048576"] if "cgroup" in path else [])
    assert doctor._memory().endswith("limited to 1 MiB")


def test_unreadable_system_file_has_no_lines(tmp_path: Path) -> None:
    assert doctor._lines(str(tmp_path / "none")) == []


def test_control_characters_of_the_environment_stay_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    doctor._print([doctor.Check("kernels", "backend\x07", False, "AIMDS_BACKEND=\x1b[31mfoo")], ok=False)
    shown = capsys.readouterr().out
    assert "backend⟨U+0007⟩" in shown
    assert "AIMDS_BACKEND=⟨U+001B⟩[31mfoo" in shown
