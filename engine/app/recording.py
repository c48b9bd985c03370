"""The audit log of a gateway, and what puts verdicts into it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from aimds.gateway.judging import Record
from aimds.gateway.pieces import Piece
from aimds.gateway.settings import Settings
from aimds.record.audit import AuditLog
from aimds.record.keys import load_key, load_signing_key
from aimds.record.rotation import Rotation
from aimds.respond import session_findings
from aimds.respond.policy import Policy
from aimds.respond.recorded import drawn

RECORDED: Final = (
    "request_id",
    "session_id",
    "tenant",
    "channel",
    "action",
    "threat_type",
    "score",
    "status",
    "policy_version",
)


def opened(settings: Settings) -> AuditLog | None:
    """The log that ``settings`` name.

    Raises:
        AimdsError: it, or a key of it, cannot be used.
    """
    if settings.audit is None:
        return None
    found = settings.audit
    key = None if found.key is None else load_key(found.key)
    signing = None if found.signing_key is None else load_signing_key(found.signing_key)
    rotation = Rotation(segment_bytes=int(found.segment_mb * 1e6), segment_s=found.segment_hours * 3600)
    return AuditLog(found.path, key=key, signing=signing, rotation=rotation)


def recorder(
    settings: Settings, log: AuditLog | None, review: Record | None, policy: Callable[[], Policy]
) -> Record | None:
    """What verdicts go to before they are given: ``log`` as ``settings`` say, then ``review``; None: nowhere.
    ``policy``: the one in force, which says what it drew."""
    if log is None or settings.audit is None or settings.audit.verdicts == "none":
        return review
    everything, digests = settings.audit.verdicts == "all", settings.audit.key is not None
    record = functools.partial(_record, log, everything, digests, policy)
    if review is None:
        return record
    then = review

    def both(requests: pa.RecordBatch, verdicts: pa.RecordBatch, pieces: list[Piece]) -> None:
        # A verdict that is not recorded is not given, so that nobody is to review it.
        record(requests, verdicts, pieces)
        then(requests, verdicts, pieces)

    return both


def _record(
    log: AuditLog,
    everything: bool,
    digests: bool,
    policy: Callable[[], Policy],
    requests: pa.RecordBatch,
    verdicts: pa.RecordBatch,
    pieces: list[Piece],
) -> None:
    """Record verdicts durably: all, or those that were not allowed; a text as its digest, where the log has a key, and
    the policies over sessions that it breaks and what in its session raised it, if any. Of an action that was drawn,
    ``own`` is what the policy itself says and ``propensity`` how likely the draw was."""
    draws = drawn(policy(), verdicts)
    columns = [verdicts.column(name).to_pylist() for name in RECORDED]
    broken, raised = verdicts.column("violations").to_pylist(), session_findings.ids(verdicts)
    senders = [piece.identity.name for piece in pieces for _ in range(piece.count)]
    bodies = []
    for row, values in enumerate(zip(*columns, strict=True)):
        body = {**dict(zip(RECORDED, values, strict=True)), "identity": senders[row], **draws.get(row, {})}
        if broken[row]:
            body["violations"] = broken[row]
        if row in raised:
            body["session"] = raised[row]
        if everything or body["action"] != "allow" or body["status"] == "error":
            if digests:
                text = requests.column("text").slice(row, 1).cast(pa.large_binary())[0].as_py()
                body["text"] = None if text is None else log.digest(text)
            bodies.append(body)
    if bodies:
        log.append_many("verdict", bodies)
        log.flush()
