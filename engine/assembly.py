"""Scores and actions become a RecordBatch of VERDICTS."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from aimds import columns, schema
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
from aimds.schema import ACTIONS, REQUESTS, SESSION_ACTIONS, STATUSES, VERDICTS
from aimds.taxonomy import CODES, THREATS, load

IMPACT = np.array([threat.impact for threat in load()], np.float32)
Codes = npt.NDArray[np.int8]
F32 = npt.NDArray[np.float32]
_NAMED = tuple(CODES[name] for name in ("none", "pii_exposure", "harmful_request"))
_PLACES = (P_VALUE, SCORE, HARMFUL_SCORE, SEVERITY, THREAT, STATUS, FIRST_SCORE)
_ASKED = tuple(
    REQUESTS.get_field_index(name) for name in ("request_id", "session_id", "turn", "tenant", "ts", "channel")
)
assert VERDICTS.names[: len(_ASKED)] == [REQUESTS.names[place] for place in _ASKED], "verdicts begin with the request"


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
    asked = [batch.column(place) for place in _ASKED]
    channels = asked[-1].indices.to_numpy(zero_copy_only=False)
    scored, status, mapped = _scored(asked[3], texts, scores, policy, channels)
    decided = policy.decide(scored, today)
    # A row without a sign of manipulation is named after what else the policy acts on: data it redacts, then content.
    threat, severity = scored.threat.copy(), scored.severity.copy()
    limit = np.float32(policy.settings[0].harmful.threshold)
    sensitive = scored.has_pii | scored.has_secret
    _name(threat, severity, scored.failed, sensitive, scored.scores, scored.harmful, limit, IMPACT, _NAMED)
    mitigated = mitigate.mitigated(
        texts,
        decided.action,
        scores.spans,
        channels,
        kinds=policy.redacted,
        keep_last4=policy.keep_last4,
        keep_shape=policy.keep_shape,
    )
    error = status == ERROR if scores.errors else None
    errors = pa.array([scores.errors.get(row) for row in range(n)], pa.string()) if scores.errors else None
    arrays = [
        *asked,
        schema.enum(ACTIONS, decided.action),
        schema.enum(SESSION_ACTIONS, decided.session_action),
        schema.enum(THREATS, threat),
        columns.score_map(mapped, error),
        columns.numbers("score", scored.score, error),
        columns.numbers("p_value", scored.p_value, error),
        columns.numbers("harmful_score", scored.harmful, error),
        columns.numbers("severity", severity, error),
        columns.evidence(n, scores.evidence),
        columns.spans(n, scores.spans),
        mitigated,
        schema.empty("session_score", n),
        schema.empty("attractor", n),
        schema.empty("violations", n),
        schema.enum(STATUSES, status),
        schema.empty("error", n) if errors is None else errors,
        schema.constant(profile, n),
        schema.constant(backend, n),
        *(schema.constant(versions[name], n) for name in ("engine", "model", "signatures", "policy")),
    ]
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
    tenant: pa.Array, texts: Texts, scores: Scores, policy: Policy, channels: Codes
) -> tuple[Scored, Codes, F32]:
    # What the policy is told, the status of each row, int8 (B,), and its scores by type for the map, float32.
    n = len(texts)
    has_pii, has_secret = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for row, spans in scores.spans.items():
        has_secret[row] = any(KINDS[span.kind].secret for span in spans)
        has_pii[row] = any(span.kind in policy.redacted and not KINDS[span.kind].secret for span in spans)
    p_value, numbers, codes = np.empty(n), np.empty((3, n), np.float32), np.empty((2, n), np.int8)
    by_type, mapped = np.empty((n, len(THREATS)), np.float32), np.empty((n, len(columns.SCORED)), np.float32)
    _parted(scores.numbers, _PLACES, columns.SCORED, p_value, numbers, codes, by_type, mapped)
    score, harmful, severity = numbers
    threat, status = codes
    scored = Scored(
        n=n,
        channel=channels,
        tenant=tenant,
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
    return scored, status, mapped


@njit(cache=True, nogil=True)
def _parted(scores, places, in_map, p_value, numbers, codes, by_type, mapped):  # type: ignore[no-untyped-def]
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
        for k in range(len(in_map)):
            mapped[row, k] = by_type[row, in_map[k]]


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
