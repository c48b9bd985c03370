"""Rows of ``data/pii.toml``: kinds of personal data and secrets, and the patterns that find them, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import re2

from aimds import data
from aimds.detect.pii import checksums, formats, secrets
from aimds.detect.triage import FEATURES
from aimds.errors import ArtefactError

Check = Callable[[str], bool]

CHECKS: dict[str, Check] = {**checksums.CHECKS, **formats.CHECKS, **secrets.CHECKS}
"""Every check a pattern may name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of personal data or secret. ``secret`` kinds are redacted whatever the policy says."""

    name: str
    title: str
    secret: bool
    priority: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """One row ``[[pattern]]``, compiled; the head of ``data/pii.toml`` explains the fields."""

    kind: str
    regex: Any
    score: float
    needs: tuple[tuple[int, ...], ...] = ()
    anchors: tuple[str, ...] = ()
    folded: bool = False
    context: str = ""
    before: int = 32
    after: int = 0
    once: bool = False
    check: Check | None = None
    bare: float = 0.0
    unchecked: float = 0.0


@dataclass(frozen=True, slots=True)
class Definitions:
    """What one file defines; ``contexts`` are the words around a value, lower case, by name."""

    kinds: dict[str, Kind]
    contexts: dict[str, tuple[str, ...]]
    patterns: tuple[Pattern, ...]


def parse(raw: bytes, name: str) -> Definitions:
    """The definitions in a file's bytes; ``name`` is for the message.

    Raises:
        ArtefactError: the file is damaged; names the row.
    """
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(name, f"not TOML: {error}") from error
    known = kinds(document, name)
    contexts = {c: tuple(word.lower() for word in words) for c, words in document.get("context", {}).items()}
    patterns: list[Pattern] = []
    for number, row in enumerate(document.get("pattern", ()), 1):
        try:
            patterns.append(_pattern(row, known, contexts))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"pattern {number} ({row.get('kind', 'no kind')}): {error}") from error
    return Definitions(known, contexts, tuple(patterns))


def kinds(document: dict[str, Any], name: str) -> dict[str, Kind]:
    """The kinds of a parsed file.

    Raises:
        ArtefactError: a kind is incomplete or there twice.
    """
    out: dict[str, Kind] = {}
    for row in document.get("kind", ()):
        if row.get("name") in out or not {"name", "title", "priority"} <= set(row):
            raise ArtefactError(name, f"kind {row.get('name')} is there twice or lacks name, title or priority")
        out[row["name"]] = Kind(row["name"], row["title"], bool(row.get("secret", False)), int(row["priority"]))
    return out


def _pattern(row: dict[str, Any], known: dict[str, Kind], contexts: dict[str, tuple[str, ...]]) -> Pattern:
    unknown = set(row) - {field.name for field in fields(Pattern)}
    if unknown:
        raise ValueError(f"unknown field {', '.join(sorted(unknown))}")
    for field, allowed in (("kind", set(known)), ("check", set(CHECKS)), ("context", set(contexts))):
        if field in row and row[field] not in allowed:
            raise ValueError(f"unknown {field} {row[field]!r}; known: {', '.join(sorted(allowed))}")
    needs = row.get("needs", [])
    for alternative in needs:
        if set(alternative) - set(FEATURES):
            raise ValueError(f"unknown feature in needs; known: {', '.join(FEATURES)}")
    if not needs and not row.get("anchors"):
        raise ValueError("neither needs nor anchors, so every text would be searched")
    if not all(0 <= float(row.get(field, 0)) <= 1 for field in ("score", "bare", "unchecked")):
        raise ValueError("score, bare and unchecked lie in [0, 1]")
    prepared = {
        "regex": _compiled(row["regex"]),
        "needs": tuple(tuple(int(alternative.get(feature, 0)) for feature in FEATURES) for alternative in needs),
        "anchors": tuple(row.get("anchors", ())),
        "check": CHECKS[row["check"]] if "check" in row else None,
    }
    return Pattern(**(row | prepared))


def _compiled(regex: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        raise ValueError(f"broken regex: {error.args[0].decode('utf-8', 'replace')}") from error


KINDS: dict[str, Kind] = kinds(tomllib.loads(data.read_bytes("pii.toml").decode()), "pii.toml")
"""Every kind that is shipped, by name."""
