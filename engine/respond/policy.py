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
from numba import njit

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
_ACTIONS = (ALLOW, FLAG, REDACT, BLOCK, RANK)
_RULED_APART = np.isin(np.arange(len(THREATS)), [CODES[name] for name in ("none", "pii_exposure", "harmful_request")])
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
        who = self._who(scored)
        findings = (scored.p_value, scored.severity, scored.harmful, scored.scores)
        marks = (scored.failed, scored.has_pii | scored.has_secret)
        thresholds = (self._block, self._flag, self._severity, self._harmful)
        actions = (self._at_block, self._at_flag, self._failure, self._harmful_action)
        rules = (self._deny, self._pass)
        rows = (who, scored.channel, scored.threat)
        intended, reason = _decide(rows, findings, marks, thresholds, actions, rules, _ACTIONS, _RULED_APART)
        shadow = self._shadow[who]
        carried_out, session = intended, self._session[intended]
        if shadow.any():
            carried_out = np.where(shadow & (RANK[intended] > RANK[FLAG]), np.int8(FLAG), intended)
            session = np.where(shadow, np.int8(0), session)
        return Decisions(carried_out, session, intended, reason, shadow)

    def _who(self, scored: Scored) -> npt.NDArray[np.intp]:
        if scored.tenant is None or not self.tenants:
            return np.zeros(scored.n, np.intp)
        places = pc.index_in(scored.tenant.cast(pa.string()), value_set=self._known)
        return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.intp) + 1


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


@njit(cache=True, nogil=True)
def _decide(rows, findings, marks, thresholds, actions, rules, known, apart):  # type: ignore[no-untyped-def]
    # Codes of other modules come as arguments: machine code on disk is renewed only when this file changes.
    who, channel, threat = rows
    allow, as_flag, redact, as_block, rank = known
    p_value, severity, harmful, scores = findings
    failed, sensitive = marks
    block, flag, least, harmful_limit = thresholds
    at_block, at_flag, on_failure, on_harmful = actions
    deny, let_pass = rules
    intended, reasons = np.empty(len(p_value), np.int8), np.empty(len(p_value), np.int8)
    for row in range(len(p_value)):
        w, c, t = who[row], channel[row], threat[row]
        unknown = np.isnan(p_value[row])
        p = 1.0 if unknown else p_value[row]
        found = p <= flag[w, c]
        action, reason = np.int8(allow), CLEAN
        if p <= block[w, c] and severity[row] >= least[w, t]:
            action, reason = at_block[w, t], P_BLOCK
        elif found:
            action, reason = at_flag[w, t], P_FLAG
        if found and let_pass[w, c, t] and not _something_else(scores[row], let_pass[w, c], apart):
            action, reason = np.int8(allow), PASSED
        if found and deny[w, c, t]:
            action, reason = np.int8(as_block), DENIED
        if harmful[row] >= harmful_limit[w] and rank[on_harmful[w]] > rank[action]:
            action, reason = on_harmful[w], HARMFUL
        if (failed[row] or unknown) and rank[on_failure[w, c]] > rank[action]:
            action, reason = on_failure[w, c], UNJUDGED
        if action == redact and not sensitive[row]:
            # Redacting a text without spans would let it through unchanged and unmarked.
            action = np.int8(as_flag)
        if sensitive[row] and rank[redact] > rank[action]:
            action, reason = np.int8(redact), SENSITIVE
        intended[row], reasons[row] = action, reason
    return intended, reasons


@njit(cache=True, nogil=True)
def _something_else(scores, let_pass, apart):  # type: ignore[no-untyped-def]
    # Personal data and harmful requests are dealt with by rules of their own.
    other = False
    for code in range(len(scores)):
        other |= not apart[code] and not let_pass[code] and scores[code] >= OTHER_SCORE
    return other
