"""From scores to actions. A policy file is checked and compiled into arrays once; `Policy.decide` then judges whole
batches by looking them up. Where several rules apply, the strongest action wins, and a deny rule beats an allow rule.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds import data
from aimds.detect.failures import DETECTORS, EVERY
from aimds.detect.pii.identifiers import KINDS
from aimds.errors import ConfigError, DataError
from aimds.respond import session_findings
from aimds.respond.allowlist import read_allowlist
from aimds.respond.decision import DECIDING_ACTIONS, DECIDING_REASONS, OTHER_SCORE, RULED_APART, decide
from aimds.respond.learned import read_learned
from aimds.respond.playbook import Playbook
from aimds.respond.scored import DRAWN, FLAG, RANK, Codes, Decisions, Flags, Scored, codes, stronger
from aimds.respond.sessions import (
    Consequences,
    SessionSettings,
    read_quarantine,
    read_rate_limit,
    read_session_settings,
)
from aimds.respond.settings import Override, Section, Settings, merged, read_overrides, read_settings
from aimds.schema import ACTIONS, CHANNELS, SESSION_ACTIONS, VERDICTS, enum
from aimds.taxonomy import CODES, THREATS

FORMAT = 1
SHIPPED = "policy.toml"
TENANT_KEYS = ("mode", "thresholds", "threats", "failure", "harmful", "sessions", "traces")
SECTIONS = (*TENANT_KEYS, "quarantine", "rate_limit", "redaction", "playbook")
"""Parts that a file may leave out; it then gets the shipped ones."""
STYLES = ("label", "shape")


class Policy:
    """A checked policy. ``version`` is the file's own version and a hash of all that it says; ``redacted`` holds the
    span kinds that are taken out of texts; ``playbook`` says what each action does; ``values`` are what it was
    made of."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, top = values, Section(values, "")
        found = top.any("format", str(FORMAT))
        if type(found) is not int or found != FORMAT:
            raise ConfigError("format", values["format"], f"{FORMAT}, the only format this version reads")
        declared = top.text("version")
        redaction = top.section("redaction")
        personal = redaction.names("pii", sorted(name for name, kind in KINDS.items() if not kind.secret))
        self.keep_last4 = redaction.flag("keep_card_last4")
        self.keep_shape = redaction.has("style") and redaction.choice("style", STYLES) == "shape"
        redaction.end()
        self.redacted = frozenset(personal) | {name for name, kind in KINDS.items() if kind.secret}
        self.playbook = Playbook.read(top.section("playbook"))
        self.overrides, self.allowlist = read_overrides(top), read_allowlist(top)
        self.settings, self.sessions = [read_settings(top)], [read_session_settings(top)]
        self.quarantine, self.rate_limit = read_quarantine(top), read_rate_limit(top)
        self.learned = read_learned(top)
        own = top.sections("tenants")
        top.end()
        general = {key: values[key] for key in TENANT_KEYS}
        ruled = [rule.tenant for rule in self.overrides] + [entry.tenant for entry in self.allowlist.entries]
        self.tenants = tuple(dict.fromkeys([*own, *(name for name in ruled if name is not None)]))
        for name in self.tenants:
            texts, sessions = _tenant(general, own[name]) if name in own else (self.settings[0], self.sessions[0])
            self.settings.append(texts)
            self.sessions.append(sessions)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
        self.version = f"{declared}+{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
        self._compile()

    @property
    def holds_sessions(self) -> bool:
        """Whether anything in it may limit a session or put it into quarantine."""
        then = [band.then for part in self.sessions for band in part.bands.values()]
        then += [one for part in self.sessions for one in part.traces.values()]
        return bool(self.playbook.session_actions.any()) or any(one.session_action != "none" for one in then)

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The policy in the TOML file ``path``, or the shipped one. Parts the file leaves out are the shipped ones.

        Raises:
            DataError: the file cannot be read or is not TOML.
            ConfigError: a value cannot be used, or a key is unknown; names the file and its place in it.
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
        try:
            return cls({key: shipped[key] for key in SECTIONS} | values)
        except ConfigError as error:
            raise error.of(path) from None

    def moved(self, written: Mapping[str, float], to: Mapping[str, float]) -> Policy:
        """This policy with other thresholds, flag and block, where no channel or tenant has its own.

        Raises:
            ConfigError: it says something else than ``written``, which ``to`` was found for.
        """
        found = self.values["thresholds"]
        for name, value in written.items():
            if found[name] != value:
                expected = f"{value:g}, as when the thresholds in force were learnt; propose again, or roll back"
                raise ConfigError(f"thresholds.{name}", found[name], expected)
        return Policy({**self.values, "thresholds": {**found, **to}})

    def _compile(self) -> None:
        # First axis of every table: 0 for tenants without rules of their own, then one row per named tenant.
        sets = self.settings
        per_channel = [[part.thresholds[name] for name in CHANNELS] for part in sets]
        self._block = np.array([[limits.block for limits in row] for row in per_channel])
        self._flag = np.array([[limits.flag for limits in row] for row in per_channel])
        self._failure = np.array([_codes([_failures(part, name) for name in CHANNELS]) for part in sets])
        responses = [[part.responses.get(name, part.responses["default"]) for name in THREATS] for part in sets]
        self._at_block = _codes([[response.at_block for response in row] for row in responses])
        self._at_flag = _codes([[response.at_flag for response in row] for row in responses])
        self._severity = np.array([[response.min_severity for response in row] for row in responses], np.float32)
        self._harmful = np.array([part.harmful.threshold for part in sets], np.float32)
        self._harmful_action = _codes([[part.harmful.action for part in sets]])[0]
        self._shadow = np.array([part.shadow for part in sets])
        self._shadows = bool(self._shadow.any())
        self._session = self.playbook.session_actions
        if self.learned is not None:
            own = np.concatenate([self._at_block, self._at_flag])[:, self.learned.threats]
            self.learned.check(np.unique(own).tolist(), self.playbook.steps)
        self._deny = self._table([rule for rule in self.overrides if rule.deny])
        self._pass = self._table([rule for rule in self.overrides if not rule.deny])
        thresholds = (self._block, self._flag, self._severity, self._harmful)
        actions = (self._at_block, self._at_flag, self._failure, self._harmful_action)
        rules = (self._deny, self._pass)
        self._tables = (thresholds, actions, rules, self._session, DECIDING_ACTIONS, DECIDING_REASONS)
        self._known = pa.array(self.tenants, pa.string())
        self._consequences = Consequences(self.sessions, self.quarantine, self.rate_limit)

    def _table(self, rules: list[Override]) -> Flags:
        out = np.zeros((len(self.settings), len(CHANNELS), len(THREATS)), np.bool_)
        for rule in rules:
            tenants = slice(None) if rule.tenant is None else self.tenants.index(rule.tenant) + 1
            channels = slice(None) if rule.channel is None else CHANNELS.index(rule.channel)
            out[tenants, channels, slice(None) if rule.threat is None else CODES[rule.threat]] = True
        return out

    def decide(self, scored: Scored, today: date | None = None) -> Decisions:
        """The actions for a batch. A row's action depends on that row only.

        ``today`` decides which entries of the allowlist are in force; None: none is.
        """
        who = self.who(scored.tenant, scored.n)
        listed = self._listed(scored, who, today)
        findings = (scored.p_value, scored.severity, scored.harmful, scored.scores)
        marks = (scored.failed, scored.has_pii | scored.has_secret, listed)
        rows = (who, scored.channel, scored.threat)
        intended, session, reason = np.empty((3, scored.n), np.int8)
        decide(rows, findings, marks, *self._tables, EVERY, RULED_APART, intended, session, reason)
        if self.learned is None:
            return self._carried_out(who, intended, session, reason)
        drawn, chance = self.learned.draw(intended, reason, scored)
        reason = np.where(drawn != intended, np.int8(DRAWN), reason)
        # What the policy's own action does to the session stays, whatever is drawn for the text.
        session = np.maximum(session, self._session[drawn])
        return replace(self._carried_out(who, drawn, session, reason), own=intended, chance=chance)

    def _carried_out(self, who: npt.NDArray[np.intp], intended: Codes, session: Codes, reason: Codes) -> Decisions:
        if not self._shadows:
            return Decisions(intended, session, intended, reason, np.zeros(len(intended), np.bool_))
        shadow, action = self._shadow[who], intended
        if shadow.any():
            action = np.where(shadow & (RANK[intended] > RANK[FLAG]), np.int8(FLAG), intended)
            session = np.where(shadow, np.int8(0), session)
        return Decisions(action, session, intended, reason, shadow)

    def decide_later(
        self,
        decisions: Decisions,
        tenant: pa.Array | None,
        session_score: npt.NDArray[np.float32],
        violations: pa.ListArray,
    ) -> Decisions:
        """``decisions`` of B rows with what their sessions ask for; an action only becomes stronger.

        Args:
            decisions: of the texts.
            tenant: B names, or None.
            session_score: float32 (B,), NaN where there is none.
            violations: B lists of names of policies over sessions.
        """
        who = self.who(tenant, len(decisions.action))
        action, session, why = self._consequences.of(who, session_score, violations)
        intended = stronger(decisions.intended, action)
        reason = np.where(intended != decisions.intended, why, decisions.reason)
        sessions = np.maximum.reduce([decisions.session_action, session, self._session[intended]])
        return self._carried_out(who, intended, sessions, reason)

    def with_sessions(
        self, verdicts: pa.RecordBatch, signs: Codes | None = None, unnamed: Collection[str] = ()
    ) -> pa.RecordBatch:
        """``verdicts`` (VERDICTS, B rows, session_score and violations filled) with the actions that follow from them.

        A row that is raised has what raised it as evidence of the detector ``sessions``, behind its own, and the threat
        type multi_turn where it shows none by itself. Where its action becomes stronger it loses its mitigated text,
        which belonged to the weaker one.

        Args:
            signs: int8 (B,), what each session score rests on most, places in `session_findings.SIGNS`.
            unnamed: policies over sessions that say nothing of manipulation: a row that breaks these alone is named
                nothing.
        """
        action = codes(verdicts.column("action"), ACTIONS, "action")
        session = codes(verdicts.column("session_action"), SESSION_ACTIONS, "session_action")
        none = np.zeros(len(action), np.int8)
        before = Decisions(action, session, action, none, none.astype(np.bool_))
        score = verdicts.column("session_score").to_numpy(zero_copy_only=False)
        after = self.decide_later(before, verdicts.column("tenant"), score, verdicts.column("violations"))
        changed = after.action != action
        if not changed.any() and (after.session_action == session).all():
            return verdicts
        rows = np.flatnonzero(changed | (after.session_action > session))
        who = self.who(verdicts.column("tenant"), len(action))
        listed = verdicts.column("violations")
        raised = session_findings.found(self._consequences, rows, who, (action, session), score, signs, listed)
        columns = {
            **(session_findings.columns(verdicts, raised, unnamed) if raised else {}),
            "action": enum(ACTIONS, after.action),
            "session_action": enum(SESSION_ACTIONS, after.session_action),
            "mitigated_text": pc.if_else(
                pa.array(changed), pa.scalar(None, pa.large_string()), verdicts.column("mitigated_text")
            ),
        }
        arrays = [columns.get(field.name, verdicts.column(field.name)) for field in VERDICTS]
        return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS)

    def _listed(self, scored: Scored, who: npt.NDArray[np.intp], today: date | None) -> Flags:
        out = np.zeros(scored.n, np.bool_)
        if today is None or not self.allowlist.in_force(today):
            return out
        rows = np.flatnonzero(scored.p_value <= self._flag[who, scored.channel])
        names = (None, *self.tenants)
        threats = scored.threat[rows]
        strong = (scored.scores[rows] >= OTHER_SCORE) & ~RULED_APART
        strong[np.arange(len(rows)), threats] = False
        tenants = [names[place] for place in who[rows].tolist()]
        others = np.asarray(strong.any(axis=1), np.bool_)
        held = self.allowlist.holds(rows, tenants, threats, others, scored.contents, today)
        out[held] = True
        return out

    def who(self, tenant: pa.Array | None, n: int) -> npt.NDArray[np.intp]:
        """Place of each of ``n`` rows' tenant in the tables, intp (B,): 0 for those without rules of their own."""
        if tenant is None or not self.tenants:
            return np.zeros(n, np.intp)
        places = pc.index_in(tenant.cast(pa.string()), value_set=self._known)
        return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), np.intp) + 1


def _tenant(general: Mapping[str, Any], own: Section) -> tuple[Settings, SessionSettings]:
    for key, value in own.values.items():
        if key not in TENANT_KEYS:
            raise ConfigError(own.key(key), value, "no such key; known here: " + ", ".join(TENANT_KEYS))
    whole = Section(merged(general, own.values), own.path)
    return read_settings(whole), read_session_settings(whole)


def _failures(settings: Settings, channel: str) -> list[str]:
    failure = settings.failure[channel]
    return [failure.detectors.get(detector, failure.action) for detector in DETECTORS]


def _codes(names: Sequence[Sequence[str]]) -> Codes:
    return np.array([[ACTIONS.index(name) for name in row] for row in names], np.int8)
