"""The seam between what every job over files shares (reading, remembering, writing) and what it makes of the rows.

A worker holds one `Work`, made by a `Factory`; the process that plans and remembers knows the job by its `Kind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import pyarrow as pa

from aimds.jobs.scan.reading import Chunk
from aimds.jobs.scan.tasks import Job

Counts = dict[str, dict[str, int]]
"""What is counted along the way, by group and name; it is kept with each part and each finished output."""


class Work(Protocol):
    """What a worker does with rows. What it makes of a row depends on that row only."""

    config_hash: str
    """The same for two that make the same of the same rows."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time spent in each stage since the start, in seconds; empty where none is kept."""

    def rows(self, job: Job, chunk: Chunk, counts: Counts) -> Iterator[pa.RecordBatch]:
        """What becomes of ``chunk``: batches of the output's schema, in row order; ``counts`` gains their figures."""


@runtime_checkable
class WholeFile(Protocol):
    """A `Work` that has more to say of a row once all rows of its file are done."""

    def part_schema(self, job: Job) -> pa.Schema:
        """The schema of the batches of `Work.rows`: the output's, and columns for the assembly alone."""

    def over(
        self, job: Job, found: Sequence[Path], counts: Counts
    ) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
        """What makes the batches of the parts ``found``, one after another, those of the output; None for nothing.

        What ``counts`` gains meanwhile stands for the file in the place of what its units counted.
        """


@runtime_checkable
class AllFiles(Protocol):
    """A `WholeFile` that needs something of all files before the first is assembled; see `Kind.across`."""

    def gather(self, job: Job, found: Sequence[Path], stage: int) -> None:
        """Leave in the folder of ``job`` what `Kind.across` number ``stage`` needs of the parts ``found``; it stays
        there with the output."""


Across = Callable[[Sequence[Path], Sequence[bool]], None]
"""Given the folders of all files in their order, and which of them are still to be assembled."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells one kind of job from another before any worker has started.

    ``name`` and ``makes`` are its name and what its outputs hold, for messages; ``schema`` are the columns of every
    output, before those that are carried; ``add`` adds counts to others in place. Each ``across`` is called once every
    file is gathered for it, the last before the first is assembled; none: files have nothing to do with each other.
    ``remarks`` are what a person should know of an input with these columns (as `tasks.Job.used`).
    """

    name: str
    makes: str
    schema: pa.Schema
    add: Callable[[Counts, Counts], None]
    across: tuple[Across, ...] = ()
    remarks: Callable[[Mapping[str, str]], Sequence[str]] = lambda used: ()
