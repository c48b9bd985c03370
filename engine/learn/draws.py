"""Drawn actions in an audit log, and what their sessions did next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from aimds.errors import DataError
from aimds.record import segments
from aimds.record.chain import Record, decode
from aimds.respond.learned import FLOORS
from aimds.respond.sessions import QUARANTINED, RATE_LIMITED
from aimds.schema import ACTIONS
from aimds.taxonomy import CODES

NEXT: Final = ("broken", "repeated", "rephrased", "other", "quiet", "gone")
"""What a session did within `WINDOW_S` of a draw and its next `TURNS` recorded turns, what tells most first: broke a
policy over sessions (such as a tool called after an injection), was caught again with the same threat type in the same
words or in others, was caught with another one, went on without being caught, was not recorded again."""
WINDOW_S: Final = 3600.0
TURNS: Final = 10
_HELD = {QUARANTINED, RATE_LIMITED}
_IDS = ("tenant", "request_id", "session_id", "identity", "text")
_WORDS = ("threat_type", "action", "own", "drawn")
Progress = Callable[[int], None]
Say = Callable[[str], None]
Key = tuple[str, str]


@dataclass(slots=True)
class Draw:
    """One verdict whose action was drawn. ``key``: tenant and request id · ``session``, ``sender``: None where the
    record has none · ``at``: seconds since 1970 · ``own``, ``action``, ``threat``: codes · ``then``: one of NEXT, None
    where the session has none, or its window was not over when the log ended."""

    key: Key
    session: str | None
    sender: str | None
    at: float
    threat: int
    own: int
    action: int
    propensity: float
    violations: frozenset[str]
    text: str | None
    then: str | None = None
    turns: int = 0


def read(log: Path, progress: Progress | None = None, say: Say = lambda line: None) -> list[Draw]:
    """The draws in the audit log ``log``, oldest first, but those of an erased subject, and those whose request id its
    tenant gave to more than one verdict: what is known of such an id is known of none of them.

    Reads the log twice, in the memory of its draws. A record of a verdict that no gateway writes is left out, and
    ``say`` is told its file and line.

    Raises:
        DataError: a file cannot be read, or is damaged.
    """
    # The second reading meets all forged records, and tells of them.
    candidates = _verdicts(log, b'"propensity":', progress, lambda line: None)
    found = {one.seq: _draw(one) for one in candidates if _is_drawn(one.body)}
    count = Counter({draw.key: 0 for draw in found.values()})
    watched: dict[tuple[str, str], list[Draw]] = {}
    last = 0.0
    for record in _verdicts(log, b'"kind":"verdict"', progress, say):
        key, session = _key(record), _text(record, "session_id")
        last = max(last, _seconds(record))
        if key in count:
            count[key] += 1
        if session is None:
            continue
        place = key[0], session
        # Each is looked at for few turns, so that no session is long in the way.
        open_ = [draw for draw in watched.pop(place, ()) if _follow(draw, record)]
        if record.seq in found:
            open_.append(found[record.seq])
        if open_:
            watched[place] = open_
    for draw in found.values():
        is_over = draw.session is not None and last > draw.at + WINDOW_S
        draw.then = (draw.then or "gone") if is_over else None
    return [draw for draw in found.values() if count[draw.key] == 1]


def _follow(draw: Draw, record: Record) -> bool:
    """Note what ``record``, the next of its session, says of ``draw``; whether the one after it may say more."""
    if _seconds(record) > draw.at + WINDOW_S:
        return False
    draw.turns += 1
    then = _said(draw, record)
    if draw.then is None or NEXT.index(then) < NEXT.index(draw.then):
        draw.then = then
    return draw.turns < TURNS


def _said(draw: Draw, record: Record) -> str:
    body = record.body
    if _violations(body) - draw.violations - _HELD:
        return "broken"
    threat = CODES.get(str(body.get("threat_type")), 0)
    if body.get("action") == "allow" or not threat:
        # A turn that is stopped since its session is held says nothing by itself.
        return "quiet"
    if threat != draw.threat:
        return "other"
    text = _text(record, "text")
    return "repeated" if text is not None and text == draw.text else "rephrased"


def _verdicts(log: Path, mark: bytes, progress: Progress | None, say: Say) -> Iterator[Record]:
    """The verdicts whose line holds ``mark`` and whose subject was not erased."""
    files = [*segments.closed(log), *([log] if log.exists() else [])]
    if not files:
        raise DataError(log, "cannot be read: there is no such log")
    for file in files:
        try:
            with file.open("rb") as opened:
                for number, line in enumerate(segments.lines(opened), 1):
                    if progress is not None and number % 10_000 == 0:
                        progress(number)
                    if mark not in line or not line.endswith(b"\n"):
                        continue
                    try:
                        record = decode(line)
                    except ValueError as error:
                        problem = f"is damaged at line {number}: {error}; see aimds audit verify"
                        raise DataError(file, problem) from None
                    if record.kind != "verdict" or record.private is None:
                        continue
                    odd = _odd(record)
                    if odd is None:
                        yield record
                    else:
                        say(f"{file}: line {number} is no record of a verdict and is left out: {odd}")
        except OSError as error:
            raise DataError(file, f"cannot be read: {error.strerror}") from error


def _odd(record: Record) -> str | None:
    """What no gateway writes into the record of a verdict, None where all of it may be."""
    try:
        zone = datetime.fromisoformat(record.time).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        return f"time = {record.time[:40]!r}, expected a time with its zone"
    for names, values in ((_IDS, record.private or {}), (_WORDS, record.body)):
        for name in names:
            if not isinstance(values.get(name, ""), str | None):
                return f"{name} = {str(values[name])[:40]}, expected text"
    return None


def _draw(record: Record) -> Draw:
    body = record.body
    return Draw(
        key=_key(record),
        session=_text(record, "session_id"),
        sender=_text(record, "identity"),
        at=_seconds(record),
        threat=CODES[body["threat_type"]],
        own=ACTIONS.index(body["own"]),
        action=ACTIONS.index(body["drawn"]),
        propensity=float(body["propensity"]),
        violations=_violations(body),
        text=_text(record, "text"),
    )


def _seconds(record: Record) -> float:
    return datetime.fromisoformat(record.time).timestamp()


def _is_drawn(body: dict[str, Any]) -> bool:
    chance = body.get("propensity")
    names = body.get("own") in FLOORS and body.get("drawn") in FLOORS and body.get("threat_type") in CODES
    return names and isinstance(chance, (int, float)) and 0 < chance <= 1


def _key(record: Record) -> Key:
    private = record.private or {}
    return private.get("tenant") or "", str(private.get("request_id"))


def _text(record: Record, name: str) -> str | None:
    value = (record.private or {}).get(name)
    return None if value is None else str(value)


def _violations(body: dict[str, Any]) -> frozenset[str]:
    listed = body.get("violations")
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()
