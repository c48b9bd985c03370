"""Policies on sessions: who broke which, at which step; and the column ``violations`` of the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.ltl.core import LimitError
from aimds.ltl.evaluate import Evaluator
from aimds.ltl.monitor import Monitor
from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import Sessions, sessions
from aimds.ltl.tables import Tables
from aimds.ltl.traces import Traces


@dataclass(frozen=True, slots=True)
class Violation:
    """Session number ``session`` breaks ``policy``. ``step`` is where it can no longer be mended; where ``open``, it is
    the last one: the session ended while something was still owed."""

    session: int
    policy: str
    step: int
    open: bool


class Judge:
    """``policies`` made ready for sessions."""

    def __init__(self, policies: TracePolicies) -> None:
        self.policies, self.names = policies, policies.names
        self._evaluator = Evaluator([policy.formula for policy in policies.policies], self.names)
        self._tables = [
            None if policy.automaton is None else Tables.of([policy.automaton], self.names)
            for policy in policies.policies
        ]

    def judge(self, found: Sessions, *, threads: int = 1) -> tuple[list[Violation], npt.NDArray[np.int64]]:
        """The violations by session and policy, and how many sessions each policy could not judge, int64 (P,): those
        without times, where it has an interval."""
        held = self._evaluator.run(found.traces, threads=threads)
        unjudged = np.zeros(len(self._tables), np.int64)
        out: list[Violation] = []
        for p, policy in enumerate(self.policies.policies):
            broken = np.flatnonzero(~held[:, p])
            if policy.timed:
                unjudged[p] = int((~found.clocked).sum())
                broken = broken[found.clocked[broken]]
            lengths = np.diff(found.traces.offsets)
            for session, step in zip(broken.tolist(), self._steps(p, found, broken), strict=True):
                last = int(lengths[session]) - 1
                out.append(Violation(session, policy.name, last if step < 0 else step, step < 0))
        return sorted(out, key=lambda one: one.session), unjudged

    def alone(self, mask: int) -> list[int]:
        """Places of the policies that a session of one step with the events ``mask`` breaks."""
        traces = Traces(self.names, np.array([mask], np.uint64), np.array([0, 1]), np.zeros(1, np.int64))
        places: list[int] = np.flatnonzero(~self._evaluator.run(traces)[0]).tolist()
        return places

    def _steps(self, p: int, found: Sessions, broken: npt.NDArray[np.int64]) -> list[int]:
        table, traces = self._tables[p], found.traces
        if table is None:
            return [self._by_monitor(p, found, session) for session in broken.tolist()]
        lengths = np.diff(traces.offsets)[broken]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        steps = np.repeat(traces.offsets[broken] - offsets[:-1], lengths) + np.arange(offsets[-1])
        times = None if traces.times is None else traces.times[steps]
        fails: list[int] = table.trail(traces.values[steps], times, offsets)[1][:, 0].tolist()
        return fails

    def _by_monitor(self, p: int, found: Sessions, session: int) -> int:
        # Where there is too much to remember the violation is known all the same, but not its step.
        monitor = Monitor(self.policies.policies[p].formula)
        with suppress(LimitError):
            for number, (time, events) in enumerate(found.traces.steps(session)):
                if monitor.step(events, time or 0) == "false":
                    return number
        return -1


def violations_column(found: Sessions, violations: Iterable[Violation], rows: int) -> pa.Array:
    """The column ``violations`` of ``rows`` verdicts: each violation stands in the row of its step."""
    names: list[list[str]] = [[] for _ in range(rows)]
    for one in violations:
        names[int(found.rows[found.traces.offsets[one.session] + one.step])].append(one.policy)
    return pa.array(names, pa.list_(pa.string()))


def with_violations(
    table: pa.Table, policies: TracePolicies, events: Sequence[list[str] | None] | pa.Array | None = None
) -> pa.Table:
    """``table`` of VERDICTS with its column ``violations`` filled."""
    judge = Judge(policies)
    listed = pa.array(events, pa.list_(pa.string())) if isinstance(events, Sequence) else events
    found = sessions(table, judge.names, listed)
    column = violations_column(found, judge.judge(found)[0], table.num_rows)
    place = table.schema.get_field_index("violations")
    return table.set_column(place, table.schema.field(place), column)
