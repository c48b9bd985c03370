"""What two people agree to let pass: one proposes an entry from an item, another one approves it.

An approved entry is a table of the policy's allowlist; it takes effect when somebody puts it into a policy file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from aimds.errors import ConfigError
from aimds.respond.review import rows
from aimds.respond.review.items import Item, Reviewer, ReviewError, micros, moment_of, reason_of
from aimds.respond.review.store import Base, Row, Store
from aimds.verdicts import SESSIONS

SCOPES = ("text", "pattern", "threat")
STATES = ("open", "approved", "rejected", "withdrawn")


@dataclass(frozen=True, slots=True)
class Proposal:
    """``tenant``, ``threat``, ``pattern_id`` and ``sha256`` of the text narrow down what passes, up to and with
    ``expires``. ``answered_by`` approved, rejected or withdrew it, for the reason ``answer``."""

    id: int
    item: int
    tenant: str | None
    threat: str | None
    pattern_id: str | None
    sha256: str | None
    expires: date
    reason: str
    proposed_by: str
    proposed_at: datetime
    state: str
    answered_by: str | None
    answered_at: datetime | None
    answer: str | None


class Proposals:
    """Proposals in ``store``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def propose(
        self,
        who: Reviewer,
        item: int,
        scope: str,
        reason: str,
        expires: date,
        now: datetime,
        *,
        pattern_id: str | None = None,
    ) -> Proposal:
        """Ask that findings like that of ``item`` pass: its very text, a pattern it was caught by, or its threat type;
        always for its tenant alone where it has one.

        Raises:
            ReviewError: missing, not decided as benign, the same was proposed already, or no reason.
            ConfigError: a scope that is not known or does not fit the item, or a day that is not to come.
        """
        told = reason_of(reason, f"item {item}")
        if scope not in SCOPES:
            raise ConfigError("scope", scope, "one of " + ", ".join(SCOPES))
        if expires <= now.date():
            raise ConfigError("expires", expires.isoformat(), "a day to come")
        with self._store.change() as base:
            found = rows.found(base, who, item)
            if found.label != "benign":
                raise ReviewError("state", f"item {item}", "is not decided as benign; decide it first")
            narrowed = _narrowed(found, scope, pattern_id)
            entry = {"tenant": found.case.tenant, **narrowed}
            condition, values = rows.same(**entry)
            same = base.one(
                f"SELECT id FROM proposals WHERE {condition} AND state IN ('open', 'approved') AND expires >= ?",
                (*values, expires.isoformat()),
            )
            if same is not None:
                raise ReviewError("state", f"item {item}", f"the same is proposed already: proposal {same['id']}")
            made = base.insert(
                f"INSERT INTO proposals (item, {', '.join(entry)}, expires, reason, proposed_by, proposed_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (item, *entry.values(), expires.isoformat(), told, who.name, micros(now)),
            )
            rows.note(base, item, now, who.name, "proposed", None, told)
            return _found(base, who, made)

    def approve(self, who: Reviewer, proposal: int, reason: str, now: datetime) -> Proposal:
        """Agree: the entry is one from now on.

        Raises:
            ReviewError: missing, answered already, ``who`` proposed it, its item is no longer benign, or no reason.
        """
        return self._answer(who, proposal, "approved", reason, now)

    def reject(self, who: Reviewer, proposal: int, reason: str, now: datetime) -> Proposal:
        """Disagree; who proposed it may take it back this way.

        Raises:
            ReviewError: missing, answered already, or no reason.
        """
        return self._answer(who, proposal, "rejected", reason, now)

    def _answer(self, who: Reviewer, proposal: int, state: str, reason: str, now: datetime) -> Proposal:
        told = reason_of(reason, f"proposal {proposal}")
        with self._store.change() as base:
            before = _found(base, who, proposal)
            if before.state != "open":
                raise ReviewError("state", f"proposal {proposal}", f"is {before.state} already")
            own = who.is_same(before.proposed_by)
            if state == "approved" and own:
                raise ReviewError("same_person", f"proposal {proposal}", "needs another person than who proposed it")
            if state == "approved" and before.expires < now.date():
                raise ReviewError("state", f"proposal {proposal}", f"has expired on {before.expires}")
            final = "withdrawn" if own else state
            base.execute(
                "UPDATE proposals SET state = ?, answered_by = ?, answered_at = ?, answer = ? WHERE id = ?",
                (final, who.name, micros(now), told, proposal),
            )
            rows.note(base, before.item, now, who.name, final, None, told)
            return _found(base, who, proposal)

    def listed(self, who: Reviewer, state: str | None = None, item: int | None = None) -> list[Proposal]:
        """Proposals that ``who`` may see, oldest first."""
        if state is not None and state not in STATES:
            raise ConfigError("state", state, "one of " + ", ".join(STATES))
        condition, values = rows.scope(who)
        for name, value in (("state", state), ("item", item)):
            if value is not None:
                condition += f" AND {name} = ?"
                values.append(value)
        with self._store.read() as base:
            return [_of(row) for row in base.execute(f"SELECT * FROM proposals WHERE {condition} ORDER BY id", values)]


