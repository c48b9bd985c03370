"""Verdicts as a policy was given them: the scores of recorded rows, ready to be decided anew.

What a verdict holds is enough for that, since each step from scores to columns can be undone: a threat type that the
policy named after what it redacts or finds harmful, or that a session gave, stands only in rows whose p-value is above
`NOTABLE_P`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.detect import failures
from aimds.detect.pii.identifiers import KINDS
from aimds.errors import SchemaError
from aimds.respond.policy import Policy
from aimds.respond.scored import F32, RANK, Decisions, Flags, Scored, codes
from aimds.schema import ACTIONS, CHANNELS, STATUSES
from aimds.taxonomy import CODES, NOTABLE_P, THREATS
from aimds.verdicts import SESSIONS

NEEDED = ("channel", "action", "threat_type", "p_value", "harmful_score", "severity", "spans", "status")
USED = ("tenant", "session_action", "session_score", "violations", "error")
"""Columns that are read where they are there."""


def columns(policy: Policy) -> tuple[str, ...]:
    """The columns of VERDICTS that ``policy`` may ask for, those that every policy needs first."""
    ruled = any(not rule.deny for rule in policy.overrides)
    listed = bool(policy.allowlist.entries)
    named = any(entry.pattern_id is not None for entry in policy.allowlist.entries)
    return (*NEEDED, *USED, *(["scores"] if ruled or listed else []), *(["evidence"] if named else []))


def decide(policy: Policy, verdicts: pa.RecordBatch, today: date | None) -> Decisions:
    """What ``policy`` would have decided of B recorded rows on the day ``today``, sessions and traces included.

    ``verdicts`` has the `columns` of the policy that there are, enums as dictionaries or as text, and ``text`` where
    the allowlist is to know texts.

    Raises:
        SchemaError: a column that is needed is missing, or a name in it is not known here; names column and row.
    """
    found = scored(verdicts, policy)
    n = verdicts.num_rows
    decided = policy.decide(found, today)
    score, violations = _optional(verdicts, "session_score"), _optional(verdicts, "violations")
    if score is None and violations is None:
        return decided
    scores = np.full(n, np.nan, np.float32) if score is None else _numbers(score, np.nan).astype(np.float32)
    listed = pa.array([[]] * n, pa.list_(pa.string())) if violations is None else violations
    return policy.decide_later(decided, found.tenant, scores, listed)


def drawn(policy: Policy, verdicts: pa.RecordBatch) -> dict[int, dict[str, Any]]:
    """By row of B verdicts that ``policy`` gave and whose action it drew: the policy's ``own`` action, the ``drawn``
    one and its ``propensity``. What the session asked for besides is left aside.

    Raises:
        SchemaError: as `decide`.
    """
    if policy.learned is None:
        return {}
    found = policy.decide(scored(verdicts, policy))
    assert found.own is not None
    assert found.chance is not None
    given = codes(verdicts.column("action"), ACTIONS, "action")
    # The allowlist of the day is not asked again: a row that it let pass has a weaker action than any draw.
    # Nor is a verdict looked at that the policy before this one gave.
    same = np.asarray(pc.fill_null(pc.equal(verdicts.column("policy_version"), policy.version), False))
    rows = np.flatnonzero(~np.isnan(found.chance) & ~found.shadow & same & (RANK[given] >= RANK[found.intended]))
    return {
        row: {
            "own": ACTIONS[found.own[row]],
            "drawn": ACTIONS[found.intended[row]],
            "propensity": float(found.chance[row]),
        }
        for row in rows.tolist()
    }


def scored(verdicts: pa.RecordBatch, policy: Policy) -> Scored:
    """The scores of B recorded rows as ``policy`` asks for them; see `decide`.

    Raises:
        SchemaError: as `decide`.
    """
    n = verdicts.num_rows
    for name in NEEDED:
        if name not in verdicts.schema.names:
            raise SchemaError(name, "missing; these are no whole verdicts")
    p_value = _numbers(verdicts.column("p_value"), 1.0)
    named = p_value > NOTABLE_P
    threat = np.where(named, np.int8(CODES["none"]), codes(verdicts.column("threat_type"), THREATS, "threat_type"))
    severity = np.where(named, np.float32(0), _numbers(verdicts.column("severity"), 0.0).astype(np.float32))
    has_pii, has_secret = _sensitive(verdicts.column("spans"), policy, n)
    status = codes(verdicts.column("status"), STATUSES, "status")
    errors = _optional(verdicts, "error")
    told: dict[int, str | None] = {}
    if errors is not None:
        rows = np.flatnonzero(status)
        told = dict(zip(rows.tolist(), errors.take(pa.array(rows)).to_pylist(), strict=True))
    scores, evidence = _optional(verdicts, "scores"), _optional(verdicts, "evidence")
    return Scored(
        n=n,
        channel=codes(verdicts.column("channel"), CHANNELS, "channel"),
        tenant=_optional(verdicts, "tenant"),
        p_value=p_value,
        score=np.zeros(n, np.float32),
        threat=threat.astype(np.int8),
        scores=np.zeros((n, len(THREATS)), np.float32) if scores is None else _scores(scores, n),
        harmful=_numbers(verdicts.column("harmful_score"), 0.0).astype(np.float32),
        severity=severity,
        has_pii=has_pii,
        has_secret=has_secret,
        failed=failures.failed(status, told),
        contents=_Contents(evidence, _optional(verdicts, "text")),
    )


@dataclass(frozen=True, slots=True)
class _Contents:
    found: pa.ListArray | None
    text: pa.Array | None

    def evidence(self, row: int) -> list[tuple[str, float]]:
        items = None if self.found is None else self.found[row].as_py()
        own = (item for item in items or () if item["detector"] != SESSIONS)
        return [(str(item["pattern_id"]), float(item["score"])) for item in own]

    def digest(self, row: int) -> str | None:
        if self.text is None or not self.text[row].is_valid:
            return None
        # The bytes as they are, valid UTF-8 or not.
        raw = self.text.slice(row, 1).cast(pa.large_binary())[0].as_py()
        return hashlib.sha256(raw).hexdigest()


def _optional(verdicts: pa.RecordBatch, name: str) -> pa.Array | None:
    column = verdicts.column(name) if name in verdicts.schema.names else None
    return None if column is None or column.null_count == len(column) else column


def _numbers(column: pa.Array, missing: float) -> npt.NDArray[np.float64]:
    # Written by others, a number may be none: that is as good as null.
    plain = pc.fill_null(column.cast(pa.float64()), missing).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(plain), missing, plain)


def _rows(column: pa.Array) -> npt.NDArray[np.int64]:
    """Row of each item of a column of lists, int64."""
    sizes = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(column)), sizes)


def _sensitive(spans: pa.ListArray, policy: Policy, n: int) -> tuple[Flags, Flags]:
    has_pii, has_secret = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    rows = _rows(spans)
    if len(rows):
        kinds = pc.struct_field(pc.list_flatten(spans), "kind").dictionary_encode()
        names = kinds.dictionary.to_pylist()
        secret = np.array([name in KINDS and KINDS[name].secret for name in names])
        redacted = np.array([name in policy.redacted for name in names]) & ~secret
        place = kinds.indices.to_numpy(zero_copy_only=False)
        has_secret[rows[secret[place]]] = True
        has_pii[rows[redacted[place]]] = True
    return has_pii, has_secret


def _scores(column: pa.MapArray, n: int) -> F32:
    out = np.zeros((n, len(THREATS)), np.float32)
    # Keys and items are those of the whole array: a slice of it only has other offsets.
    first, last = column.offsets[0].as_py(), column.offsets[n].as_py()
    keys, items = column.keys.slice(first, last - first), column.items.slice(first, last - first)
    rows = np.repeat(np.arange(n), np.diff(column.offsets.to_numpy()))
    out[rows, codes(keys, THREATS, "scores")] = _numbers(items, 0.0)
    return out
