"""Every refusal the gateway can give, as the problem details of RFC 9457."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from aimds.errors import AimdsError, ConfigError

CONTENT_TYPE = "application/problem+json"
KINDS: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "No valid identity was given"),
    "forbidden": (403, "This identity may not do this"),
    "not-found": (404, "There is no such route"),
    "not-held": (404, "There is no such session in quarantine"),
    "method-not-allowed": (405, "The route has no such method"),
    "not-acceptable": (406, "No accepted media type can be given"),
    "slow-request": (408, "The request came too slowly"),
    "conflict": (409, "The Idempotency-Key was used for another request"),
    "too-large": (413, "The request is larger than the limit"),
    "unsupported-media-type": (415, "The media type cannot be read"),
    "unprocessable": (422, "The request does not fit the data contract"),
    "too-early": (425, "The request may not be sent in early data"),
    "overloaded": (429, "The deadline cannot be met under the present load"),
    "rate-limited": (429, "This identity sent more than its rate"),
    "too-many-connections": (429, "Too many connections of this address"),
    "too-many-failures": (429, "Too many requests from this address had no valid identity"),
    "headers-too-large": (431, "The request headers are larger than the limit"),
    "internal": (500, "The request could not be handled"),
    "given-up": (503, "The first request with this Idempotency-Key was given up"),
    "draining": (503, "The server is shutting down"),
    "deadline-exceeded": (504, "The deadline passed before the verdict was ready"),
}
"""Last part of ``type``, to status and ``title``."""
_TYPE = "urn:aimds:problem:"


class Problem(AimdsError):
    """A refusal: ``kind`` is a key of KINDS, ``detail`` says what was wrong this time, ``extra`` are further members.

    Raises:
        ConfigError: an unknown kind.
    """

    def __init__(self, kind: str, detail: str, *, retry_after_s: float | None = None, **extra: Any) -> None:
        if kind not in KINDS:
            raise ConfigError("kind", kind, "one of " + ", ".join(KINDS))
        self.kind, self.detail, self.retry_after_s, self.extra = kind, detail, retry_after_s, extra
        self.status, self.title = KINDS[kind]
        super().__init__(f"{self.title}: {detail}")

    def document(self) -> dict[str, Any]:
        """The members of the error body."""
        body: dict[str, Any] = {
            "type": _TYPE + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.retry_after_s is not None:
            body["retry_after_s"] = round(self.retry_after_s, 3)
        return body | self.extra

    def body(self) -> bytes:
        """The error body as JSON, ASCII only."""
        document = self.document()
        try:
            body = msgspec.json.encode(document)
        except UnicodeEncodeError:
            # Half a pair of surrogates, which a token may have in its JSON.
            body = b"\xff"
        return body if body.isascii() else json.dumps(document, ensure_ascii=True).encode()

    def headers(self) -> list[tuple[str, str]]:
        """Headers that go with the body; Retry-After is in whole seconds (RFC 9110), at least one."""
        found = [("content-type", CONTENT_TYPE)]
        if self.retry_after_s is not None:
            found.append(("retry-after", str(max(1, math.ceil(self.retry_after_s)))))
        if self.kind == "unauthenticated":
            found.append(("www-authenticate", 'Bearer realm="aimds"'))
        return found


def too_large(what: str, most: int, setting: str = "", *, unit: str = "bytes", times: int = 1) -> Problem:
    """That ``what`` is, or has, more than ``most``: ``times`` what ``setting`` of the gateway holds; without one it is
    fixed."""
    if not setting:
        return Problem("too-large", f"{what}; at most {most} {unit} are taken", limit=most)
    held = setting if times == 1 else f"{times} times {setting}"
    return Problem("too-large", f"{what}; at most {most} {unit} are taken ({held})", limit=most, setting=setting)
