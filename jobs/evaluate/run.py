"""`aimds evaluate`: the suites that were asked for, one after another, over the same judged files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.errors import ConfigError, DataError
from aimds.jobs import corpus
from aimds.jobs.corpus import Corpus
from aimds.jobs.evaluate import detection, fewshot, overdefence, removal, robustness, sample, throughput
from aimds.jobs.evaluate.judging import Advance, Judged, files, judge
from aimds.jobs.evaluate.points import Points, check_shares
from aimds.jobs.pii_evaluation import evaluate_pii

SUITES = ("files", "robustness", "overdefence", "fewshot", "removal", "throughput", "pii")
"""In the order they run."""
ALL = "all"
REFERENCE = "clean_dev"
NO_LABELLED_FILE = "no labelled file was named"
Progress = Callable[[str, int, int], None]
"""Told the suite, and how much of it is done out of how much."""


class Subject(throughput.Timed, fewshot.Pupil, Protocol):
    """What the suites together need of a screener."""

    @property
    def versions(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure.

    ``suites``: names of SUITES; ``all`` stands for those there is material for · ``reference``: file, without its
    ending, whose harmless rows set the thresholds; by default `REFERENCE`, else the first with harmless rows ·
    ``rates``: false-positive rates to judge at · ``recalls``: macro recalls to judge false positives at · ``sample``:
    attacks of each file for robustness, few-shot and removal, 0 for all · ``overdefence``: files of look-alikes.
    """

    suites: tuple[str, ...] = ("files",)
    reference: str = ""
    rates: tuple[float, ...] = (0.01, 0.001)
    recalls: tuple[float, ...] = ()
    sample: int = 100
    seed: int = 0
    overdefence: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in self.suites:
            if name not in (*SUITES, ALL):
                raise ConfigError("suite", name, "one of " + ", ".join((*SUITES, ALL)))
        if self.sample < 0:
            raise ConfigError("sample", self.sample, "a whole number of rows, 0 for all")
        check_shares(self.rates, self.recalls)

    def wants(self, suite: str) -> bool:
        """Whether ``suite`` was asked for."""
        return suite in self.suites or ALL in self.suites


@dataclass(frozen=True, slots=True)
class Material:
    """Labelled files, and files with labelled personal data."""

    corpora: list[Corpus] = field(default_factory=list)
    pii: list[Path] = field(default_factory=list)


def read(paths: Sequence[Path]) -> Material:
    """The files at ``paths``, told apart by their columns: one with ``spans_json`` and no ``label`` is one for PII.

    Raises:
        DataError: nothing there, or a file that cannot be read. SchemaError: a file with other columns.
    """
    found = Material()
    for path in files(paths):
        try:
            columns = pq.read_schema(path).names
        except FileNotFoundError:
            raise DataError(path, "no such file") from None
        except (OSError, pa.ArrowException) as error:
            raise DataError(path, f"cannot be read as Parquet: {error}") from error
        if "spans_json" in columns and "label" not in columns:
            found.pii.append(path)
        else:
            found.corpora.append(corpus.read(path))
    return found


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a suite works on: the first of ``screeners`` has ``judged`` the files, ``reference`` set ``points``."""

    screeners: Mapping[str, Subject]
    material: Material
    settings: Settings
    progress: Progress
    judged: list[Judged]
    points: Points
    reference: str

    @property
    def screener(self) -> Subject:
        """The screener that is judged."""
        return next(iter(self.screeners.values()))

    def meter(self, suite: str, total: int) -> Advance:
        """What ``suite`` tells its progress to."""
        return meter(self.progress, suite, total)


def run(
    screeners: Mapping[str, Subject],
    material: Material,
    settings: Settings,
    progress: Progress = lambda suite, done, total: None,
) -> dict[str, Any]:
    """The whole evaluation as plain data; a suite that did not run has no key.

    Args:
        screeners: profile → screener without a cache. The first judges, the suite `throughput` times all of them.

    Returns:
        dict with profile, seed, versions, could_not_judge (rows without a verdict), left_out (suite → why ``all`` did
        not hold it), reference and thresholds where labelled files were judged, and what each suite adds.

    Raises:
        ConfigError: a bad setting. DataError: a suite asked for by name has nothing to work on.
    """
    check(material, settings)
    profile, screener = next(iter(screeners.items()))
    result: dict[str, Any] = {"profile": profile, "seed": settings.seed, "versions": screener.versions, "left_out": {}}
    judged: list[Judged] = []
    points, reference = Points({}), ""
    if material.corpora and any(settings.wants(suite) for suite in SUITES if suite != "pii"):
        tell = meter(progress, "files", sum(map(len, material.corpora)))
        judged = [judge(screener, one, tell) for one in material.corpora]
        reference = reference_name(material.corpora, settings.reference)
        points = detection.operating_points(judged, reference=reference, rates=settings.rates, recalls=settings.recalls)
        result |= detection.thresholds(judged, points, reference=reference)
    bench = Bench(screeners, material, settings, progress, judged, points, reference)
    for suite in SUITES:
        if settings.wants(suite):
            try:
                result |= _SUITES[suite](bench)
            except _NothingToDo as reason:
                if suite in settings.suites:
                    raise
                result["left_out"][suite] = reason.problem
    failed = sum(row["failed"] for suite in ("robustness", "overdefence", "fewshot") for row in result.get(suite, ()))
    result["could_not_judge"] = failed + sum(item.outcomes.failed for item in judged)
    return result


def check(material: Material, settings: Settings) -> None:
    """Refuse what could not be judged, before anything is.

    Raises:
        ConfigError: no file is named as the reference is, or it has no benign rows. DataError, SchemaError: a file of
            look-alikes cannot be read, or no file has attacks to set a recall by.
    """
    if settings.wants("overdefence"):
        for path in settings.overdefence:
            overdefence.read(path)
    if not material.corpora or not any(settings.wants(suite) for suite in SUITES if suite != "pii"):
        return
    name = reference_name(material.corpora, settings.reference)
    labels = {one.name: one.label for one in material.corpora}
    if name not in labels:
        raise ConfigError("reference", name, "one of " + ", ".join(labels))
    if not (labels[name] == 0).any():
        raise ConfigError("reference", name, "a file with benign rows (label 0)")
    attacks = ((one.label == 1) & (one.threat != "harmful_request") for one in material.corpora)
    if settings.recalls and not any(found.any() for found in attacks):
        raise DataError("evaluation", "no file holds attacks, so there is no recall to set a threshold by")


def reference_name(corpora: Sequence[Corpus], asked: str) -> str:
    """The file that sets the thresholds: the one ``asked`` for, else `REFERENCE`, else the first with harmless rows."""
    names = [one.name for one in corpora]
    first = next((one.name for one in corpora if (one.label == 0).any()), names[0])
    return asked or (REFERENCE if REFERENCE in names else first)


def meter(progress: Progress, suite: str, total: int) -> Advance:
    """Counts what it is told and passes the sum on to ``progress``."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress(suite, done, total)

    progress(suite, 0, total)
    return advance


