"""The replay: a candidate policy over recorded verdicts, and what it would change, without screening anything again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa

from aimds.errors import SchemaError
from aimds.jobs.replay import source
from aimds.jobs.replay.findings import BLOCKED, OTHERWISE, RELEASED, Change, Findings
from aimds.jobs.replay.tally import Tally
from aimds.jobs.report.samples import Sample, attach_texts
from aimds.jobs.report.verdict_files import VerdictFile
from aimds.jobs.scan.progress import Progress, Silent
from aimds.respond import recorded
from aimds.respond.policy import Policy
from aimds.respond.scored import REASONS
from aimds.schema import ACTIONS, SESSION_ACTIONS

SAMPLES = 12


def replay(
    paths: Sequence[str | Path],
    policy: Policy,
    *,
    today: date,
    samples: int = SAMPLES,
    requests: Sequence[str | Path] = (),
    mask: bool = True,
    progress: Progress | None = None,
) -> Findings:
    """What ``policy`` would change of the verdicts that ``paths`` (files, folders, globs) name.

    Args:
        today: decides which entries of the allowlist are in force.
        samples: rows of each kind of change to show.
        requests: the original logs, for texts where the verdicts carry none.
        mask: leave personal data and secrets out of the excerpts.
        progress: told how it goes.

    Raises:
        DataError: nothing to read, or a damaged file.
        SchemaError: a file that does not hold whole verdicts, or a name in it that is not known here.
    """
    files = source.open_verdicts(paths)
    told: Progress = progress or Silent()
    tally = Tally(samples)
    hashes = any(entry.sha256 is not None for entry in policy.allowlist.in_force(today))
    columns = (*recorded.columns(policy), *(["text"] if hashes else []))
    told.begin(sum(file.rows for file in files), 0)
    try:
        for index, file in enumerate(files):
            row = 0
            for batch in source.stream(file, columns):
                _add(tally, index, row, file, batch, policy, today)
                row += batch.num_rows
                told.advance(batch.num_rows)
    finally:
        told.end()
    chosen = [(kind, one) for kind in (BLOCKED, RELEASED, OTHERWISE) for one in tally.kept(kind)]
    rows = {
        (index, row): found
        for index, file in enumerate(files)
        for row, found in source.fetch(file, {one.row for _, one in chosen if one.file == index})
    }
    changes = [
        Change(
            kind,
            _sample(one.file, one.row, dict(rows[one.file, one.row])),
            ACTIONS[one.action],
            (SESSION_ACTIONS[one.session_before], SESSION_ACTIONS[one.session_action]),
            REASONS[one.reason],
        )
        for kind, one in chosen
    ]
    attach_texts([change.sample for change in changes], files, requests, mask=mask)
    return Findings(
        policy=policy.version,
        files=[(file.path.name, file.rows) for file in files],
        recorded_policies=dict(tally.policies.most_common(20)),
        whole=tally.whole(),
        transitions=tally.actions(),
        session_transitions=tally.session_actions(),
        tenants=tally.tenants(),
        threats=tally.threats(),
        channels=tally.channels(),
        by_p=tally.by_p(),
        timeline=tally.timeline(),
        changes=changes,
        notes=_notes(files, hashes),
    )


def _add(
    tally: Tally, index: int, row: int, file: VerdictFile, batch: pa.RecordBatch, policy: Policy, today: date
) -> None:
    try:
        tally.add(index, row, batch, recorded.decide(policy, batch, today))
    except SchemaError as error:
        where = None if error.row is None else row + error.row
        raise SchemaError(error.column, f"{error.problem} ({file.path})", row=where) from error


def _sample(file: int, row: int, values: dict[str, object]) -> Sample:
    values["evidence"], values["spans"] = values["evidence"] or [], values["spans"] or []
    return Sample(file=file, row=row, **values)  # type: ignore[arg-type]


def _notes(files: Sequence[VerdictFile], hashes: bool) -> list[str]:
    notes = []
    if hashes and any("text" not in file.columns for file in files):
        notes.append(
            "the allowlist names texts by their hash, and these verdicts carry no texts: scan with --with-text"
        )
    if any("session_score" not in file.columns for file in files):
        notes.append("not all verdicts have the column session_score: what follows from sessions is left out there")
    return notes
