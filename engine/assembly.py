"""Scores and actions become a RecordBatch of VERDICTS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aimds import schema
from aimds.detect import failures
from aimds.detect.pii import KINDS
from aimds.detect.stages import (
    ERROR,
    FIRST_SCORE,
    HARMFUL_SCORE,
    P_VALUE,
    SCORE,
    SEVERITY,
    STATUS,
    THREAT,
    Scores,
)
from aimds.detect.texts import Texts
from aimds.respond import mitigate
from aimds.respond.policy import Policy
from aimds.respond.scored import Scored
from aimds.schema import ACTIONS, SESSION_ACTIONS, STATUSES, VERDICTS
from aimds.taxonomy import CODES, THREATS, load

NONE, PII, HARMFUL = (CODES[name] for name in ("none", "pii_exposure", "harmful_request"))
IMPACT = np.array([threat.impact for threat in load()], np.float32)
SCORED = np.array([code for code, name in enumerate(THREATS) if name not in ("none", "harmful_request")])
"""Threat codes with an entry in the ``scores`` map; the harmful score is a column of its own."""
SCORED_CODES = SCORED.astype(np.int8)


def verdicts(
    batch: pa.RecordBatch,
    texts: Texts,
    scores: Scores,
    policy: Policy,
    profile: str,
    backend: str,
    versions: dict[str, str],
    today: date | None = None,
) -> pa.RecordBatch:
    """The verdicts of ``batch`` (REQUESTS, B rows) from its ``scores`` (B rows) under ``policy``, on ``today``."""
    n = batch.num_rows
    numbers = scores.numbers
    scored = _scored(batch, texts, scores, policy)
    decided = policy.decide(scored, today)
    threat, severity = _reported(scored, policy)
    mitigated = mitigate.mitigated(
        texts,
        decided.action,
        scores.spans,
        batch.column("channel"),
        kinds=policy.redacted,
        keep_last4=policy.keep_last4,
        keep_shape=policy.keep_shape,
    )
    error = numbers[:, STATUS] == ERROR
    columns: dict[str, Any] = {
        name: batch.column(name) for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel")
    }
    columns |= {
        "action": schema.enum(ACTIONS, decided.action),
        "session_action": schema.enum(SESSION_ACTIONS, decided.session_action),
        "threat_type": schema.enum(THREATS, threat),
        "scores": _score_map(numbers[:, FIRST_SCORE:]),
        "score": pa.array(numbers[:, SCORE].astype(np.float32), mask=error),
        "p_value": pa.array(numbers[:, P_VALUE], mask=error),
        "harmful_score": pa.array(numbers[:, HARMFUL_SCORE].astype(np.float32), mask=error),
        "severity": pa.array(severity, mask=error),
        "evidence": _evidence(n, scores),
        "spans": _spans(n, scores),
        "mitigated_text": mitigated,
        "violations": schema.empty_lists(pa.string(), n),
        "status": schema.enum(STATUSES, numbers[:, STATUS].astype(np.int8)),
        "error": pa.array([scores.errors.get(row) for row in range(n)], pa.string()) if scores.errors else None,
        "profile": schema.constant(profile, n),
        "backend": schema.constant(backend, n),
        "engine_version": schema.constant(versions["engine"], n),
        "model_version": schema.constant(versions["model"], n),
        "signature_version": schema.constant(versions["signatures"], n),
        "policy_version": schema.constant(versions["policy"], n),
    }
    arrays = [pa.nulls(n, field.type) if (made := columns.get(field.name)) is None else made for field in VERDICTS]
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


@dataclass(frozen=True, slots=True)
class _Contents:
    texts: Texts
    scores: Scores

    def evidence(self, row: int) -> list[tuple[str, float]]:
        return [(item.pattern_id, item.score) for item in self.scores.evidence.get(row, ())]

    def digest(self, row: int) -> str | None:
        return hashlib.sha256(self.texts.raw(row)).hexdigest() if self.texts.valid[row] else None


def _scored(batch: pa.RecordBatch, texts: Texts, scores: Scores, policy: Policy) -> Scored:
    n, numbers = batch.num_rows, scores.numbers
    has_pii = np.zeros(n, np.bool_)
    has_secret = np.zeros(n, np.bool_)
    for row, spans in scores.spans.items():
        has_secret[row] = any(KINDS[span.kind].secret for span in spans)
        has_pii[row] = any(span.kind in policy.redacted and not KINDS[span.kind].secret for span in spans)
    p_value, rest = numbers[:, P_VALUE], numbers[:, SCORE:].astype(np.float32)
    if np.isnan(p_value).any():
        p_value = np.where(np.isnan(p_value), 1.0, p_value)
        rest = np.nan_to_num(rest)
    return Scored(
        n=n,
        channel=batch.column("channel").indices.to_numpy(zero_copy_only=False),
        tenant=batch.column("tenant"),
        p_value=p_value,
        score=rest[:, 0],
        threat=numbers[:, THREAT].astype(np.int8),
        scores=rest[:, FIRST_SCORE - SCORE :],
        harmful=rest[:, HARMFUL_SCORE - SCORE],
        severity=rest[:, SEVERITY - SCORE],
        has_pii=has_pii,
        has_secret=has_secret,
        failed=failures.failed(numbers[:, STATUS].astype(np.int8), scores.errors),
        contents=_Contents(texts, scores),
    )


def _reported(scored: Scored, policy: Policy) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    # A row without a sign of manipulation is named after what else the policy acts on: data it redacts, then content.
    threat, severity = scored.threat.copy(), scored.severity.copy()
    named = [
        (PII, scored.has_pii | scored.has_secret, scored.scores[:, PII]),
        (HARMFUL, scored.harmful >= policy.settings[0].harmful.threshold, scored.harmful),
    ]
    for code, found, strength in named:
        rows = found & (threat == NONE) & (scored.failed == 0)
        threat[rows] = code
        severity[rows] = strength[rows] * IMPACT[code]
    return threat, severity


def _score_map(by_type: npt.NDArray[np.float64]) -> pa.MapArray:
    judged = ~np.isnan(by_type[:, 0])
    if not judged.all():
        by_type = by_type[judged]
    offsets = np.zeros(len(judged) + 1, np.int32)
    np.cumsum(judged * np.int32(len(SCORED)), out=offsets[1:])
    keys = schema.enum(THREATS, np.broadcast_to(SCORED_CODES, (len(by_type), len(SCORED))).ravel())
    items = pa.array(by_type[:, SCORED].astype(np.float32).ravel())
    return pa.MapArray.from_arrays(pa.array(offsets), keys, items)


def _offsets(n: int, counts: dict[int, int]) -> pa.Array:
    sizes = np.zeros(n + 1, np.int32)
    sizes[np.fromiter(counts.keys(), np.int64, len(counts)) + 1] = np.fromiter(counts.values(), np.int32, len(counts))
    return pa.array(np.cumsum(sizes, dtype=np.int32))


def _evidence(n: int, scores: Scores) -> pa.ListArray:
    if not scores.evidence:
        return schema.empty_lists(schema.EVIDENCE, n)
    flat = [item for row in sorted(scores.evidence) for item in scores.evidence[row]]
    columns = [
        pa.array([item.detector for item in flat], pa.string()),
        pa.array([item.pattern_id for item in flat], pa.string()),
        pa.array([item.start for item in flat], pa.int32()),
        pa.array([item.end for item in flat], pa.int32()),
        pa.array([item.score for item in flat], pa.float32()),
    ]
    offsets = _offsets(n, {row: len(items) for row, items in scores.evidence.items()})
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(schema.EVIDENCE)))


def _spans(n: int, scores: Scores) -> pa.ListArray:
    if not scores.spans:
        return schema.empty_lists(schema.SPAN, n)
    flat = [span for row in sorted(scores.spans) for span in scores.spans[row]]
    columns = [
        pa.array([span.start for span in flat], pa.int32()),
        pa.array([span.end for span in flat], pa.int32()),
        pa.array([span.kind for span in flat], pa.string()),
    ]
    offsets = _offsets(n, {row: len(items) for row, items in scores.spans.items()})
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(columns, fields=list(schema.SPAN)))