class _NothingToDo(DataError):
    """The files hold nothing that a suite could work on."""


def _files(bench: Bench) -> dict[str, Any]:
    if not bench.judged:
        raise _NothingToDo("files", NO_LABELLED_FILE)
    return detection.suite(bench.judged, bench.points, seed=bench.settings.seed)


def _robustness(bench: Bench) -> dict[str, Any]:
    settings = bench.settings
    attacks = sample.attacks(bench.judged, settings.sample, settings.seed)
    if attacks is None:
        raise _NothingToDo("robustness", "no file holds attacks")
    clean, rows = detection.reference_rows(bench.judged, bench.reference)
    benign = sample.picked(clean, sample.drawn(rows, len(attacks), settings.seed))
    disguises = robustness.disguises(sample.picked(clean, rows), bench.points)
    tell = bench.meter("robustness", len(disguises) * (len(attacks) + len(benign)))
    found = robustness.suite(bench.screener, attacks, benign, bench.points, disguises, seed=settings.seed, advance=tell)
    return {"robustness": found}


def _overdefence(bench: Bench) -> dict[str, Any]:
    own = sum(len(texts) for _, _, texts in overdefence.own_sets())
    tell = bench.meter("overdefence", own)
    return {"overdefence": overdefence.suite(bench.screener, bench.judged, bench.settings.overdefence, tell)}


def _fewshot(bench: Bench) -> dict[str, Any]:
    found = fewshot.sources(bench.judged)
    if not found:
        raise _NothingToDo("fewshot", f"no source holds {fewshot.MIN_ATTACKS} attacks")
    tell = bench.meter("fewshot", len(found) * (len(fewshot.EXEMPLARS) - 1))
    rows = fewshot.suite(
        bench.screener,
        found,
        detection.reference_rows(bench.judged, bench.reference),
        bench.points,
        most=bench.settings.sample,
        seed=bench.settings.seed,
        advance=tell,
    )
    return {"fewshot": rows}


def _removal(bench: Bench) -> dict[str, Any]:
    if not bench.judged:
        raise _NothingToDo("removal", NO_LABELLED_FILE)
    settings = bench.settings
    tell = bench.meter("removal", len(bench.judged) * settings.sample)
    found = removal.suite(bench.screener, bench.judged, most=settings.sample, seed=settings.seed, advance=tell)
    return {"removal": found}


def _throughput(bench: Bench) -> dict[str, Any]:
    if not bench.judged:
        raise _NothingToDo("throughput", NO_LABELLED_FILE)
    corpora = bench.material.corpora
    tell = bench.meter("throughput", len(bench.screeners) * sum(map(len, corpora)))
    return {"throughput": throughput.suite(bench.screeners, corpora, seed=bench.settings.seed, advance=tell)}


def _pii(bench: Bench) -> dict[str, Any]:
    if not bench.material.pii:
        raise _NothingToDo("pii", "no file with the column spans_json was named")
    tell = bench.meter("pii", len(bench.material.pii))
    rows = []
    for path in bench.material.pii:
        rows += evaluate_pii(path)
        tell(1)
    return {"pii": rows}


_SUITES: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "files": _files,
    "robustness": _robustness,
    "overdefence": _overdefence,
    "fewshot": _fewshot,
    "removal": _removal,
    "throughput": _throughput,
    "pii": _pii,
}
