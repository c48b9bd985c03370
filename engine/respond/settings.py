"""The policy file as checked values: every key is known, every value is in range, and a bad one is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimds.config import Section as Section
from aimds.detect.failures import DETECTORS
from aimds.errors import ConfigError
from aimds.schema import ACTIONS, CHANNELS
from aimds.taxonomy import THREATS

MODES = ("enforce", "shadow")
FAIL_MODES = ("closed", "open")
EFFECTS = ("allow", "deny")
HOLDING_ACTIONS = ("flag", "block", "escalate")
"""What may happen to a row that a detector could not judge."""
CATEGORIES = tuple(name for name in THREATS if name not in ("none", "harmful_request"))
"""Threat types with an entry under ``threats``; harmful requests have a section of their own."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """p-values at or below which a row is blocked, or flagged."""

    block: float
    flag: float


@dataclass(frozen=True, slots=True)
class Response:
    """What happens to one threat type; below ``min_severity``, ``at_flag`` holds at the block threshold too."""

    at_block: str
    at_flag: str
    min_severity: float


@dataclass(frozen=True, slots=True)
class Failure:
    """``action`` where a detector could not judge, ``detectors`` for those with another one; allow means fail open."""

    action: str
    detectors: dict[str, str]


@dataclass(frozen=True, slots=True)
class Harmful:
    """Content policy: ``action`` where the harmful score is at or above ``threshold``."""

    threshold: float
    action: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What one tenant gets: ``thresholds`` and ``failure`` per channel, ``responses`` per threat type."""

    shadow: bool
    thresholds: dict[str, Thresholds]
    responses: dict[str, Response]
    failure: dict[str, Failure]
    harmful: Harmful


@dataclass(frozen=True, slots=True)
class Override:
    """A rule that lets findings pass or denies them; None stands for every tenant, channel or threat type."""

    deny: bool
    tenant: str | None
    channel: str | None
    threat: str | None
    reason: str


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, table by table."""
    out = dict(base)
    for key, value in changes.items():
        below = out.get(key)
        out[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return out


def read_settings(top: Section) -> Settings:
    """The keys mode, thresholds, threats, failure and harmful of ``top``.

    Raises:
        ConfigError: a value is missing or out of range, or a key is unknown.
    """
    harmful = top.section("harmful")
    settings = Settings(
        shadow=top.choice("mode", MODES) == "shadow",
        thresholds={name: _thresholds(part) for name, part in _per_channel(top.section("thresholds")).items()},
        responses=_responses(top),
        failure={name: _failure(part) for name, part in _per_channel(top.section("failure")).items()},
        harmful=Harmful(harmful.number("threshold", 0.0, 1.0, open_low=True), harmful.choice("action", ACTIONS)),
    )
    harmful.end()
    return settings


def _per_channel(section: Section) -> dict[str, Section]:
    # A channel's table changes single keys of the general one.
    own = section.sections("channels", CHANNELS)
    general = {key: value for key, value in section.values.items() if key != "channels"}
    checked = {"": Section(general, section.path)}
    for name in CHANNELS:
        part = own.get(name)
        checked[name] = Section(merged(general, part.values), part.path) if part else Section(general, section.path)
    return checked


def _thresholds(section: Section) -> Thresholds:
    block = section.number("block", 0.0, 1.0)
    flag = section.number("flag", 0.0, 1.0)
    if flag < block:
        raise ConfigError(section.key("flag"), flag, f"a number from block ({block:g}) to 1")
    section.end()
    return Thresholds(block, flag)


def _failure(section: Section) -> Failure:
    own = section.sections("detectors", DETECTORS)
    general = {key: value for key, value in section.values.items() if key != "detectors"}
    detectors = {name: Section(merged(general, part.values), part.path) for name, part in own.items()}
    return Failure(
        _failure_action(Section(general, section.path)),
        {name: _failure_action(part) for name, part in detectors.items()},
    )


def _failure_action(section: Section) -> str:
    mode, action = section.choice("mode", FAIL_MODES), section.choice("action", HOLDING_ACTIONS)
    section.end()
    return action if mode == "closed" else "allow"


def _responses(top: Section) -> dict[str, Response]:
    found = top.sections("threats", ("default", *CATEGORIES))
    if "default" not in found:
        raise ConfigError(top.key("threats.default"), None, "a table; the key is missing")
    general = found["default"].values
    out = {}
    for name in ("default", *CATEGORIES):
        part = found.get(name)
        section = Section(merged(general, part.values), part.path) if part else found["default"]
        out[name] = Response(
            section.choice("at_block", ACTIONS),
            section.choice("at_flag", ACTIONS),
            section.number("min_severity", 0.0, 1.0),
        )
        section.end()
    return out


def read_overrides(top: Section) -> tuple[Override, ...]:
    """The optional list ``rules`` of ``top``.

    Raises:
        ConfigError: a value is out of range, or a key is unknown; names the place in the list.
    """
    if not top.has("rules"):
        return ()
    listed = top.values["rules"]
    if not isinstance(listed, list):
        raise ConfigError(top.key("rules"), listed, "a list of tables")
    out = []
    for i, item in enumerate(listed):
        section = Section(item, f"{top.key('rules')}[{i}]")
        tenant = section.text("tenant") if section.has("tenant") else None
        channel = section.choice("channel", CHANNELS) if section.has("channel") else None
        threat = section.choice("threat", CATEGORIES) if section.has("threat") else None
        deny = section.choice("effect", EFFECTS) == "deny"
        if not deny and tenant is None and channel is None and threat is None:
            raise ConfigError(
                section.path, item, "a tenant, a channel or a threat; this rule would let everything pass"
            )
        out.append(Override(deny, tenant, channel, threat, section.text("reason")))
        section.end()
    return tuple(out)
