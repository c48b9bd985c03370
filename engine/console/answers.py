"""What the console says about the queue, as JSON: the work behind each route, without a word about who may ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from aimds.console import excerpts
from aimds.detect.meanings import Meanings, by_concepts, meanings_as_shipped
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.respond.review import Filter, Queue, Reviewer, ReviewError, document
from aimds.respond.review.allow import Proposals
from aimds.respond.session_findings import told as told_of_session
from aimds.verdicts import SESSIONS

DAYS = 90
"""How long an entry of the allowlist holds where no day is named."""
MOST_ITEMS = 200
_STATUS = {"missing": 404, "taken": 409, "state": 409, "same_person": 403, "reason": 422, "name": 422}


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What a change may say."""

    label: str = ""
    reason: str = ""
    scope: str = "text"
    pattern: str | None = None
    expires: date | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose sender is known: ``number`` stands in its path."""

    who: Reviewer
    now: datetime
    number: int
    query: Mapping[str, str]
    body: Body


Work = Callable[[Queue, Call], Any]


def items(queue: Queue, call: Call) -> Any:
    """A part of the list."""
    query = call.query
    wanted = Filter(
        query.get("state") or "open",
        query.get("severity") or None,
        query.get("tenant") or None,
        query.get("threat") or None,
        query.get("label") or None,
        query.get("search") or None,
        mine=query.get("mine") == "1",
        overdue=query.get("overdue") == "1",
    )
    limit, skip = _whole(query, "limit", 50, MOST_ITEMS), _whole(query, "skip", 0, 1 << 40)
    found = queue.page(call.who, call.now, wanted, limit=limit, skip=skip)
    counts = queue.counts(call.who, call.now)
    return {
        "total": queue.matching(call.who, call.now, wanted),
        "items": [document.item(one, call.now) for one in found],
        "counts": document.counts(counts),
        "now": document.time(call.now),
    }


def counts(queue: Queue, call: Call) -> Any:
    """How the queue stands."""
    return document.counts(queue.counts(call.who, call.now)) | {"now": document.time(call.now)}


def item(queue: Queue, call: Call) -> Any:
    """An item with all that is around it."""
    found = queue.get(call.who, call.number)
    raw, detail = found.case.text or b"", found.case.detail
    evidence, spans = detail.get("evidence") or [], detail.get("spans") or []
    shown = document.item(found, call.now, whole=True)
    told = meanings_as_shipped(evidence, raw)
    shown["detail"] = {**detail, "evidence": [_finding(raw, one, told) for one in evidence]}
    shown["named_by_session"] = found.case.named_by_session
    del shown["text"]
    return {
        "item": shown,
        "has_text": found.case.text is not None,
        "runs": excerpts.runs(raw, evidence, spans),
        "left_out": max(0, len(raw) - excerpts.MOST_BYTES),
        "session": [document.turn(one) for one in queue.session(call.who, call.number)],
        "history": [document.event(one) for one in queue.history(call.who, call.number)],
        "proposals": [document.proposal(one) for one in Proposals(queue.store).listed(call.who, item=call.number)],
    }


def _finding(raw: bytes, one: Mapping[str, Any], told: Meanings) -> dict[str, Any]:
    means = told.get((one.get("start", 0), one.get("end", 0))) if by_concepts(one) else None
    said = told_of_session(str(one.get("pattern_id"))) if one.get("detector") == SESSIONS else None
    words = excerpts.words(raw, one.get("start"), one.get("end")) if said is None else said
    return {**one, "words": words, "means": None if means is None else means.told}


def views(queue: Queue, call: Call) -> Any:
    """What the text of an item holds in encoded form."""
    return {"views": excerpts.views(queue.get(call.who, call.number).case.text or b"")}


def claim(queue: Queue, call: Call) -> Any:
    """Hold an item."""
    found = queue.claim(call.who, call.now, call.number)
    return {"item": None if found is None else document.item(found, call.now)}


def following(queue: Queue, call: Call) -> Any:
    """Hold the first item that is due and free."""
    found = queue.claim(call.who, call.now)
    return {"item": None if found is None else document.item(found, call.now)}


def release(queue: Queue, call: Call) -> Any:
    """Give an item back."""
    return {"item": document.item(queue.release(call.who, call.number, call.now), call.now)}


def decide(queue: Queue, call: Call) -> Any:
    """Say what an item is."""
    found = queue.decide(call.who, call.number, call.body.label, call.body.reason, call.now)
    return {"item": document.item(found, call.now)}


def undo(queue: Queue, call: Call) -> Any:
    """Take a decision back."""
    return {"item": document.item(queue.undo(call.who, call.number, call.body.reason, call.now), call.now)}


def proposals(queue: Queue, call: Call) -> Any:
    """What waits for a second person, or was answered."""
    listed = Proposals(queue.store).listed(call.who, call.query.get("state") or None)
    return {"proposals": [document.proposal(one) for one in listed]}


def propose(queue: Queue, call: Call) -> Any:
    """Ask that findings like an item's pass."""
    body, made = call.body, Proposals(queue.store)
    last = body.expires or call.now.date() + timedelta(DAYS)
    found = made.propose(call.who, call.number, body.scope, body.reason, last, call.now, pattern_id=body.pattern)
    return {"proposal": document.proposal(found)}


def approve(queue: Queue, call: Call) -> Any:
    """Agree to a proposal."""
    found = Proposals(queue.store).approve(call.who, call.number, call.body.reason, call.now)
    return {"proposal": document.proposal(found)}


def reject(queue: Queue, call: Call) -> Any:
    """Disagree with a proposal."""
    found = Proposals(queue.store).reject(call.who, call.number, call.body.reason, call.now)
    return {"proposal": document.proposal(found)}


ROUTES: dict[tuple[str, str], Work] = {
    ("GET", "counts"): counts,
    ("GET", "items"): items,
    ("GET", "items/#"): item,
    ("GET", "items/#/views"): views,
    ("POST", "items/#/claim"): claim,
    ("POST", "items/#/release"): release,
    ("POST", "items/#/decide"): decide,
    ("POST", "items/#/undo"): undo,
    ("POST", "items/#/propose"): propose,
    ("POST", "next"): following,
    ("GET", "proposals"): proposals,
    ("POST", "proposals/#/approve"): approve,
    ("POST", "proposals/#/reject"): reject,
}
"""Work by method and path below the API's; # is a number."""


def answer(work: Work, queue: Queue, call: Call) -> tuple[int, bytes]:
    """The status and the JSON of ``work``; what goes wrong is told, and ends this request alone."""
    try:
        return 200, json.dumps(work(queue, call), ensure_ascii=True, allow_nan=False).encode()
    except ReviewError as error:
        return refusal(_STATUS[error.kind], error.kind, str(error))
    except (DataError, OSError) as error:
        return refusal(503, "unavailable", str(error))
    except ConfigError as error:
        return refusal(422, "unprocessable", str(error))
    except (AimdsError, ValueError, TypeError, KeyError) as error:
        return refusal(500, "internal", f"{type(error).__name__}: {error}")


def refusal(status: int, kind: str, detail: str) -> tuple[int, bytes]:
    """An error body (RFC 9457)."""
    told = {"type": f"urn:aimds:problem:review-{kind}", "title": kind, "status": status, "detail": detail[:1000]}
    return status, json.dumps(told, ensure_ascii=True).encode()


def _whole(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    value = query.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 16 and int(value) <= most):
        raise ConfigError(name, value[:40], f"a whole number up to {most}")
    return int(value)
