"""From scores to actions. A policy file is checked and compiled into arrays once; `Policy.decide` then judges whole
batches by looking them up. Where several rules apply, the strongest action wins, and a deny rule beats an allow rule.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds import data
from aimds.detect.pii.identifiers import KINDS
from aimds.errors import ConfigError, DataError, SchemaError
from aimds.respond.playbook import Playbook
from aimds.respond.settings import Override, Section, Settings, merged, read_overrides, read_settings
from aimds.schema import ACTIONS, CHANNELS
from aimds.taxonomy import CODES, THREATS

Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

FORMAT = 1
SHIPPED = "policy.toml"
SECTIONS = ("mode", "thresholds", "threats", "failure", "harmful", "redaction", "playbook")
"""Parts that a file may leave out; it then gets the shipped ones."""
TENANT_KEYS = ("mode", "thresholds", "threats", "failure", "harmful")
ALLOW, FLAG, REDACT, SANDWICH, BLOCK, ESCALATE = range(len(ACTIONS))
RANK = np.array(
    [ACTIONS.index(name) for name in ("allow", "flag", "redact", "sandwich", "escalate", "block")]
).argsort()
"""Strength per action code: block is the strongest."""
OTHER_SCORE = 0.5
"""An allow rule does not hold for a row where a threat type it does not name scores this high."""
BANDS = ("low", "medium", "high", "critical")
BAND_ABOVE = np.array([0.70, 0.85, 0.95])
REASONS = (
    "nothing found",
    "p-value at or below the block threshold",
    "p-value at or below the flag threshold",
    "denied by a rule",
    "let pass by a rule",
    "harmful score at or above its threshold",
    "a detector could not judge",
    "personal data or a secret in the text",
)
CLEAN, P_BLOCK, P_FLAG, DENIED, PASSED, HARMFUL, UNJUDGED, SENSITIVE = range(len(REASONS))
_FIELDS = ("channel", "p_value", "score", "threat", "scores", "harmful", "severity", "has_pii", "has_secret", "failed")


@dataclass(frozen=True, slots=True)
class Scored:
    """What the detectors say of B = ``n`` rows. ``channel`` and ``threat`` int8 (B,) codes; ``tenant`` string (B,) or
    None; ``p_value`` float64 (B,); ``score``, ``harmful``, ``severity`` float32 (B,); ``scores`` float32 (B, T);
    ``has_pii`` (kinds that the policy redacts), ``has_secret``, ``failed`` bool (B,): a detector could not judge.

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
    failed: Flags

    def __post_init__(self) -> None:
        for name in _FIELDS:
            shape = getattr(self, name).shape
            expected = (self.n, len(THREATS)) if name == "scores" else (self.n,)
            if shape != expected:
                raise SchemaError(name, f"has shape {shape}, expected {expected}")
        if self.tenant is not None and len(self.tenant) != self.n:
            raise SchemaError("tenant", f"has {len(self.tenant)} rows, expected {self.n}")
        for name, codes, known in (("channel", self.channel, CHANNELS), ("threat", self.threat, THREATS)):
            bad = np.flatnonzero((codes < 0) | (codes >= len(known)))
            if len(bad):
                raise SchemaError(name, f"has code {codes[bad[0]]}, expected 0 to {len(known) - 1}", row=int(bad[0]))


@dataclass(frozen=True, slots=True)
class Decisions:
    """Codes per row, int8 (B,): ``action`` into ACTIONS and ``session_action`` into SESSION_ACTIONS, both to be carried
    out; ``intended`` into ACTIONS, what ``action`` would be outside shadow mode; ``reason`` into REASONS. ``shadow``
    bool (B,)."""

    action: Codes
    session_action: Codes
    intended: Codes
    reason: Codes
    shadow: Flags


