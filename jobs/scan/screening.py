"""The work of a scan: a verdict for every row, from a screener that may be slow, wrong or broken on some of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.analyze.session_model import SessionModel
from aimds.jobs.scan import outcome, rows, session_column, steps, traces
from aimds.jobs.scan.convert import carried, to_requests, valid_text
from aimds.jobs.scan.manifest import digest
from aimds.jobs.scan.reading import Chunk
from aimds.jobs.scan.tasks import Factory, Job, Limits
from aimds.jobs.scan.work import Counts, Kind
from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import given
from aimds.respond.policy import Policy
from aimds.respond.violations import noted
from aimds.schema import VERDICTS

ACTS: Final = 1
"""Goes up when other things follow from sessions: what was written before is then another scan's."""
KIND = Kind("scan", "verdicts", VERDICTS, rows.add_counts)


def kind(policies: str | None) -> Kind:
    """A scan that judges sessions by the `traces.load` ``policies``, where there are any.

    Raises:
        AimdsError: as `traces.load`.
    """
    if policies is None:
        return KIND
    loaded = traces.load(policies)
    judge, remarks = functools.partial(traces.judge, loaded), functools.partial(traces.remarks, loaded)
    return replace(KIND, across=judge, remarks=remarks)


def factory(screener: Factory, policies: str | None = None) -> Factory:
    """What makes a `Screening` with the screener that ``screener`` makes."""
    arguments = {"target": screener.target, "arguments": screener.arguments, "policies": policies}
    return Factory(f"{__name__}:make", arguments)


def make(target: str, arguments: dict[str, Any], policies: str | None) -> Screening:
    """The work with the screener that ``target`` called with ``arguments`` is.

    Raises:
        ConfigError: there is no such module or callable.
        AimdsError: as `traces.load`.
    """
    screener = Factory(target, arguments).make("screener")
    return Screening(screener, None if policies is None else traces.load(policies))


class Screening:
    """Verdicts of ``screener``, one a row; with ``policies``, of sessions that break them too."""

    def __init__(self, screener: rows.Screener, policies: TracePolicies | None = None) -> None:
        self._screener, self._policies = screener, policies
        self._policy: Policy | None = getattr(screener, "policy", None)
        version = None if policies is None else policies.version
        self.config_hash = digest([str(screener.config_hash), self._model.version, ACTS, version])[:16]

    @functools.cached_property
    def _model(self) -> SessionModel:
        return SessionModel.load()

    def part_schema(self, job: Job) -> pa.Schema:
        """The output's, and what the assembly needs to follow sessions, where there are any."""
        schema = job.output_schema
        if session_column.wanted(job.used):
            schema = schema.append(session_column.MARKS)
        return schema if self._policies is None else schema.append(steps.EVENTS)

    def gather(self, job: Job, found: Sequence[Path]) -> None:
        """The file's rows as steps of sessions."""
        if self._policies is not None:
            steps.write(job.folder_path, found, self._scores(job, found), self._policy, self._policies.names)

    def over(
        self, job: Job, found: Sequence[Path], counts: Counts
    ) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
        """Fills the columns ``session_score`` and ``violations``, and does what the policy says of them."""
        if self._policies is not None:
            scores = steps.Steps(job.folder_path).scores(session_column.rows(found))
            findings = traces.Findings(self._policies, job.folder_path)

            def further(verdicts: pa.RecordBatch, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
                events = batch.column(steps.EVENTS.name).to_numpy(zero_copy_only=False)
                return findings.put(verdicts, events, first, self._policy, counts)

            return outcome.Outcome(scores, self._policy, job.output_schema, counts, further)
        if not session_column.wanted(job.used):
            return None
        return outcome.Outcome(self._scores(job, found), self._policy, job.output_schema, counts)

    def _scores(self, job: Job, found: Sequence[Path]) -> npt.NDArray[np.float32]:
        if session_column.wanted(job.used):
            return session_column.scores(found, self._model)
        return np.full(session_column.rows(found), np.nan, np.float32)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time spent in each stage of the screener; of a screener that keeps none, nothing."""
        return getattr(self._screener, "seconds", {})

    def rows(self, job: Job, chunk: Chunk, counts: Counts) -> Iterator[pa.RecordBatch]:
        """Verdicts with the text and the carried columns, where they are asked for."""
        schema, sessions = self.part_schema(job), session_column.wanted(job.used)
        requests, notes = to_requests(chunk.batch, job.used, chunk.numbers)
        problems = too_long(requests.column("text"), job.limits) | chunk.problems
        start = 0
        for verdicts in rows.screen_except(self._screener, requests, problems):
            stop = start + verdicts.num_rows
            here = {row - start: note for row, note in notes.items() if start <= row < stop and row not in problems}
            verdicts = noted(verdicts, here)
            rows.add_counts(counts, rows.counts(verdicts))
            columns = verdicts.columns
            texts = requests.column("text").slice(start, verdicts.num_rows)
            if job.with_text:
                columns.append(valid_text(texts))
            for name in job.carry:
                columns.append(
                    carried(chunk.batch.column(name).slice(start, verdicts.num_rows), schema.field(name).type)
                )
            if sessions:
                columns.append(session_column.column(texts, verdicts))
            if self._policies is not None:
                events = requests.column("events").slice(start, verdicts.num_rows)
                columns.append(pa.array(given(events, self._policies.names)))
            yield pa.RecordBatch.from_arrays(columns, schema=schema)
            start = stop


def too_long(texts: pa.Array, limits: Limits) -> dict[int, str]:
    """Rows of ``texts`` (large_string) that are longer than ``limits`` allows, and what to say of them."""
    lengths = pc.binary_length(texts)
    if (pc.max(lengths).as_py() or 0) <= limits.max_text_bytes:
        return {}
    found = pc.indices_nonzero(pc.greater(lengths, limits.max_text_bytes).fill_null(False)).to_pylist()
    return {
        row: f"text of {lengths[row].as_py()} bytes; more than {limits.max_text_bytes} are not screened"
        for row in found
    }
