"""`aimds campaigns`: families of attacks that are worded alike, across tenants and time, each with a drafted signature.

    verdicts with texts, or logs screened first → candidates on disk, their different texts in memory → families
    (`aimds.analyze.campaigns`) → rows with family_id, figures, drafts, page

What comes out follows from the rows alone: not from their order, the files they lie in or the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from aimds import __version__
from aimds.analyze import campaigns as analysis
from aimds.analyze.likeness import Wording
from aimds.detect.pii import Pii
from aimds.detect.texts import Texts
from aimds.jobs.campaigns import drafts, rows
from aimds.jobs.campaigns.describing import about, described
from aimds.jobs.campaigns.distinct import MOST, Chosen, Distinct
from aimds.jobs.campaigns.findings import Findings, Timeline
from aimds.jobs.campaigns.focus import said, stretch, whole_words
from aimds.jobs.campaigns.history import History, Part, Wanted, evidence
from aimds.jobs.campaigns.page import render
from aimds.jobs.campaigns.tally import Tally, spread_of, tally
from aimds.jobs.report import timeline, write
from aimds.jobs.scan import Factory, Progress, ScanConfig, Silent
from aimds.jobs.scan.durable import guarded, make_folder, writing

__all__ = ["Campaigns", "Findings", "Options", "Result", "Wanted"]

OUTPUT = "campaigns.parquet"
ORDINARY, ORDINARY_BYTES = 2_000, 2_000
"""Allowed texts that drafts are tried on, and what is kept of each."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to search.

    ``wanted``: which rows are candidates · ``settings``: what is a family · ``least_tenants``: tenants from which a
    family is reported · ``top``: families described; all get an id · ``user``: column that names a user ·
    ``most_texts``: different texts compared · ``signatures``: folder for the drafts, None to only show them ·
    ``page``: where the page goes, headed ``title`` · ``mask``: personal data and secrets are left out of what is shown
    · ``threads``.
    """

    wanted: Wanted = field(default_factory=Wanted)
    settings: analysis.Settings = field(default_factory=analysis.Settings)
    least_tenants: int = 1
    top: int = 50
    user: str | None = None
    most_texts: int = MOST
    signatures: Path | None = None
    page: Path | None = None
    title: str = "Campaigns"
    mask: bool = True
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """What was found; ``output``: the rows; ``written``: files of drafts."""

    findings: Findings
    output: Path
    written: list[Path]

    def as_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        return self.findings.as_dict() | {
            "output": str(self.output),
            "signatures": [str(path) for path in self.written],
        }


@dataclass(slots=True)
class _Read:
    """What the history held."""

    texts: Distinct
    ordinary: Distinct
    files: set[str]
    rows: int = 0
    candidates: int = 0


class Campaigns:
    """One search over the files of ``config``; ``factory`` makes the screener of logs that are no verdicts yet."""

    def __init__(self, config: ScanConfig, factory: Factory, options: Options | None = None) -> None:
        self._config, self._factory, self._options = config, factory, options or Options()

    def run(self, progress: Progress | None = None) -> Result:
        """Search, and write rows, drafts and page.

        Raises:
            DataError: no input, or an output cannot be written.
            SchemaError: verdicts without texts, or a column that does not fit.
            ConfigError: a setting cannot be used.
        """
        progress, options, folder = progress or Silent(), self._options, self._config.output
        history = History(self._config, options.wanted, user=options.user)
        make_folder(folder)
        history.screen(self._factory, progress)
        output = folder / OUTPUT
        # It has no name, so nothing of it outlives this process, however that ends.
        with guarded(folder, "write into"), TemporaryFile(dir=folder) as kept:
            read = _gathered(history, kept, options, progress)
            chosen = read.texts.chosen()
            families, wording = analysis.find(
                chosen.values,
                chosen.offsets,
                chosen.rows,
                options.settings,
                threads=options.threads,
                progress=_Steps(progress),
            )
            names = _names(chosen, families)
            _write_rows(output, kept, names, families, chosen)
        findings = self._findings(history, read, chosen, families, wording, names, output, progress)
        written = []
        if options.signatures is not None:
            for family in findings.families:
                if family.draft is not None:
                    content = drafts.as_toml(family.draft, about(family))
                    written.append(drafts.write(options.signatures, family.id, content))
        if options.page is not None:
            write(options.page, render(findings, title=options.title, engine_version=__version__))
        return Result(findings, output, written)

    def _findings(
        self,
        history: History,
        read: _Read,
        chosen: Chosen,
        families: analysis.Families,
        wording: Wording,
        names: list[str],
        output: Path,
        progress: Progress,
    ) -> Findings:
        options = self._options
        reach = spread_of(output)
        met = [
            k
            for k, name in enumerate(names)
            if reach.get(name, 0) >= options.least_tenants or options.least_tenants < 2
        ]
        shown = met[: options.top]
        counted = tally(output, [names[k] for k in shown])
        pii = Pii.load() if options.mask else None
        progress.note(f"describing families and drafting signatures: {len(shown):,}")
        told = [described(names[k], k, counted.families[names[k]], chosen, families, pii) for k in shown]
        drafted = drafts.draft([asked for _, asked in told], read.ordinary.chosen().written)
        medoids = families.medoid[shown]
        alike = wording.alike(medoids, medoids) if len(medoids) else np.zeros((0, 0), np.float32)
        wanted = options.wanted
        by = f"action {wanted.action} or worse" if wanted.p_value is None else f"p-value at most {wanted.p_value:g}"
        return Findings(
            files=len(read.files),
            rows=read.rows,
            candidates=read.candidates,
            texts=len(chosen.keys),
            left_out=chosen.left_out,
            in_families=int(families.rows[met].sum()),
            n_families=len(met),
            tenants=max((one.tenants for one in counted.families.values()), default=0),
            min_rows=options.settings.min_rows,
            least_tenants=options.least_tenants,
            cut=options.settings.cut,
            chosen_by=by,
            families=[replace(one, draft=draft) for (one, _), draft in zip(told, drafted, strict=True)],
            likeness=[[round(float(value), 4) for value in row] for row in alike],
            timeline=_timeline(counted),
            skipped=history.skipped,
            notes=history.notes,
        )


class _Steps:
    """Tells of the steps of the analysis as a job's progress is told."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._step = progress, ""

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step:
            self._step = step
            self._progress.note(f"{step}: {total:,}")


