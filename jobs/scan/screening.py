"""The work of a scan: a verdict for every row, from a screener that may be slow, wrong or broken on some of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aimds.analyze.attractors import Attractors
from aimds.analyze.session_model import SessionModel
from aimds.analyze.turns import turns
from aimds.jobs.scan import across as together
from aimds.jobs.scan import followed, joined, outcome, rows, session_column, steps, traces
from aimds.jobs.scan.columns import FLAGS
from aimds.jobs.scan.convert import carried, to_requests, unnamed, valid_text
from aimds.jobs.scan.followed import Followed
from aimds.jobs.scan.manifest import digest
from aimds.jobs.scan.reading import Chunk
from aimds.jobs.scan.tasks import Factory, Job, Limits
from aimds.jobs.scan.work import Across, Counts, Kind
from aimds.ltl.sessions import given
from aimds.respond.policy import Policy
from aimds.respond.violations import noted
from aimds.schema import VERDICTS

ACTS: Final = 2
"""Goes up when other things follow from sessions: what was written before is then another scan's."""
KIND = Kind("scan", "verdicts", VERDICTS, rows.add_counts)


@dataclass(frozen=True, slots=True)
class Following:
    """How sessions are followed: judged by the `traces.load` ``policies``, if any; ``across_files``: their scores go on
    from file to file; ``attractor``: with that column; ``joined``: turns are judged together with those before them
    too."""

    policies: str | None = None
    across_files: bool = False
    attractor: bool = False
    joined: bool = False


def kind(following: Following, screener: Factory) -> Kind:
    """A scan that follows sessions so, with what ``screener`` makes.

    Raises:
        AimdsError: as `traces.load`.
    """
    across: list[Across] = []
    more = following.across_files or following.attractor or following.joined
    remarks = _without_sessions if more else KIND.remarks
    if following.across_files:
        types = Attractors.load().codes if following.attractor else None
        across.append(
            functools.partial(together.judge, SessionModel.load(), types, screener if following.joined else None)
        )
    if following.policies is not None:
        loaded = traces.load(following.policies)
        across.append(functools.partial(traces.judge, loaded))
        remarks = functools.partial(traces.remarks, loaded)
    return replace(KIND, across=tuple(across), remarks=remarks)


def _without_sessions(used: Mapping[str, str]) -> Sequence[str]:
    return [] if session_column.wanted(used) else [f"no session column ({FLAGS['session_id']}): no session to follow"]


def factory(screener: Factory, following: Following) -> Factory:
    """What makes a `Screening` with the screener that ``screener`` makes."""
    arguments = {"target": screener.target, "arguments": screener.arguments, "following": asdict(following)}
    return Factory(f"{__name__}:make", arguments)


def make(target: str, arguments: dict[str, Any], following: dict[str, Any]) -> Screening:
    """The work with the screener that ``target`` called with ``arguments`` is.

    Raises:
        ConfigError: there is no such module or callable.
        AimdsError: as `traces.load`.
    """
    return Screening(Factory(target, arguments).make("screener"), Following(**following))


class Screening:
    """Verdicts of ``screener``, one a row, and what ``following`` sessions says of them.

    Raises:
        AimdsError: as `traces.load`.
    """

    def __init__(self, screener: rows.Screener, following: Following) -> None:
        self._screener, self._across, self._joining = screener, following.across_files, following.joined
        self._policies = None if following.policies is None else traces.load(following.policies)
        self._policy: Policy | None = getattr(screener, "policy", None)
        self._attractors = Attractors.load() if following.attractor else None
        version = None if self._policies is None else self._policies.version
        parts: list[Any] = [str(screener.config_hash), self._model.version, ACTS, version]
        if following.across_files or following.attractor or following.joined:
            # Without any the hash is that of earlier scans, which had none of them.
            parts += [following.across_files, self._attractors and self._attractors.version]
        if following.joined:
            parts.append("joined")
        self.config_hash = digest(parts)[:16]

    @functools.cached_property
    def _model(self) -> SessionModel:
        return SessionModel.load()

    def part_schema(self, job: Job) -> pa.Schema:
        """The output's, and what the assembly needs to follow sessions, where there are any."""
        schema = job.output_schema
        if session_column.wanted(job.used):
            schema = schema.append(session_column.MARKS)
            schema = schema.append(joined.TAIL) if self._joining else schema
        return schema if self._policies is None else schema.append(steps.EVENTS)

    def gather(self, job: Job, found: Sequence[Path], stage: int) -> None:
        """The file's rows as turns of sessions that run on, then as steps of sessions."""
        folder = job.folder_path
        if self._across and not stage:
            mine = found if session_column.wanted(job.used) else ()
            together.write(folder, mine, job.source.label, joining=self._joining)
        elif self._policies is not None:
            if self._across:
                said = followed.read(folder, session_column.rows(found))
            else:
                said = self._follow(job, found)
                followed.clear(folder)
                followed.add(folder, np.arange(len(said.scores)), said)
            steps.write(folder, found, said, self._policy, self._policies.names)

    def over(
        self, job: Job, found: Sequence[Path], counts: Counts
    ) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
        """Fills the columns ``session_score``, ``attractor`` and ``violations``, and does what the policy says."""
        if self._policies is not None:
            said = followed.read(job.folder_path, session_column.rows(found))
            findings = traces.Findings(self._policies, job.folder_path)

            def further(verdicts: pa.RecordBatch, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
                events = batch.column(steps.EVENTS.name).to_numpy(zero_copy_only=False)
                return findings.put(verdicts, events, first, self._policy, counts)

            return outcome.Outcome(said, self._policy, job.output_schema, counts, further)
        if not session_column.wanted(job.used):
            return None
        count = session_column.rows(found)
        said = followed.read(job.folder_path, count) if self._across else self._follow(job, found)
        return outcome.Outcome(said, self._policy, job.output_schema, counts)

    def _follow(self, job: Job, found: Sequence[Path]) -> Followed:
        if not session_column.wanted(job.used):
            return Followed.nothing(session_column.rows(found))
        types = None if self._attractors is None else self._attractors.codes
        joins = joined.Joined(lambda: self._screener, job.folder_path / joined.NAME) if self._joining else None
        return session_column.follow(found, self._model, types, joins)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time spent in each stage of the screener; of a screener that keeps none, nothing."""
        return getattr(self._screener, "seconds", {})

    def rows(self, job: Job, chunk: Chunk, counts: Counts) -> Iterator[pa.RecordBatch]:
        """Verdicts with the text and the carried columns, where they are asked for."""
        schema, sessions = self.part_schema(job), session_column.wanted(job.used)
        requests, notes = to_requests(chunk.batch, job.used, chunk.numbers)
        nameless = unnamed(chunk.batch, job.used)
        problems = too_long(requests.column("text"), job.limits) | chunk.problems
        start = 0
        for verdicts in rows.screen_except(self._screener, requests, problems):
            stop = start + verdicts.num_rows
            here = {row - start: note for row, note in notes.items() if start <= row < stop}
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
                columns.append(session_column.column(texts, verdicts, nameless[start:stop]))
                if self._joining:
                    columns.append(joined.column(texts, turns(verdicts).kinds))
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
