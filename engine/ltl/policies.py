"""The file of policies over sessions: formulas with a sentence each, and examples that must hold and must fail."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aimds import data
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.ltl.automaton import Automaton, automaton
from aimds.ltl.core import FragmentError
from aimds.ltl.examples import Steps, read_steps
from aimds.ltl.formula import Formula, atoms, is_timed, plain
from aimds.ltl.monitor import Monitor
from aimds.ltl.parser import parse
from aimds.ltl.traces import MAX_EVENTS

FORMAT: Final = 1
SHIPPED: Final = "policies.toml"
KEYS: Final = ("says", "formula", "holds", "fails", "threat")
NAMED: Final = ("multi_turn", "none")
"""Threat types that a policy may give a row that breaks it and shows none by itself."""


class PolicyError(AimdsError):
    """A policy's formula cannot be used; ``cause`` is the error of the formula."""

    def __init__(self, name: str, cause: AimdsError) -> None:
        self.name, self.cause = name, cause
        super().__init__(f"policies.{name}.formula: {cause}")


@dataclass(frozen=True, slots=True)
class Example:
    """One example: where it stands in the file, its text and steps, and whether the policy must hold on it."""

    key: str
    text: str
    steps: Steps
    holds: bool


@dataclass(frozen=True, slots=True, eq=False)
class TracePolicy:
    """One policy; ``automaton`` is None where only progression can judge it. ``threat``, one of NAMED, is what a row
    is called that breaks it and shows no threat by itself."""

    name: str
    says: str
    text: str
    formula: Formula
    automaton: Automaton | None
    examples: tuple[Example, ...]
    threat: str = NAMED[0]

    @property
    def timed(self) -> bool:
        return is_timed(self.formula)

    def wrong(self) -> Iterator[Example]:
        """The examples that come out otherwise than they say."""
        for example in self.examples:
            monitor = Monitor(self.formula)
            for time, events in example.steps:
                verdict = monitor.step(events, time)
            if verdict.endswith("true") != example.holds:
                yield example


@dataclass(frozen=True, slots=True, eq=False)
class TracePolicies:
    """All policies of a file. ``version`` is the file's own and a hash of all that it says, which is ``values``."""

    policies: tuple[TracePolicy, ...]
    version: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | None = None) -> TracePolicies:
        """The policies in the TOML file ``path``, or the shipped ones.

        Raises:
            DataError: the file cannot be read or is not TOML.
            ConfigError: a key is unknown, missing or of the wrong kind; names it and the file.
            PolicyError: a formula cannot be read or compiled.
        """
        try:
            content = data.read_bytes(SHIPPED) if path is None else path.read_bytes()
            values = tomllib.loads(content.decode())
        except OSError as error:
            raise DataError(path, f"cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"is not TOML: {error}") from error
        try:
            return cls.of(values)
        except ConfigError as error:
            raise error.of(path or SHIPPED) from None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TracePolicies:
        """The policies in the content of a file; raises as `load`."""
        for key in values:
            if key not in ("format", "version", "policies"):
                raise ConfigError(key, values[key], "no such key; known here: format, policies, version")
        if type(values.get("format")) is not int or values["format"] != FORMAT:
            raise ConfigError("format", values.get("format"), f"{FORMAT}, the only format this version reads")
        declared, tables = values.get("version"), values.get("policies")
        if not isinstance(declared, str) or not declared.strip():
            raise ConfigError("version", declared, "a text that is not empty")
        if not isinstance(tables, Mapping) or not tables:
            raise ConfigError("policies", tables, "a table with a table for each policy")
        made = tuple(_policy(name, table) for name, table in tables.items())
        names = {name for policy in made for name in atoms(policy.formula)}
        if len(names) > MAX_EVENTS:
            raise ConfigError(
                "policies", f"{len(names)} events", f"formulas with at most {MAX_EVENTS} different events"
            )
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return cls(made, f"{declared}+{hashlib.sha256(canonical.encode()).hexdigest()[:12]}", values)

    @property
    def names(self) -> tuple[str, ...]:
        """The events that the formulas speak of."""
        return tuple(dict.fromkeys(name for policy in self.policies for name in atoms(policy.formula)))

    @property
    def unnamed(self) -> frozenset[str]:
        """The policies that say nothing of manipulation."""
        return frozenset(policy.name for policy in self.policies if policy.threat == "none")

    def __getitem__(self, name: str) -> TracePolicy:
        for policy in self.policies:
            if policy.name == name:
                return policy
        known = ", ".join(policy.name for policy in self.policies)
        raise ConfigError("policy", name, f"one of {known}")


def _policy(name: str, table: Any) -> TracePolicy:
    key = f"policies.{name}"
    if not plain(name):
        raise ConfigError(key, name, "a name of lower-case letters, digits and _")
    if not isinstance(table, Mapping):
        raise ConfigError(key, table, "a table")
    for one in table:
        if one not in KEYS:
            raise ConfigError(f"{key}.{one}", table[one], "no such key; known here: " + ", ".join(KEYS))
    for one in ("says", "formula"):
        if not isinstance(table.get(one), str) or not table[one].strip():
            raise ConfigError(f"{key}.{one}", table.get(one), "a text that is not empty")
    threat = table.get("threat", NAMED[0])
    if threat not in NAMED:
        raise ConfigError(f"{key}.threat", threat, "one of " + ", ".join(NAMED))
    examples = tuple(example for kind in ("holds", "fails") for example in _examples(key, kind, table.get(kind)))
    text = table["formula"].strip()
    try:
        formula = parse(text)
        Monitor(formula)
        try:
            made = automaton(formula)
        except FragmentError:
            made = None
    except AimdsError as error:
        raise PolicyError(name, error) from error
    return TracePolicy(name, table["says"], text, formula, made, examples, threat)


def _examples(key: str, kind: str, values: Any) -> Iterator[Example]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{key}.{kind}", values, f"a list of at least one example that {kind}")
    for i, text in enumerate(values):
        place = f"{key}.{kind}[{i}]"
        if not isinstance(text, str):
            raise ConfigError(place, text, "a text of steps")
        try:
            steps = read_steps(text)
        except AimdsError as error:
            raise ConfigError(place, text, f"steps parted by ';' ({error})") from error
        yield Example(place, text, steps, kind == "holds")