class Policy:
    """A checked policy. ``version`` is the file's own version and a hash of all that it says; ``redacted`` holds the
    span kinds that are taken out of texts; ``playbook`` says what each action does."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        top = Section(values, "")
        found = top.any("format", str(FORMAT))
        if type(found) is not int or found != FORMAT:
            raise ConfigError("format", values["format"], f"{FORMAT}, the only format this version reads")
        declared = top.text("version")
        redaction = top.section("redaction")
        personal = redaction.names("pii", sorted(name for name, kind in KINDS.items() if not kind.secret))
        self.keep_last4 = redaction.flag("keep_card_last4")
        redaction.end()
        self.redacted = frozenset(personal) | {name for name, kind in KINDS.items() if kind.secret}
        self.playbook = Playbook.read(top.section("playbook"))
        self.overrides = read_overrides(top)
        self.settings = [read_settings(top)]
        own = top.sections("tenants")
        top.end()
        general = {key: values[key] for key in TENANT_KEYS}
        self.tenants = tuple(dict.fromkeys([*own, *(rule.tenant for rule in self.overrides if rule.tenant)]))
        for name in self.tenants:
            self.settings.append(_tenant(general, own[name]) if name in own else self.settings[0])
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        self.version = f"{declared}+{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
        self._compile()

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The policy in the TOML file ``path``, or the shipped one. Parts the file leaves out are the shipped ones.

        Raises:
            DataError: the file cannot be read or is not TOML.
            ConfigError: a value cannot be used, or a key is unknown; names its place in the file.
        """
        shipped = tomllib.loads(data.read_bytes(SHIPPED).decode())
        if path is None:
            return cls(shipped)
        try:
            values = tomllib.loads(path.read_bytes().decode())
        except OSError as error:
            raise DataError(path, f"cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"is not TOML: {error}") from error
        return cls({key: shipped[key] for key in SECTIONS} | values)

    def _compile(self) -> None:
        # First axis of every table: 0 for tenants without rules of their own, then one row per named tenant.
        sets = self.settings
        per_channel = [[part.thresholds[name] for name in CHANNELS] for part in sets]
        self._block = np.array([[limits.block for limits in row] for row in per_channel])
        self._flag = np.array([[limits.flag for limits in row] for row in per_channel])
        self._failure = _codes([[part.failure[name].action for name in CHANNELS] for part in sets])
        responses = [[part.responses.get(name, part.responses["default"]) for name in THREATS] for part in sets]
        self._at_block = _codes([[response.at_block for response in row] for row in responses])
        self._at_flag = _codes([[response.at_flag for response in row] for row in responses])
        self._severity = np.array([[response.min_severity for response in row] for row in responses], np.float32)
        self._harmful = np.array([part.harmful.threshold for part in sets], np.float32)
        self._harmful_action = _codes([[part.harmful.action for part in sets]])[0]
        self._shadow = np.array([part.shadow for part in sets])
        self._session = self.playbook.session_actions
        self._deny = self._table([rule for rule in self.overrides if rule.deny])
        self._pass = self._table([rule for rule in self.overrides if not rule.deny])
        self._known = pa.array(self.tenants, pa.string())

    def _table(self, rules: list[Override]) -> Flags:
        out = np.zeros((len(self.settings), len(CHANNELS), len(THREATS)), np.bool_)
        for rule in rules:
            tenants = slice(None) if rule.tenant is None else self.tenants.index(rule.tenant) + 1
            channels = slice(None) if rule.channel is None else CHANNELS.index(rule.channel)
            out[tenants, channels, slice(None) if rule.threat is None else CODES[rule.threat]] = True
        return out

    def decide(self, scored: Scored) -> Decisions:
        """The actions for a batch. A row's action depends on that row only."""
        who, channel, threat = self._who(scored), scored.channel, scored.threat
        unknown = np.isnan(scored.p_value)
        p = np.where(unknown, 1.0, scored.p_value)
        found = p <= self._flag[who, channel]
        severe = (p <= self._block[who, channel]) & (scored.severity >= self._severity[who, threat])
        action = np.where(severe, self._at_block[who, threat], np.where(found, self._at_flag[who, threat], ALLOW))
        reason = np.where(severe, P_BLOCK, np.where(found, P_FLAG, CLEAN))

        passed = np.flatnonzero(found & self._pass[who, channel, threat])
        passed = passed[~self._something_else(scored, who, passed)]
        action[passed], reason[passed] = ALLOW, PASSED
        denied = found & self._deny[who, channel, threat]
        action, reason = np.where(denied, BLOCK, action), np.where(denied, DENIED, reason)

        harmful = scored.harmful >= self._harmful[who]
        action, reason = _stronger(action, reason, np.where(harmful, self._harmful_action[who], ALLOW), HARMFUL)
        failed = scored.failed | unknown
        action, reason = _stronger(action, reason, np.where(failed, self._failure[who, channel], ALLOW), UNJUDGED)
        sensitive = scored.has_secret | scored.has_pii
        # Redacting a text without spans would let it through unchanged and unmarked.
        action = np.where((action == REDACT) & ~sensitive, FLAG, action)
        action, reason = _stronger(action, reason, np.where(sensitive, REDACT, ALLOW), SENSITIVE)

        shadow = self._shadow[who]
        intended = action.astype(np.int8)
        carried_out = np.where(shadow & (RANK[intended] > RANK[FLAG]), FLAG, intended).astype(np.int8)
        session = np.where(shadow, 0, self._session[intended]).astype(np.int8)
        return Decisions(carried_out, session, intended, reason.astype(np.int8), shadow)

    def _who(self, scored: Scored) -> npt.NDArray[np.intp]:
        if scored.tenant is None or not self.tenants:
            return np.zeros(scored.n, np.intp)
        places = pc.index_in(scored.tenant.cast(pa.string()), value_set=self._known)
        return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.intp) + 1

    def _something_else(self, scored: Scored, who: npt.NDArray[np.intp], rows: npt.NDArray[np.intp]) -> Flags:
        others = np.where(self._pass[who[rows], scored.channel[rows]], 0.0, scored.scores[rows])
        # Personal data and harmful requests are dealt with by rules of their own.
        others[:, [CODES["none"], CODES["pii_exposure"], CODES["harmful_request"]]] = 0.0
        return np.asarray(others.max(axis=1, initial=0.0) >= OTHER_SCORE)


def severity_band(confidence: npt.ArrayLike) -> Codes:
    """Code into BANDS, int8 (B,): above 0.95 critical, above 0.85 high, above 0.70 medium, else low; NaN is low."""
    values = np.nan_to_num(np.asarray(confidence, np.float64))
    return np.asarray(np.searchsorted(BAND_ABOVE, values, side="left"), np.int8)


def _tenant(general: Mapping[str, Any], own: Section) -> Settings:
    for key, value in own.values.items():
        if key not in TENANT_KEYS:
            raise ConfigError(own.key(key), value, "no such key; known here: " + ", ".join(TENANT_KEYS))
    return read_settings(Section(merged(general, own.values), own.path))


def _codes(names: list[list[str]]) -> Codes:
    return np.array([[ACTIONS.index(name) for name in row] for row in names], np.int8)


def _stronger(action: Any, reason: Any, other: Any, why: int) -> tuple[Any, Any]:
    wins = RANK[other] > RANK[action]
    return np.where(wins, other, action), np.where(wins, why, reason)
