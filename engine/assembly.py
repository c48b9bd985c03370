"""Scores and actions become a RecordBatch of VERDICTS."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

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

_NAMED = tuple(CODES[name] for name in ("none", "pii_exposure", "harmful_request"))
_PLACES = (P_VALUE, SCORE, HARMFUL_SCORE, SEVERITY, THREAT, STATUS, FIRST_SCORE)
IMPACT = np.array([threat.impact for threat in load()], np.float32)
SCORED = np.array([code for code, name in enumerate(THREATS) if name not in ("none", "harmful_request")])
"""Threat codes with an entry in the ``scores`` map; the harmful score is a column of its own."""
SCORED_CODES = SCORED.astype(np.int8)
Codes = npt.NDArray[np.int8]
_COLUMNS = tuple((field.name, field.type) for field in VERDICTS)


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
    channels = batch.column("channel").indices.to_numpy(zero_copy_only=False)
    scored, status = _scored(batch, texts, scores, policy, channels)
    decided = policy.decide(scored, today)
    threat, severity = _reported(scored, policy)
    mitigated = mitigate.mitigated(
        texts,
        decided.action,
        scores.spans,
        channels,
        kinds=policy.redacted,
        keep_last4=policy.keep_last4,
        keep_shape=policy.keep_shape,
    )
    error = status == ERROR
    mask = error if error.any() else None
    columns: dict[str, Any] = {
        name: batch.column(name) for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel")
    }
    columns |= {
        "action": schema.enum(ACTIONS, decided.action),
        "session_action": schema.enum(SESSION_ACTIONS, decided.session_action),
        "threat_type": schema.enum(THREATS, threat),
        "scores": _score_map(scored.scores, mask),
        "score": pa.array(scored.score, mask=mask),
        "p_value": pa.array(scored.p_value, mask=mask),
        "harmful_score": pa.array(scored.harmful, mask=mask),
        "severity": pa.array(severity, mask=mask),
        "evidence": _evidence(n, scores),
        "spans": _spans(n, scores),
        "mitigated_text": mitigated,
        "violations": schema.empty_lists(pa.string(), n),
        "status": schema.enum(STATUSES, status),
        "error": pa.array([scores.errors.get(row) for row in range(n)], pa.string()) if scores.errors else None,
        "profile": schema.constant(profile, n),
        "backend": schema.constant(backend, n),
        "engine_version": schema.constant(versions["engine"], n),
        "model_version": schema.constant(versions["model"], n),
        "signature_version": schema.constant(versions["signatures"], n),
        "policy_version": schema.constant(versions["policy"], n),
    }
    arrays = [pa.nulls(n, kind) if (made := columns.get(name)) is None else made for name, kind in _COLUMNS]
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)


@dataclass(frozen=True, slots=True)
class _Contents:
    texts: Texts
    scores: Scores

    def evidence(self, row: int) -> list[tuple[str, float]]:
        return [(item.pattern_id, item.score) for item in self.scores.evidence.get(row, ())]

    def digest(self, row: int) -> str | None:
        return hashlib.sha256(self.texts.raw(row)).hexdigest() if self.texts.valid[row] else None


def _scored(
    batch: pa.RecordBatch, texts: Texts, scores: Scores, policy: Policy, channels: Codes
) -> tuple[Scored, Codes]:
    # What the policy is told, and the status of each row, int8 (B,).
    n = batch.num_rows
    has_pii, has_secret = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for row, spans in scores.spans.items():
        has_secret[row] = any(KINDS[span.kind].secret for span in spans)
        has_pii[row] = any(span.kind in policy.redacted and not KINDS[span.kind].secret for span in spans)
    numbers, codes, by_type = (
        np.empty((3, n), np.float32),
        np.empty((2, n), np.int8),
        np.empty((n, len(THREATS)), np.float32),
    )
    p_value = np.empty(n)
    _parted(scores.numbers, _PLACES, p_value, numbers, codes, by_type)
    score, harmful, severity = numbers
    threat, status = codes
    scored = Scored(
        n=n,
        channel=channels,
        tenant=batch.column("tenant"),
        p_value=p_value,
        score=score,
        threat=threat,
        scores=by_type,
        harmful=harmful,
        severity=severity,
        has_pii=has_pii,
        has_secret=has_secret,
        failed=failures.failed(status, scores.errors),
        contents=_Contents(texts, scores),
    )
    return scored, status


@njit(cache=True, nogil=True)
def _parted(scores, places, p_value, numbers, codes, by_type):  # type: ignore[no-untyped-def]
    # Columns of `aimds.detect.stages.Scores`, which stand in ``places``, by their types. A row that could not be judged
    # has p-value 1, all else 0. Numbers of other modules come as arguments, as machine code on disk asks for.
    p, score, harmful, severity, threat, status, first = places
    for row in range(len(scores)):
        mine = scores[row]
        codes[0, row], codes[1, row] = mine[threat], mine[status]
        unknown = np.isnan(mine[p])
        p_value[row] = 1.0 if unknown else mine[p]
        numbers[0, row] = 0.0 if unknown else mine[score]
        numbers[1, row] = 0.0 if unknown else mine[harmful]
        numbers[2, row] = 0.0 if unknown else mine[severity]
        for code in range(by_type.shape[1]):
            by_type[row, code] = 0.0 if unknown else mine[first + code]


def _reported(scored: Scored, policy: Policy) -> tuple[Codes, npt.NDArray[np.float32]]:
    # A row without a sign of manipulation is named after what else the policy acts on: data it redacts, then content.
    threat, severity = scored.threat.copy(), scored.severity.copy()
    limit = np.float32(policy.settings[0].harmful.threshold)
    sensitive = scored.has_pii | scored.has_secret
    _name(threat, severity, scored.failed, sensitive, scored.scores, scored.harmful, limit, IMPACT, _NAMED)
    return threat, severity


@njit(cache=True, nogil=True)
def _name(threat, severity, failed, sensitive, scores, harmful, limit, impact, named):  # type: ignore[no-untyped-def]
    none, pii, content = named
    for row in range(len(threat)):
        if threat[row] != none or failed[row]:
            continue
        if sensitive[row]:
            threat[row], severity[row] = pii, scores[row, pii] * impact[pii]
        elif harmful[row] >= limit:
            threat[row], severity[row] = content, harmful[row] * impact[content]


def _score_map(by_type: npt.NDArray[np.float32], error: npt.NDArray[np.bool_] | None) -> pa.MapArray:
    offsets = np.arange(len(by_type) + 1, dtype=np.int32) * np.int32(len(SCORED))
    if error is not None:
        by_type = by_type[~error]
        offsets[1:] = np.cumsum(~error) * len(SCORED)
    keys = _threats(schema.room(len(by_type))).slice(0, len(by_type) * len(SCORED))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(by_type[:, SCORED].ravel()))


@functools.lru_cache(maxsize=16)
def _threats(rows: int) -> pa.DictionaryArray:
    return schema.enum(THREATS, np.tile(SCORED_CODES, rows))


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
