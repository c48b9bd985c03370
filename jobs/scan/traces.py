"""Policies over the sessions of a whole scan: who broke which, across files, and the column ``violations``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds.jobs.scan import durable, session_column, steps
from aimds.jobs.scan.columns import FLAGS
from aimds.ltl.judge import Judge
from aimds.ltl.policies import TracePolicies
from aimds.ltl.sessions import EVENTS, Masks, grouped, masks, numbers
from aimds.respond.policy import Policy
from aimds.respond.violations import NO_TIMES, with_broken

Ints = npt.NDArray[np.int64]
NAME: Final = "violations.arrow"
BROKEN, UNJUDGED = 0, 1
FOUND: Final = pa.schema([pa.field("row", pa.int64()), pa.field("policy", pa.int64()), pa.field("kind", pa.int64())])


def load(path: str) -> TracePolicies:
    """The policies in the file ``path``, or those shipped where it is ``shipped``.

    Raises:
        AimdsError: as `TracePolicies.load`.
    """
    return TracePolicies.load(None if path == "shipped" else Path(path))


def remarks(policies: TracePolicies, used: Mapping[str, str]) -> list[str]:
    """What the columns of a log (as `tasks.Job.used`) keep ``policies`` from judging."""
    out = []
    timed = [policy.name for policy in policies.policies if policy.timed]
    foreign = [name for name in policies.names if name not in EVENTS]
    if "session_id" not in used:
        out.append(f"no session column ({FLAGS['session_id']}): for policies each row is a session of its own")
    elif timed and "ts" not in used:
        out.append(f"no time column ({FLAGS['ts']}): {', '.join(timed)} cannot judge sessions of several rows")
    if foreign and "events" not in used:
        out.append(f"no column of events ({FLAGS['events']}): {', '.join(foreign)} never happened there")
    return out


def judge(policies: TracePolicies, folders: Sequence[Path], wanted: Sequence[bool]) -> None:
    """Judge all sessions in the steps that lie in ``folders``, one for each file in their order, and leave in those
    that are ``wanted`` what was found in the file's rows.

    Memory: the steps of a million rows, or of the longest session, and a few bytes for each violation.

    Raises:
        OutputError: the operating system refuses a read or a write.
    """
    ready = Judge(policies)
    files = [steps.read(folder) for folder in folders]
    found: list[list[Ints]] = [[] for _ in files]
    passes = session_column.passes(sum(file.rows for file in files))
    for number in range(passes):
        tables = [file.of_pass(number, passes) for file in files]
        for place, result in enumerate(_judged(ready, tables)):
            found[place].append(result)
    for folder, keep, results in zip(folders, wanted, found, strict=True):
        if keep:
            _leave(folder, np.concatenate([*results, np.zeros((0, 3), np.int64)]))


def _judged(ready: Judge, tables: Sequence[pa.Table]) -> list[Ints]:
    # Row, policy and kind of each finding by file, int64 (V, 3).
    sizes = [table.num_rows for table in tables]
    out = [np.zeros((0, 3), np.int64) for _ in tables]
    if not sum(sizes):
        return out
    table = pa.concat_tables(tables).combine_chunks()
    file, row = np.repeat(np.arange(len(tables)), sizes), table.column("row").to_numpy()
    order = np.lexsort((row, file))
    table, file, row = table.take(pa.array(order)).combine_chunks(), file[order], row[order]
    group = session_column.groups(*(table.column(name).to_numpy() for name in ("high", "low")))
    turn, time = numbers(table.column("turn")), numbers(table.column("ts"))
    made = grouped(ready.names, table.column("events").to_numpy(), group, turn, time)
    places = {policy.name: place for place, policy in enumerate(ready.policies.policies)}
    begins = made.traces.offsets[:-1]
    listed = [(int(begins[one.session]) + one.step, places[one.policy], BROKEN) for one in ready.judge(made)[0]]
    timed = [place for place, policy in enumerate(ready.policies.policies) if policy.timed]
    listed += [(int(begins[one]), place, UNJUDGED) for one in np.flatnonzero(~made.clocked).tolist() for place in timed]
    if not listed:
        return out
    found = np.array(listed, np.int64)
    at = made.rows[found[:, 0]]
    found[:, 0] = row[at]
    return [found[file[at] == place] for place in range(len(tables))]


def _leave(folder: Path, found: Ints) -> None:
    ordered = found[np.lexsort((found[:, 2], found[:, 1], found[:, 0]))]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in ordered.T.copy()], schema=FOUND)
    with durable.writing(folder / NAME) as file, pa.ipc.new_file(file, FOUND) as writer:
        writer.write_batch(batch)


class Findings:
    """What `judge` left in ``folder`` for the rows of a file; and rows without a session, judged by themselves."""

    def __init__(self, policies: TracePolicies, folder: Path) -> None:
        self._policies, self._names = policies, [policy.name for policy in policies.policies]
        self._judge, self._alone = Judge(policies), dict[int, list[int]]()
        with durable.guarded(folder / NAME, "read"), pa.OSFile(str(folder / NAME)) as file:
            table = pa.ipc.open_file(file).read_all()
        self._row, self._policy, self._kind = (table.column(name).to_numpy() for name in FOUND.names)

    def put(
        self, verdicts: pa.RecordBatch, events: Masks, first: int, policy: Policy | None, counts: dict[str, Any]
    ) -> pa.RecordBatch:
        """``verdicts`` (VERDICTS), whose first row is ``first`` of the file, with ``violations`` filled, and what
        ``policy`` says of these done.

        ``events`` uint64 (B,): those that the requests name. A row at which a session turned out not to be judged by
        some policies says so in its status. ``counts`` gains rows by policy: ``violations``, ``unfollowed``.
        """
        begin, end = np.searchsorted(self._row, [first, first + verdicts.num_rows])
        row, which, kind = self._row[begin:end] - first, self._policy[begin:end], self._kind[begin:end]
        broken = list(zip(row[kind == BROKEN].tolist(), which[kind == BROKEN].tolist(), strict=True))
        broken += self._by_themselves(verdicts, events)
        missing = list(zip(row[kind == UNJUDGED].tolist(), which[kind == UNJUDGED].tolist(), strict=True))
        for name, listed in (("violations", broken), ("unfollowed", missing)):
            of = counts.setdefault(name, dict.fromkeys(self._names, 0))
            for _, place in listed:
                of[self._names[place]] += 1
        return with_broken(verdicts, broken, {NO_TIMES: missing}, self._policies, policy)

    def _by_themselves(self, verdicts: pa.RecordBatch, events: Masks) -> list[tuple[int, int]]:
        alone = np.flatnonzero(verdicts.column("session_id").is_null().to_numpy(zero_copy_only=False))
        if not len(alone):
            return []
        found = (masks(verdicts, self._judge.names) | events)[alone]
        return [
            (row, place) for row, mask in zip(alone.tolist(), found.tolist(), strict=True) for place in self._of(mask)
        ]

    def _of(self, mask: int) -> list[int]:
        if mask not in self._alone:
            self._alone[mask] = self._judge.alone(mask)
        return self._alone[mask]
