"""Before anything is screened: open every input, choose its columns, count its units, or say why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa

from aimds.errors import DataError
from aimds.jobs.scan.columns import FLAGS, Columns, extra_fields, resolve
from aimds.jobs.scan.convert import to_requests
from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.reading import Group, ReadError, Slice, Table, open_table, reason
from aimds.jobs.scan.settings import ScanConfig
from aimds.schema import VERDICTS

_SAMPLE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Planned:
    """An input that can be opened.

    ``firsts`` are the groups' first rows in the file, ``schema`` is the output's, ``notes`` say which columns were
    guessed.
    """

    source: Source
    identity: dict[str, Any]
    groups: tuple[Group, ...]
    firsts: tuple[int, ...]
    used: dict[str, str]
    schema: pa.Schema
    notes: tuple[str, ...]

    def units(self, group: int, unit_rows: int) -> int:
        """Units of row group ``group``."""
        return -(-self.groups[group].rows // unit_rows)

    def where(self, group: int, slice_: int, unit_rows: int) -> Slice:
        """The rows of slice ``slice_`` of row group ``group``."""
        here = self.groups[group]
        start = slice_ * unit_rows
        at = here.offsets[slice_] if here.offsets else 0
        return Slice(group, start, min(start + unit_rows, here.rows), self.firsts[group], at, here.alone)


def plan(source: Source, config: ScanConfig, own: pa.Schema = VERDICTS) -> Planned:
    """Open ``source`` and decide how to read it; ``own`` are the columns of the output before what is carried.

    Raises:
        ReadError: it cannot be opened or is not what its name says; other inputs may be fine.
        SchemaError, ConfigError: a column asked for is not there or does not fit; the whole job should stop.
    """
    try:
        identity = source.identity()
        table = open_table(source)
    except DataError as error:
        raise ReadError(source.label, error.problem) from error
    except (OSError, ValueError) as error:
        raise ReadError(source.label, f"cannot be opened: {reason(error)}") from error
    if identity["size"] == 0:
        raise ReadError(source.label, "is empty")
    columns, notes = resolve(table.schema, config.columns, source.label)
    groups = tuple(table.layout(config.unit_rows))
    if config.columns.channel is None and columns.channel:
        odd = _odd_channel(table, groups, columns)
        if odd:
            notes = [note for note in notes if not note.startswith(FLAGS["channel"])]
            notes.append(f"column {columns.channel!r} is not used as channel ({odd}); {FLAGS['channel']} would use it")
            columns = replace(columns, channel=None)
    schema = pa.schema([*own, *extra_fields(table.schema, config.carry, config.with_text, source.label, own)])
    firsts = tuple(accumulate((group.rows for group in groups), initial=0))[:-1]
    return Planned(source, identity, groups, firsts, columns.used(), schema, tuple(notes))


def _odd_channel(table: Table, groups: tuple[Group, ...], columns: Columns) -> str | None:
    """Why a column that is only called like a channel does not look like one; None when it does."""
    group = next((index for index, group in enumerate(groups) if group.rows > 0), None)
    if group is None or columns.channel is None or columns.text is None:
        return None
    at = groups[group].offsets[0] if groups[group].offsets else 0
    used = {"text": columns.text, "channel": columns.channel}
    where = Slice(group, 0, min(_SAMPLE_ROWS, groups[group].rows), 0, at, groups[group].alone)
    try:
        for chunk in table.chunks(where, list(used.values())):
            notes = to_requests(chunk.batch, used, chunk.numbers)[1]
            if notes:
                return next(iter(notes.values())).partition(":")[0]
    except ReadError:
        return None
    return None
