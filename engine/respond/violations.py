"""Broken policies put into verdicts, with what follows from them: the one way for files and for live traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from aimds.respond.policy import Policy
from aimds.schema import STATUSES, UNFOLLOWED, VERDICTS, enum

if TYPE_CHECKING:
    from aimds.ltl.policies import TracePolicies

NO_TIMES: Final = "no times in this session"
TOO_MUCH: Final = "too much to remember of this session"
FORGOTTEN: Final = "too many sessions with threats at once, this one was forgotten"
Places = Sequence[tuple[int, int]]
"""Rows of a batch, and places of policies."""


def with_broken(
    verdicts: pa.RecordBatch,
    broken: Places,
    unjudged: Mapping[str, Places],
    policies: TracePolicies,
    policy: Policy | None,
) -> pa.RecordBatch:
    """``verdicts`` (VERDICTS) in which those of ``policies`` that are ``broken`` at a row stand in ``violations``, and
    what ``policy`` says of them is done.

    ``unjudged``: by reason, rows at which it turned out that a session cannot be judged; their status says so.
    """
    names = [one.name for one in policies.policies]
    verdicts = noted(verdicts, _remarks(unjudged, names))
    if not broken:
        return verdicts
    index = verdicts.schema.get_field_index("violations")
    listed = [list(before or ()) for before in verdicts.column(index).to_pylist()]
    for row, place in sorted(broken):
        listed[row].append(names[place])
    verdicts = verdicts.set_column(index, VERDICTS.field(index), pa.array(listed, VERDICTS.field(index).type))
    return verdicts if policy is None else policy.with_sessions(verdicts, unnamed=policies.unnamed)


def _remarks(unjudged: Mapping[str, Places], names: Sequence[str]) -> dict[int, str]:
    out: dict[int, str] = {}
    for why, missing in unjudged.items():
        by_row: dict[int, list[str]] = {}
        for row, place in sorted(missing):
            by_row.setdefault(row, []).append(names[place])
        for row, listed in by_row.items():
            said = f"{UNFOLLOWED}{', '.join(listed)}: {why}"
            out[row] = f"{out[row]}; {said}" if row in out else said
    return out


def noted(verdicts: pa.RecordBatch, notes: Mapping[int, str]) -> pa.RecordBatch:
    """``verdicts`` in which rows in ``notes`` say so: ``ok`` becomes ``partial``, and the note joins the error."""
    if not notes:
        return verdicts
    status = verdicts.column("status").cast(pa.string()).to_pylist()
    errors = verdicts.column("error").to_pylist()
    for row, note in notes.items():
        status[row] = "partial" if status[row] == "ok" else status[row]
        errors[row] = "; ".join(text for text in (errors[row], note) if text)
    codes = [STATUSES.index(name) for name in status]
    index = verdicts.schema.get_field_index
    return verdicts.set_column(index("status"), VERDICTS.field("status"), enum(STATUSES, codes)).set_column(
        index("error"), VERDICTS.field("error"), pa.array(errors, pa.string())
    )
