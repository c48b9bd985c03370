"""What a policy is given and what it gives back: batches of scores in, batches of action codes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from aimds.errors import SchemaError
from aimds.schema import ACTIONS, CHANNELS
from aimds.taxonomy import THREATS

Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

ALLOW, FLAG, REDACT, SANDWICH, BLOCK, ESCALATE = range(len(ACTIONS))
BY_STRENGTH = np.array(
    [ACTIONS.index(name) for name in ("allow", "flag", "redact", "sandwich", "escalate", "block")], np.int8
)
RANK = BY_STRENGTH.argsort()
"""Strength per action code: block is the strongest."""
REASONS = (
    "nothing found",
    "p-value at or below the block threshold",
    "p-value at or below the flag threshold",
    "denied by a rule",
    "let pass by a rule",
    "harmful score at or above its threshold",
    "a detector could not judge",
    "personal data or a secret in the text",
    "let pass by the allowlist",
    "the score of the session is above a threshold",
    "the session breaks a policy",
    "a stronger action was drawn than the p-value asks for",
)
CLEAN, P_BLOCK, P_FLAG, DENIED, PASSED, HARMFUL, UNJUDGED, SENSITIVE, LISTED, SESSION, TRACE, DRAWN = range(
    len(REASONS)
)
_FIELDS = ("channel", "p_value", "score", "threat", "scores", "harmful", "severity", "has_pii", "has_secret", "failed")


class Contents(Protocol):
    """What an allowlist may ask of single rows."""

    def evidence(self, row: int) -> Sequence[tuple[str, float]]:
        """Pattern id and strength of each piece of evidence."""

    def digest(self, row: int) -> str | None:
        """SHA-256 of the text as hexadecimal digits, None where the text is not at hand."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What the detectors say of B = ``n`` rows. ``channel`` and ``threat`` int8 (B,) codes; ``tenant`` string (B,) or
    None; ``p_value`` float64 (B,); ``score``, ``harmful``, ``severity`` float32 (B,); ``scores`` float32 (B, T);
    ``has_pii`` (kinds that the policy redacts), ``has_secret`` bool (B,); ``failed`` uint8 (B,): the detectors that
    could not judge, as bits over `aimds.detect.failures.DETECTORS`; ``contents``: for an allowlist, None: there is
    nothing to ask.

    Raises:
        SchemaError: a column of another length, or a code that stands for nothing.
    """

    n: int
    channel: Codes
    tenant: pa.Array | None
    p_value: F64
    score: F32
    threat: Codes
    scores: F32
    harmful: F32
    severity: F32
    has_pii: Flags
    has_secret: Flags
    failed: npt.NDArray[np.uint8]
    contents: Contents | None = None

    def __post_init__(self) -> None:
        rows = (self.n,)
        flat = self.channel.shape == self.p_value.shape == self.score.shape == self.threat.shape == rows
        flat = flat and self.harmful.shape == self.severity.shape == self.failed.shape == rows
        flat = flat and self.has_pii.shape == self.has_secret.shape == rows
        for name in _FIELDS if not flat or self.scores.shape != (self.n, len(THREATS)) else ():
            shape = getattr(self, name).shape
            expected = (self.n, len(THREATS)) if name == "scores" else (self.n,)
            if shape != expected:
                raise SchemaError(name, f"has shape {shape}, expected {expected}")
        if self.tenant is not None and len(self.tenant) != self.n:
            raise SchemaError("tenant", f"has {len(self.tenant)} rows, expected {self.n}")
        bad = _stranger(self.channel, len(CHANNELS), self.threat, len(THREATS))
        if bad >= 0:
            for name, code, known in (
                ("channel", self.channel[bad], len(CHANNELS)),
                ("threat", self.threat[bad], len(THREATS)),
            ):
                if not 0 <= code < known:
                    raise SchemaError(name, f"has code {code}, expected 0 to {known - 1}", row=bad)


@njit(cache=True, nogil=True)
def _stranger(channel, channels, threat, threats):  # type: ignore[no-untyped-def]
    # The first row with a code outside 0 .. channels - 1 or 0 .. threats - 1, or -1.
    for row in range(len(channel)):
        if not (0 <= channel[row] < channels and 0 <= threat[row] < threats):
            return row
    return -1


@dataclass(frozen=True, slots=True)
class Decisions:
    """Codes per row, int8 (B,): ``action`` into ACTIONS and ``session_action`` into SESSION_ACTIONS, both to be carried
    out; ``intended`` into ACTIONS, what ``action`` would be outside shadow mode; ``reason`` into REASONS. ``shadow``
    bool (B,). ``own`` int8 (B,) and ``chance`` float64 (B,): what the policy itself says of a row whose action was
    drawn, and the probability of that action (NaN: not drawn); None where nothing is learnt."""

    action: Codes
    session_action: Codes
    intended: Codes
    reason: Codes
    shadow: Flags
    own: Codes | None = None
    chance: F64 | None = None


def stronger(first: Codes, second: Codes) -> Codes:
    """The stronger of two action codes, int8, row by row."""
    return np.where(RANK[second] > RANK[first], second, first).astype(np.int8)


def codes(column: pa.Array, names: Sequence[str], field: str) -> Codes:
    """Code into ``names`` of each value of ``column`` (text or dictionary), int8 (B,).

    Raises:
        SchemaError: a value is null or none of ``names``; names ``field`` and the row.
    """
    known = pa.array(names, pa.string())
    if pa.types.is_dictionary(column.type):
        table = pc.index_in(column.dictionary.cast(pa.string()), value_set=known)
        found = table.take(column.indices)
    else:
        found = pc.index_in(column.cast(pa.string()), value_set=known)
    if found.null_count:
        row = pc.index(found.is_null(), pa.scalar(True)).as_py()
        expected = "expected one of " + ", ".join(names)
        raise SchemaError(field, f"is {column[row].as_py()!r}, {expected}", row=row)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int8)
