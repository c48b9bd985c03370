"""Rows of ``data/signatures.toml``: read, checked, and written as the regular expressions that folded text needs."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any

import re2

from aimds.detect.normalize import Flag
from aimds.detect.rules.letters import loose
from aimds.errors import ArtefactError
from aimds.schema import CHANNELS
from aimds.taxonomy import THREATS

NATIVE = ("encoded", "suffix", "repetition")
"""Detectors in code that a signature may name."""
FIELDS = frozenset(
    (
        "id", "threat", "severity", "score", "target", "channels", "anchors", "flags", "regex", "native", "note",
        "match", "safe",
    )
)  # fmt: skip
NOT_IN_SYSTEM = frozenset(("direct_injection", "prompt_leak", "jailbreak"))
"""Threats that the operator's own voice cannot be: system prompts quote such orders to forbid them."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One row of the file; its head explains the fields. ``match`` and ``safe`` are examples for the tests."""

    id: str
    threat: str
    severity: float
    score: float
    raw: bool
    channels: frozenset[int]
    anchors: tuple[str, ...]
    flags: int
    regex: str
    native: str
    note: str
    match: tuple[str, ...]
    safe: tuple[str, ...]


def compiled(signature: Signature, name: str) -> Any:
    """The regular expression of ``signature``, for `search` on bytes.

    Raises:
        ArtefactError: it is broken; names the signature.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(signature.regex if signature.raw else loose(signature.regex), options)
    except re2.error as error:
        raise ArtefactError(
            name, f"signature {signature.id}: broken regex: {error.args[0].decode('utf-8', 'replace')}"
        ) from error


def parse(raw: bytes, name: str) -> tuple[Signature, ...]:
    """The signatures of a file's bytes; ``name`` is for the message.

    Raises:
        ArtefactError: the file is damaged; names the signature.
    """
    try:
        document = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(name, f"not TOML: {error}") from error
    return _signatures(document, name)


def _signatures(document: dict[str, Any], name: str) -> tuple[Signature, ...]:
    macros: dict[str, str] = document.get("macro", {})
    out: list[Signature] = []
    seen: set[str] = set()
    for position, row in enumerate(document.get("signature", ())):
        identity = str(row.get("id", f"number {position}"))
        if identity in seen:
            raise ArtefactError(name, f"signature {identity} is there twice")
        seen.add(identity)
        try:
            out.append(_signature(row, macros))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(name, f"signature {identity}: {error}") from error
    if not out:
        raise ArtefactError(name, "holds no signature")
    return tuple(out)


def _signature(row: dict[str, Any], macros: dict[str, str]) -> Signature:
    missing = {"id", "threat", "severity", "score", "note"} - set(row)
    if missing or set(row) - FIELDS:
        raise ValueError(f"missing {sorted(missing)}, unknown {sorted(set(row) - FIELDS)}")
    if row["threat"] not in THREATS:
        raise ValueError(f"unknown threat {row['threat']!r}; known: {', '.join(THREATS)}")
    anywhere = [c for c in CHANNELS if c != "system"] if row["threat"] in NOT_IN_SYSTEM else []
    channels = row.get("channels", anywhere)
    for value, known in ((row.get("target", "folded"), ("folded", "raw")), *((c, CHANNELS) for c in channels)):
        if value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    native = row.get("native", "")
    if native and (native not in NATIVE or "regex" in row or "anchors" in row):
        raise ValueError(f"native is {native!r}: expected one of {', '.join(NATIVE)}, without regex and anchors")
    if not native and not row.get("anchors") and not row.get("flags"):
        raise ValueError("neither anchors nor flags, so every text would be searched")
    if not native and (
        (row.get("target") == "raw" and not row.get("regex")) or (row.get("flags") and row.get("target") != "raw")
    ):
        raise ValueError("a raw target needs a regex, and flags need a raw target")
    if not native and not (row.get("match") and row.get("safe")):
        raise ValueError("examples are missing: match and safe")
    if not all(0 <= float(row[field]) <= 1 for field in ("severity", "score")):
        raise ValueError("severity and score lie in [0, 1]")
    regex = row.get("regex", "")
    # Twice, for macros inside macros.
    for _ in range(2):
        for macro, text in macros.items():
            regex = regex.replace(f"%{macro}%", text)
    flags = 0
    for flag in row.get("flags", ()):
        flags |= int(Flag[flag])
    return Signature(
        id=row["id"],
        threat=row["threat"],
        severity=float(row["severity"]),
        score=float(row["score"]),
        raw=row.get("target", "folded") == "raw",
        channels=frozenset(CHANNELS.index(c) for c in channels),
        anchors=tuple(row.get("anchors", ())),
        flags=flags,
        regex=regex,
        native=native,
        note=row["note"],
        match=tuple(row.get("match", ())),
        safe=tuple(row.get("safe", ())),
    )
