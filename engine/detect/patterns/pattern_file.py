"""The files of the pattern bank: one TOML file for each threat type, ``threat`` and a list of ``pattern``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

from aimds.errors import ArtefactError
from aimds.taxonomy import CODES

FIELDS = {"id": str, "lang": str, "severity": float, "note": str, "text": str}
MIN_WORDS, MAX_WORDS, MAX_CHARACTERS = 4, 14, 30
"""Length of a pattern; characters where the script puts no spaces."""
UNSPACED = ("zh", "ja", "ko")
THREATS = tuple(code for code in CODES if code != "none")
"""What a pattern may stand for."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One text of the bank. ``severity`` in [0, 1]; ``note`` names the family for a reader."""

    id: str
    threat: str
    severity: float
    lang: str
    note: str
    text: str


def parse(file: object, content: bytes) -> list[Pattern]:
    """The patterns in the bytes of one TOML file, ``file`` naming it in errors.

    Raises:
        ArtefactError: not TOML, or an entry that does not fit; its id is named.
    """
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(file, f"cannot be read: {error}") from error
    threat, entries = table.get("threat"), table.get("pattern")
    if threat not in THREATS:
        raise ArtefactError(file, f"threat = {threat!r}, expected one of {', '.join(THREATS)}")
    if not isinstance(entries, list) or not entries:
        raise ArtefactError(file, "has no patterns")
    return [_entry(file, place, entry, str(threat)) for place, entry in enumerate(entries)]


def check(pattern: Pattern) -> str:
    """What is wrong with a pattern, put as what was expected; empty where nothing is."""
    if pattern.threat not in THREATS:
        return f"a threat among {', '.join(THREATS)}, not {pattern.threat!r}"
    if not 0 <= pattern.severity <= 1:
        return f"a severity in [0, 1], not {pattern.severity}"
    words = len(pattern.text.split())
    if pattern.lang in UNSPACED:
        if not MIN_WORDS <= len(pattern.text) <= MAX_CHARACTERS:
            return f"a text of {MIN_WORDS} to {MAX_CHARACTERS} characters"
    elif not MIN_WORDS <= words <= MAX_WORDS:
        return f"a text of {MIN_WORDS} to {MAX_WORDS} words"
    return ""


def _entry(file: object, place: int, entry: Any, threat: str) -> Pattern:
    name = entry.get("id", f"number {place}") if isinstance(entry, dict) else f"number {place}"
    if not isinstance(entry, dict) or entry.keys() != FIELDS.keys():
        raise ArtefactError(file, f"pattern {name}: expected the fields {', '.join(FIELDS)}")
    for field, kind in FIELDS.items():
        if not isinstance(entry[field], (int, float) if kind is float else kind) or isinstance(entry[field], bool):
            raise ArtefactError(file, f"pattern {name}: {field} = {entry[field]!r}, expected {kind.__name__}")
    pattern = Pattern(threat=threat, **{**entry, "severity": float(entry["severity"])})
    problem = check(pattern)
    if problem:
        raise ArtefactError(file, f"pattern {name}: expected {problem}")
    return pattern
