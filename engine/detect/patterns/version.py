"""One version of a pattern store: what changed, as canonical JSON that names the SHA-256 of the version before it.

A version is a JSON document with sorted keys, no spaces and one final newline, so equal changes have equal bytes. The
states follow from the changes alone: replaying versions 0 to N gives the patterns of version N.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aimds.detect.patterns.pattern_file import Pattern, check

FORMAT = 1
NO_HASH = "0" * 64
MAX_BYTES = 64 << 20
MAX_LIMIT = 0.6
"""No pattern looks farther than this normalised distance (`similarity.MAX_REACH`)."""
_PATTERN = {"id": str, "threat": str, "severity": float, "lang": str, "note": str, "text": str, "origin": str}
_FIELDS: dict[str, Any] = {
    "added": list, "author": str, "format": int, "limits": dict, "note": str, "number": int, "previous": str,
    "removed": list, "restores": (int, type(None)), "store": str, "time": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A pattern of the store; ``origin`` says where its text comes from, for a reader."""

    pattern: Pattern
    origin: str


@dataclass(frozen=True, slots=True)
class Change:
    """What one version does, in this order: go back to the state of version ``restores``, take out the ids
    ``removed`` (shipped ones too), put in ``added``, set the thresholds ``limits`` by id."""

    added: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    restores: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The store at one version: its own patterns by id, shipped ids that are taken out, thresholds by id."""

    added: Mapping[str, Entry] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)

    def after(self, change: Change) -> State:
        """The state that ``change``, one without ``restores``, makes of this one."""
        added, gone, limits = dict(self.added), set(self.removed), dict(self.limits)
        for name in change.removed:
            if added.pop(name, None) is None:
                gone.add(name)
            limits.pop(name, None)
        added |= {entry.pattern.id: entry for entry in change.added}
        return State(added, frozenset(gone), limits | dict(change.limits))


@dataclass(frozen=True, slots=True)
class Version:
    """A version as its document says. ``time`` is ISO 8601, UTC; ``previous`` the hash of the document before; ``hash``
    the SHA-256 of this one."""

    number: int
    store: str
    time: str
    author: str
    note: str
    previous: str
    change: Change
    hash: str

    @property
    def name(self) -> str:
        """Number and the beginning of the hash, for people."""
        return f"{self.number}-{self.hash[:12]}"


def canonical(value: Any) -> bytes:
    """``value`` as JSON that does not depend on who writes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def encode(version: Version) -> bytes:
    """The document of ``version``; its ``hash`` is not in it."""
    change = version.change
    return canonical(
        {
            "added": [{**asdict(entry.pattern), "origin": entry.origin} for entry in change.added],
            "author": version.author,
            "format": FORMAT,
            "limits": dict(change.limits),
            "note": version.note,
            "number": version.number,
            "previous": version.previous,
            "removed": list(change.removed),
            "restores": change.restores,
            "store": version.store,
            "time": version.time,
        }
    )


def decode(content: bytes) -> Version:
    """The version in the bytes of a document.

    Raises:
        ValueError: it is not byte for byte what `encode` writes; says what is wrong.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"has {len(content)} bytes, more than {MAX_BYTES}")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != _FIELDS.keys():
        raise ValueError("is no version of a pattern store")
    if fields["format"] != FORMAT:
        raise ValueError(f"has format {fields['format']!r}, this program reads {FORMAT}")
    for name, kind in _FIELDS.items():
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise ValueError(f"{name} = {fields[name]!r} does not fit")
    removed, limits = fields["removed"], fields["limits"]
    if not all(isinstance(name, str) for name in removed):
        raise ValueError("removed holds what is no id")
    for name, limit in limits.items():
        if not isinstance(limit, float) or not 0 <= limit <= MAX_LIMIT:
            raise ValueError(f"the threshold {limit!r} of pattern {name} is not in [0, {MAX_LIMIT}]")
    change = Change(tuple(map(_entry, fields["added"])), tuple(removed), limits, fields["restores"])
    texts = {name: fields[name] for name in ("store", "time", "author", "note", "previous")}
    digest = hashlib.sha256(content).hexdigest()
    version = Version(number=fields["number"], change=change, hash=digest, **texts)
    if encode(version) != content:
        raise ValueError("is not written as this program writes it")
    return version


def _entry(fields: object) -> Entry:
    if not isinstance(fields, dict) or fields.keys() != _PATTERN.keys():
        raise ValueError("added holds what is no pattern")
    for name, kind in _PATTERN.items():
        if not isinstance(fields[name], kind):
            raise ValueError(f"pattern {fields['id']}: {name} = {fields[name]!r} does not fit")
    entry = Entry(Pattern(**{name: fields[name] for name in _PATTERN if name != "origin"}), fields["origin"])
    problem = check(entry.pattern)
    if problem:
        raise ValueError(f"pattern {entry.pattern.id}: expected {problem}")
    return entry
