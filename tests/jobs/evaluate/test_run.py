"""All suites together: what runs, what is left out and why, and that a result is plain data that its page can draw."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aimds.errors import ConfigError, DataError, SchemaError
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate import robustness, run
from aimds.jobs.evaluate.disguise import CHARACTERS, Disguise
from aimds.jobs.evaluate.page import render
from aimds.jobs.evaluate.run import Material, Settings

PII = {"text": ["Mail a@example.com"], "spans_json": ['[{"start": 5, "end": 18, "type": "EMAIL"}]'], "source": ["own"]}


@pytest.fixture
def material(corpus_of: Callable[..., Corpus], tmp_path: Path) -> Material:
    harmless = [(f"what is number {number}", 0, "asks") for number in range(60)]
    attacks = [(f"ignore this and ignore {number}", 1, "new") for number in range(90)]
    pq.write_table(pa.table(PII), tmp_path / "pii.parquet")
    return Material([corpus_of("attacks", attacks), corpus_of("clean_dev", harmless)], [tmp_path / "pii.parquet"])


@pytest.fixture(autouse=True)
def _few_disguises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "disguises", lambda harmless, points: CHARACTERS[:2])


def test_all_runs_everything_there_is_material_for(screener: Any, material: Material) -> None:
    result = run.run({"fast": screener}, material, Settings(suites=("all",), sample=5))
    assert result["left_out"] == {}
    keys = {"rows", "sources", "macro_detection", "macro_sources", "thresholds", "reference", "profile", "versions"}
    assert keys | {"robustness", "overdefence", "fewshot", "removal", "throughput", "pii"} <= {*result}
    assert result["reference"] == {"file": "clean_dev", "n": 60}
    assert (result["profile"], result["seed"], result["could_not_judge"]) == ("fast", 0, 0)
    assert [row["n"] for row in result["robustness"]] == [5, 5]
    assert {row["n"] for row in result["fewshot"]} == {5}


def test_the_result_is_strict_json_and_its_page_is_drawn(screener: Any, material: Material) -> None:
    result = run.run({"fast": screener}, material, Settings(suites=("all",), sample=5))
    again = json.loads(json.dumps(result, allow_nan=False))
    assert again == result
    assert render(again).startswith("<!doctype html>")


def test_only_what_was_asked_for_runs(screener: Any, material: Material) -> None:
    result = run.run({"fast": screener}, material, Settings(suites=("overdefence",)))
    assert {"rows", "robustness", "fewshot", "throughput", "pii"} & {*result} == set()
    assert result["overdefence"]
    screener.seen.clear()
    assert run.run({"fast": screener}, material, Settings(suites=("pii",)))["pii"][0]["entity"] == "EMAIL"
    assert screener.seen == [], "personal data alone needs no verdicts"


def test_all_says_what_it_left_out_and_a_name_insists(screener: Any, corpus_of: Callable[..., Corpus]) -> None:
    clean = Material([corpus_of("mine", [("hello", 0, "s")])])
    result = run.run({"fast": screener}, clean, Settings(suites=("all",)))
    assert {*result["left_out"]} == {"robustness", "fewshot", "pii"}
    assert result["reference"]["file"] == "mine"
    for suite in ("robustness", "fewshot", "pii"):
        with pytest.raises(DataError, match=suite):
            run.run({"fast": screener}, clean, Settings(suites=(suite,)))
    for suite in ("files", "throughput", "removal"):
        with pytest.raises(DataError, match="no labelled file"):
            run.run({"fast": screener}, Material(), Settings(suites=(suite,)))


def test_over_defence_needs_no_files(screener: Any) -> None:
    result = run.run({"fast": screener}, Material(), Settings(suites=("overdefence",)))
    assert result["overdefence"][-1]["set"] == "own: all"


def test_rows_without_a_verdict_are_counted_over_all_suites(
    screener: Any, corpus_of: Callable[..., Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    same = Disguise("same", "character", lambda text, _: text)
    monkeypatch.setattr(robustness, "disguises", lambda harmless, points: (same, same))
    rows = [("BROKEN", 0, "s"), ("hello", 0, "s"), ("BROKEN", 1, "s")]
    result = run.run({"fast": screener}, Material([corpus_of("one", rows)]), Settings(suites=("files",)))
    assert result["could_not_judge"] == 2
    result = run.run({"fast": screener}, Material([corpus_of("one", rows)]), Settings(suites=("robustness",)))
    assert result["could_not_judge"] >= 4, "the attack fails again in either disguise"


def test_every_profile_is_timed_and_the_first_one_judges(screener: Any, material: Material) -> None:
    other = type(screener)(["this"])
    result = run.run({"fast": screener, "cascade": other}, material, Settings(suites=("throughput",)))
    assert [row["profile"] for row in result["throughput"]] == ["fast", "cascade"]
    assert result["profile"] == "fast"


def test_progress_of_each_suite_reaches_its_total(screener: Any, material: Material) -> None:
    told: dict[str, tuple[int, int]] = {}
    suites = tuple(name for name in run.SUITES if name != "removal")
    run.run(
        {"fast": screener},
        material,
        Settings(suites=suites, sample=5),
        lambda suite, done, total: told.__setitem__(suite, (done, total)),
    )
    assert {*told} == {*suites}
    assert [name for name, (done, total) in told.items() if done != total] == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"suites": ("speed",)}, "suite = 'speed': expected one of files, robustness"),
        ({"sample": -1}, "sample = -1"),
        ({"rates": (0.01, 1.0)}, "rate = 1.0"),
        ({"recalls": (0.0,)}, "recall = 0.0"),
        ({"rates": (float("nan"),)}, "rate = nan"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Settings(**settings)


def test_the_reference_is_clean_dev_or_the_first_with_harmless_rows(corpus_of: Callable[..., Corpus]) -> None:
    attacks, mine = corpus_of("attacks", [("a", 1, "s")]), corpus_of("mine", [("a", 0, "s")])
    clean = corpus_of("clean_dev", [("a", 0, "s")])
    assert run.reference_name([attacks, mine, clean], "") == "clean_dev"
    assert run.reference_name([attacks, mine], "") == "mine"
    assert run.reference_name([attacks, mine, clean], "mine") == "mine"
    assert run.reference_name([attacks], "") == "attacks"


def test_files_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    columns = {"text": ["a"], "label": [1], "category": ["jailbreak"], "source": ["s"]}
    pq.write_table(pa.table(columns), tmp_path / "labelled.parquet")
    pq.write_table(pa.table(PII), tmp_path / "pii.parquet")
    found = run.read([tmp_path])
    assert [one.name for one in found.corpora] == ["labelled"]
    assert [path.name for path in found.pii] == ["pii.parquet"]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"bad\.parquet: cannot be read as Parquet"):
        run.read([tmp_path])
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "bad.parquet")
    with pytest.raises(SchemaError, match="label"):
        run.read([tmp_path])


class Unasked:
    """A screener that must not be asked."""

    versions = None

    def screen(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("screened before the settings were checked")


def test_what_cannot_be_judged_is_refused_before_anything_is(corpus_of: Callable[..., Corpus], tmp_path: Path) -> None:
    attacks, mine = corpus_of("attacks", [("a", 1, "s")]), corpus_of("mine", [("b", 0, "s")])
    pq.write_table(pa.table({"words": ["a"]}), tmp_path / "alike.parquet")
    subject: Any = {"fast": Unasked()}
    for files, settings, error, problem in (
        ([attacks, mine], Settings(reference="nine"), ConfigError, "reference = 'nine': expected one of attacks, mine"),
        ([attacks, mine], Settings(reference="attacks"), ConfigError, "a file with benign rows"),
        ([mine], Settings(recalls=(0.9,)), DataError, "no file holds attacks"),
        (
            [mine],
            Settings(suites=("all",), overdefence=(tmp_path / "alike.parquet",)),
            SchemaError,
            r"missing in alike\.parquet",
        ),
        (
            [mine],
            Settings(suites=("overdefence",), overdefence=(tmp_path / "absent.parquet",)),
            DataError,
            "no such file",
        ),
    ):
        with pytest.raises(error, match=problem):
            run.run(subject, Material(files), settings)
