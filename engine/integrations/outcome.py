"""What a verdict means for a text that is on its way: it passes, it passes changed, or it is held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aimds.respond.mitigate import redact
from aimds.respond.policy import Policy

CHANGING = ("redact", "sandwich")
Spans = list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``text`` is what may be passed on, None where nothing may; ``changed`` where it is not what came."""

    text: str | None
    changed: bool
    action: str
    threat_type: str
    score: float | None
    status: str
    error: str | None
    request_id: str
    channel: str
    policy_version: str

    @property
    def passes(self) -> bool:
        """Whether something may be passed on."""
        return self.text is not None

    @property
    def reason(self) -> str:
        """Why it does not pass, in a few words that repeat nothing of the text."""
        found = self.error or self.status if self.threat_type == "none" else self.threat_type
        return f"action {self.action}: {found}"


def passes(policy: Policy, verdict: Mapping[str, Any]) -> bool:
    """Whether the playbook of ``policy`` forwards a text with ``verdict``."""
    return policy.playbook.forwards(verdict["action"])


def spans(policy: Policy, verdict: Mapping[str, Any]) -> Spans:
    """What ``policy`` takes out of the text of ``verdict``: start and end in bytes, and kind."""
    if verdict["action"] not in CHANGING:
        return []
    found = ((span["start"], span["end"], span["kind"]) for span in verdict["spans"])
    return [span for span in found if span[2] in policy.redacted]


def outcome(policy: Policy, text: str, verdict: Mapping[str, Any], *, wrap: bool = True) -> Outcome:
    """What becomes of ``text`` after its ``verdict``, with the fields of VERDICTS.

    Args:
        policy: the one that the verdict was given under.
        wrap: False where the text may not stand between reminders, since it is no prompt; what is to be taken out of
            it still is.
    """
    given: str | None = text
    if not passes(policy, verdict):
        given = None
    elif verdict["mitigated_text"] is not None:
        given = verdict["mitigated_text"]
        if verdict["action"] == "sandwich" and not wrap:
            given = redact(
                text.encode(), spans(policy, verdict), keep_last4=policy.keep_last4, keep_shape=policy.keep_shape
            )
    return Outcome(
        text=given,
        changed=given is not None and given != text,
        action=verdict["action"],
        threat_type=verdict["threat_type"],
        score=verdict["score"],
        status=verdict["status"],
        error=verdict["error"],
        request_id=verdict["request_id"],
        channel=verdict["channel"],
        policy_version=verdict["policy_version"],
    )


def sound(text: str) -> str:
    """``text`` with U+FFFD for halves of surrogate pairs, which are no characters and cannot be UTF-8."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
