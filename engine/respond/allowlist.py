"""The allowlist: findings that a person has looked at and lets pass, each with a date on which that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt

from aimds.detect.evidence import MAX_EVIDENCE
from aimds.errors import ConfigError
from aimds.respond.scored import Contents
from aimds.respond.settings import CATEGORIES, Section
from aimds.taxonomy import THREATS

OTHER_STRENGTH = 0.5
"""An entry for a pattern does not hold for a row in which another pattern is found this strong."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Entry:
    """Findings that pass: all that is given has to fit. ``pattern_id`` fits a row in which no other pattern is strong,
    ``sha256`` the one text with this hash. The entry holds up to and with the day ``expires``."""

    tenant: str | None
    threat: str | None
    pattern_id: str | None
    sha256: str | None
    expires: date
    approved_by: tuple[str, ...]
    reason: str

    def fits(self, row: int, threat: int, contents: Contents | None) -> bool:
        """Whether it covers ``row``, which belongs to its tenant and has the threat code ``threat``."""
        if self.threat is not None and THREATS[threat] != self.threat:
            return False
        if self.sha256 is None and self.pattern_id is None:
            return True
        if contents is None:
            return False
        if self.sha256 is not None and contents.digest(row) != self.sha256:
            return False
        return self.pattern_id is None or _alone(self.pattern_id, contents.evidence(row))


def _alone(pattern_id: str, evidence: Sequence[tuple[str, float]]) -> bool:
    if len(evidence) >= MAX_EVIDENCE:
        # There may be more, of another pattern, that was left out.
        return False
    found = any(one == pattern_id for one, _ in evidence)
    return found and all(one == pattern_id or strength < OTHER_STRENGTH for one, strength in evidence)


class Allowlist:
    """``entries``; `holds` says for which rows of a batch one is in force."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)

    def in_force(self, today: date) -> tuple[Entry, ...]:
        """The entries that have not expired."""
        return tuple(entry for entry in self.entries if today <= entry.expires)

    def holds(
        self,
        rows: npt.NDArray[np.int64],
        tenants: Sequence[str | None],
        threats: npt.NDArray[np.int8],
        others: npt.NDArray[np.bool_],
        contents: Contents | None,
        today: date,
    ) -> npt.NDArray[np.int64]:
        """Those of ``rows`` int64 (R,) that an entry lets pass.

        Args:
            rows: rows with a finding.
            tenants: R names.
            threats: int8 (R,) codes.
            others: bool (R,), whether a second threat type was found; then only an entry for that very text holds.
            contents: of the whole batch.
            today: decides which entries have expired.
        """
        entries = self.in_force(today)
        kept = [
            row
            for row, tenant, threat, other in zip(
                rows.tolist(), tenants, threats.tolist(), others.tolist(), strict=True
            )
            if any(
                entry.tenant in (None, tenant)
                and not (other and entry.sha256 is None)
                and entry.fits(row, threat, contents)
                for entry in entries
            )
        ]
        return np.array(kept, np.int64)


def read_allowlist(top: Section) -> Allowlist:
    """The optional list ``allowlist`` of ``top``.

    Raises:
        ConfigError: a value is missing or of the wrong kind, an entry names nothing that narrows it down, or a key is
            unknown; names the place in the list.
    """
    if not top.has("allowlist"):
        return Allowlist(())
    listed = top.values["allowlist"]
    if not isinstance(listed, list):
        raise ConfigError(top.key("allowlist"), listed, "a list of tables")
    return Allowlist([_entry(Section(item, f"{top.key('allowlist')}[{i}]")) for i, item in enumerate(listed)])


def _entry(section: Section) -> Entry:
    tenant = section.text("tenant") if section.has("tenant") else None
    threat = section.choice("threat", CATEGORIES) if section.has("threat") else None
    pattern_id = section.text("pattern_id") if section.has("pattern_id") else None
    sha256 = section.text("sha256").lower() if section.has("sha256") else None
    if sha256 is not None and (len(sha256) != 64 or not _HEX.issuperset(sha256)):
        raise ConfigError(section.key("sha256"), sha256, "the SHA-256 of a text, 64 hexadecimal digits")
    if threat is None and pattern_id is None and sha256 is None:
        raise ConfigError(section.path, dict(section.values), "a threat, a pattern_id or a sha256 beside the tenant")
    expected = "a date such as 2027-06-30"
    expires = section.any("expires", expected)
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise ConfigError(section.key("expires"), expires, expected)
    approved = section.any("approved_by", "a list of names")
    named = isinstance(approved, list) and all(isinstance(one, str) and one.strip() for one in approved)
    if not named or not approved or len(set(approved)) != len(approved):
        raise ConfigError(section.key("approved_by"), approved, "a list of different names, at least one")
    reason = section.text("reason")
    section.end()
    return Entry(tenant, threat, pattern_id, sha256, expires, tuple(approved), reason)
