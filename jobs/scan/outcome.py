"""What follows from its session is put into each row of an output: its score, and the actions that it leads to."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from aimds.jobs.scan import rows, session_column
from aimds.jobs.scan.followed import Followed
from aimds.jobs.scan.work import Counts
from aimds.respond.policy import Policy
from aimds.schema import VERDICTS

Further = Callable[[pa.RecordBatch, pa.RecordBatch, int], pa.RecordBatch]


class Outcome:
    """Makes the batches of a file's parts, called with one after another, those of its output ``schema``.

    Args:
        followed: what sessions say of each row of the file.
        policy: says what follows; None: nothing does.
        counts: gains the figures of the output.
        further: what else is put into the verdicts: called with them, the part's batch and the number of its first row.
    """

    def __init__(
        self,
        followed: Followed,
        policy: Policy | None,
        schema: pa.Schema,
        counts: Counts,
        further: Further | None = None,
    ) -> None:
        self._followed, self._policy, self._schema, self._counts = followed, policy, schema, counts
        self._further, self._place = further, 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        first, self._place = self._place, self._place + batch.num_rows
        said = self._followed.of(slice(first, self._place))
        verdicts = said.put(acted(batch, said, self._policy))
        if self._further is not None:
            verdicts = self._further(verdicts, batch, first)
        rows.add_counts(self._counts, rows.counts(verdicts))
        more = [batch.column(name) for name in self._schema.names[len(VERDICTS) :]]
        return pa.RecordBatch.from_arrays([*verdicts.columns, *more], schema=self._schema)


def acted(batch: pa.RecordBatch, said: Followed, policy: Policy | None) -> pa.RecordBatch:
    """The VERDICTS in ``batch`` with the session scores that are ``said`` of them, and what ``policy`` says of these
    done."""
    verdicts = session_column.scored(batch.select(VERDICTS.names), said.scores)
    return verdicts if policy is None else policy.with_sessions(verdicts, said.signs)
