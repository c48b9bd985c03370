"""The APIs that are screened: which paths they have, and what an error looks like to their clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from aimds.gateway.problem import Problem
from aimds.integrations.proxy.texts import encoded

HELD = "content_filter"
"""Code of the error of a text that is held back."""
_KINDS = {
    "openai": {400: "invalid_request_error", 403: "permission_error", 413: "invalid_request_error"}
    | {415: "invalid_request_error", 429: "rate_limit_error"},
    "anthropic": {400: "invalid_request_error", 403: "permission_error", 413: "request_too_large"}
    | {415: "invalid_request_error", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"},
}
_OTHERS = {"openai": "server_error", "anthropic": "api_error"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error for a client: ``status``, a ``code`` for programs and a ``message`` that repeats nothing of a text."""

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """``name`` is openai or anthropic, whose errors its own are like; ``route`` is its name in metrics and records."""

    name: str
    route: str

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        """The error body."""
        kind = _KINDS[self.name].get(refusal.status, _OTHERS[self.name])
        if self.name == "anthropic":
            message = refusal.message
            return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
        return {"error": {"message": refusal.message, "type": kind, "param": None, "code": refusal.code}}

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        """The error as the last event of a stream."""
        if self.route == "responses":
            said = {"type": "error", "code": refusal.code, "message": refusal.message, "param": None}
            return b"event: error\ndata: " + encoded(said) + b"\n\n"
        name = b"event: error\n" if self.name == "anthropic" else b""
        return name + b"data: " + encoded(self.error(refusal, request_id)) + b"\n\n"


CHAT, MESSAGES = Api("openai", "chat_completions"), Api("anthropic", "messages")
COMPLETIONS, RESPONSES = Api("openai", "completions"), Api("openai", "responses")


def api_of(method: str, path: bytes) -> Api | None:
    """The API that ``path`` at the upstream, without its query, belongs to; None where it is not screened. A server may
    read an unusual spelling of a path as the usual one, so every such spelling counts.

    What a server has stored, read again with GET or given back by a change, is screened as its answer was."""
    method, parts = method.upper(), folded(path)
    if method == "GET":
        return CHAT if "completions" in parts else RESPONSES if "responses" in parts else None
    if method != "POST":
        return None
    if parts[-2:] == ["v1", "messages"]:
        return MESSAGES
    if "completions" in parts:
        return COMPLETIONS if parts[-1] == "completions" and parts[-2:-1] != ["chat"] else CHAT
    return RESPONSES if "responses" in parts else None


def folded(path: bytes) -> list[str]:
    """The parts of ``path`` as the most lenient server would read them."""
    for _ in range(3):
        path = unquote_to_bytes(path)
    parts: list[str] = []
    for part in path.decode("latin-1").replace("\\", "/").lower().split("/"):
        part = part.partition(";")[0].strip()
        if part == "..":
            parts[-1:] = []
        elif part not in ("", "."):
            parts.append(part)
    return parts


def asked(headers: list[tuple[bytes, bytes]]) -> Api:
    """The API whose errors a client of another path most likely reads."""
    return MESSAGES if any(name.lower() == b"anthropic-version" for name, _ in headers) else CHAT


def refusal_of(problem: Problem) -> Refusal:
    """What a refusal of the queue means to a client."""
    return Refusal(problem.status, problem.kind.replace("-", "_"), str(problem), problem.retry_after_s)