def _gathered(history: History, kept: IO[bytes], options: Options, progress: Progress) -> _Read:
    read = _Read(Distinct(options.most_texts), Distinct(ORDINARY), set())
    with pq.ParquetWriter(kept, rows.ROWS, compression="zstd") as writer:
        for part in history.parts(progress):
            read.files.add(part.file)
            read.rows += part.requests.num_rows
            at = np.flatnonzero(part.candidate)
            read.candidates += len(at)
            texts = Texts.from_arrow(part.requests.column("text"))
            for row in np.flatnonzero(part.ordinary).tolist():
                written = texts.raw(row)[:ORDINARY_BYTES]
                read.ordinary.add(written, written)
            if len(at):
                writer.write_batch(rows.taken(part, at, _keys(part, at, texts, read.texts)))
    return read


def _keys(part: Part, at: npt.NDArray[np.int64], texts: Texts, into: Distinct) -> list[int]:
    pieces, written = [], []
    for row, items in zip(at.tolist(), evidence(part, at), strict=True):
        raw = texts.raw(row)
        low, high = stretch(raw, items)
        pieces.append(raw[low:high])
        low, high = whole_words(raw, low, high)
        written.append(raw[low:high])
    return [into.add(one, words) for one, words in zip(said(pieces), written, strict=True)]


def _names(chosen: Chosen, families: analysis.Families) -> list[str]:
    """An id for each family: the hash of what its medoid says."""
    return [f"family-{int(chosen.keys[medoid]) & (1 << 64) - 1:016x}" for medoid in families.medoid]


def _write_rows(output: Path, kept: IO[bytes], names: list[str], families: analysis.Families, chosen: Chosen) -> None:
    of_text = pa.array(families.family, mask=families.family < 0)
    name_of = pa.array(names, pa.string()).take(of_text)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.named(kept, name_of, families.closeness, chosen.places)

    with (
        writing(output) as file,
        pq.ParquetWriter(file, rows.FAMILIES, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in batches():
            writer.write_batch(batch)


def _timeline(counted: Tally) -> Timeline | None:
    range_ = counted.range
    if range_ is None:
        return None
    bins = range(range_.bins)
    return Timeline(
        starts=[range_.start(i) for i in bins],
        labels=[timeline.label(range_, i) for i in bins],
        ticks=timeline.ticks(range_),
        width=timeline.width_name(range_),
        candidates=counted.candidates,
    )