def _narrowed(item: Item, scope: str, pattern_id: str | None) -> dict[str, str | None]:
    out: dict[str, str | None] = {"threat": None, "pattern_id": None, "sha256": None}
    if scope == "text":
        if item.case.text is None:
            raise ConfigError("scope", scope, "pattern or threat: the text of this item is not there any more")
        out["sha256"] = hashlib.sha256(item.case.text).hexdigest()
    elif scope == "threat":
        if item.case.threat_type in ("none", "harmful_request"):
            raise ConfigError("scope", scope, f"text or pattern: this item has the threat type {item.case.threat_type}")
        if item.case.named_by_session:
            raise ConfigError("scope", scope, "nothing: only the session of this item is unusual, not its text")
        out["threat"] = item.case.threat_type
    else:
        own = (one for one in item.case.detail.get("evidence") or () if one["detector"] != SESSIONS)
        known = sorted({one["pattern_id"] for one in own})
        if pattern_id is None and len(known) == 1:
            pattern_id = known[0]
        if pattern_id not in known:
            raise ConfigError(
                "pattern", pattern_id, "one of " + (", ".join(known) or "none: this item has no evidence")
            )
        out["pattern_id"] = pattern_id
    return out


def _found(base: Base, who: Reviewer, proposal: int) -> Proposal:
    condition, values = rows.scope(who)
    row = None
    if 0 < proposal < 1 << 63:
        row = base.one(f"SELECT * FROM proposals WHERE id = ? AND {condition}", [proposal, *values])
    if row is None:
        raise ReviewError("missing", f"proposal {proposal}", "there is none with this id")
    return _of(row)


def _of(row: Row) -> Proposal:
    plain = dict(row)
    plain["expires"] = date.fromisoformat(row["expires"])
    plain["proposed_at"] = moment_of(row["proposed_at"])
    plain["answered_at"] = None if row["answered_at"] is None else moment_of(row["answered_at"])
    return Proposal(**plain)


def toml(proposals: Iterable[Proposal]) -> str:
    """The approved ones of ``proposals`` as tables ``[[allowlist]]`` of a policy file."""
    out = []
    for one in proposals:
        if one.state != "approved" or one.answered_by is None:
            continue
        lines = ["[[allowlist]]"]
        for name in ("tenant", "threat", "pattern_id", "sha256"):
            value = getattr(one, name)
            if value is not None:
                lines.append(f"{name} = {_quoted(value)}")
        approved = ", ".join(map(_quoted, (one.proposed_by, one.answered_by)))
        lines += [f"expires = {one.expires.isoformat()}", f"approved_by = [{approved}]"]
        lines.append(f"reason = {_quoted(one.reason)}")
        out.append("\n".join(lines) + "\n")
    return "\n".join(out)


def _quoted(value: str) -> str:
    # A JSON string is a TOML string but for DEL, and for the halves of a character beyond U+FFFF.
    plain = json.dumps(value.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), ensure_ascii=False)
    return plain.replace("\x7f", "\\u007f")
