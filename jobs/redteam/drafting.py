"""From what got through to patterns that would have found it, and to confirmed attacks that `aimds learn` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from aimds.detect.pii import Pii
from aimds.jobs.campaigns import drafts
from aimds.jobs.campaigns.findings import Draft
from aimds.jobs.campaigns.masking import masked
from aimds.jobs.redteam.findings import Attempt, Probe
from aimds.jobs.scan.durable import guarded, make_folder, writing
from aimds.printable import counted
from aimds.schema import FEEDBACK

EXAMPLES = 3
REVIEWER = "aimds redteam"
FILE = "attacks.parquet"


def described(
    probes: Sequence[Probe], attempts: Sequence[Attempt], ordinary: Sequence[str], pii: Pii | None
) -> list[Probe]:
    """``probes`` with examples of what got through and a draft each; no draft finds one of ``ordinary``.

    Args:
        pii: finds the personal data that examples and drafts leave out; None leaves nothing out.
    """
    through: dict[tuple[str, str], dict[str, None]] = {}
    for one in attempts:
        if one.got_through and one.text.strip():
            through.setdefault((one.tool, one.probe), {})[one.text] = None
    asked: list[drafts.Asked] = []
    owner: list[int] = []
    shown: list[list[str | None]] = []
    for number, probe in enumerate(probes):
        raw = [text.encode("utf-8", "replace") for text in through.get((probe.tool, probe.name), {})]
        told = raw[: drafts.MINED_FROM]
        clean = masked(told, pii) if pii is not None else [*told]
        texts = [None if one is None else one.decode("utf-8", "replace") for one in clean]
        shown.append(texts[:EXAMPLES])
        if raw:
            asked.append(drafts.Asked(ident(probe), probe.threat, raw, [text for text in texts if text]))
            owner.append(number)
    found = drafts.draft(asked, [text.encode() for text in ordinary])
    of = {owner[k]: one for k, one in enumerate(found) if one is not None}
    out: list[Probe] = []
    first: dict[str, str] = {}
    for number, probe in enumerate(probes):
        draft, covered = _beyond(of.get(number), probe, first)
        out.append(replace(probe, examples=shown[number], draft=draft, covered_by=covered))
    return out


def _beyond(draft: Draft | None, probe: Probe, first: dict[str, str]) -> tuple[Draft | None, tuple[str, ...]]:
    """``draft`` without what an earlier one has, and the earlier ones; ``first`` says which had a text first."""
    if draft is None:
        return None, ()
    note = f"drafted from {probe.tool} {probe.name}"
    new = [replace(pattern, note=note) for pattern in draft.patterns if pattern.text not in first]
    covered = tuple(dict.fromkeys(first[pattern.text] for pattern in draft.patterns if pattern.text in first))
    first.update((pattern.text, ident(probe)) for pattern in new)
    return (replace(draft, patterns=new) if new else None), covered


def ident(probe: Probe) -> str:
    """What the patterns and the file of a probe's draft are called."""
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._") else "_" for char in probe.name)
    return f"redteam.{probe.tool}.{name}".lower()


def write(folder: Path, probes: Sequence[Probe]) -> list[Path]:
    """A file of patterns for each probe with a draft; those of an earlier run go.

    Raises:
        DataError: one cannot be written.
    """
    make_folder(folder)
    with guarded(folder, "tidied"):
        for old in folder.glob("redteam.*.toml"):
            old.unlink()
    out = []
    for probe in probes:
        if probe.draft is not None:
            about = [
                f"Draft for {probe.tool} {probe.name}: {probe.through.hits} of {counted(probe.n, 'attempt')} got "
                f"through.",
                f"Found {probe.draft.reached} of {probe.draft.tried} of their texts{_with(probe)}, none of "
                f"{probe.draft.spared} harmless ones.",
                "Read it, try it with aimds hunt --pattern, then add it with aimds patterns add.",
            ]
            out.append(drafts.write(folder, ident(probe), drafts.as_toml(probe.draft, about)))
    return out


def _with(probe: Probe) -> str:
    return " together with " + ", ".join(probe.covered_by) if probe.covered_by else ""


def confirmed(folder: Path, attempts: Sequence[Attempt], threats: dict[tuple[str, str], str], now: datetime) -> Path:
    """What got through, each text once, as feedback in ``folder``: attacks by their making, for `aimds learn propose`.

    A probe is a session there, so that the cap of a session keeps one probe from filling what is learnt.

    Raises:
        DataError: it cannot be written.
    """
    rows: dict[str, Attempt] = {}
    for one in attempts:
        if one.got_through and one.text.strip() and one.works_bare is not False:
            rows.setdefault(one.text, one)
    picked = list(rows.values())
    columns = {
        "request_id": [hashlib.sha256(one.text.encode("utf-8", "replace")).hexdigest()[:32] for one in picked],
        "session_id": [f"{one.tool}/{one.probe}" for one in picked],
        "tenant": [None] * len(picked),
        "ts": [now] * len(picked),
        "channel": ["user"] * len(picked),
        "text": [one.text.encode("utf-8", "replace").decode() for one in picked],
        "action": ["flag" if one.outcome == "flagged" else "allow" for one in picked],
        "threat_type": [threats[one.tool, one.probe] for one in picked],
        "score": [None] * len(picked),
        "p_value": [None] * len(picked),
        "label": ["attack"] * len(picked),
        "reviewer": [REVIEWER] * len(picked),
        "reason": [f"got through as {one.tool} {one.probe}" for one in picked],
        "decided_at": [now] * len(picked),
    }
    arrays = [
        pa.array(columns[field.name], field.type.value_type).dictionary_encode().cast(field.type)
        if pa.types.is_dictionary(field.type)
        else pa.array(columns[field.name], field.type)
        for field in FEEDBACK
    ]
    path = folder / FILE
    make_folder(folder)
    with guarded(path, "write"), writing(path) as file:
        pq.write_table(pa.Table.from_arrays(arrays, schema=FEEDBACK), file)
    return path
