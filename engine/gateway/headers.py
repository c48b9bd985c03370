"""What a request's headers say: route, media types, deadline, priority, key; read strictly, each with its limit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote_plus

from aimds.gateway.ipc import MEDIA_TYPE as ARROW
from aimds.gateway.problem import Problem

Found = TypeVar("Found")
JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
DEADLINE = "aimds-deadline-ms"
KEY = "idempotency-key"
MAX_KEY = 255
MAX_HEADER_BYTES = 32 << 10
FIELD_BYTES = 32
"""What a line counts beside its text (RFC 9114, section 4.2.2)."""
REPEATABLE = frozenset({"accept", "cookie", "via", "forwarded", "x-forwarded-for", "priority", "cache-control"})
"""Headers that may come more than once; of any other, two are an attempt to be read in two ways."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a request: ``method``, ``path`` without the query, ``query`` and ``headers`` in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    _read: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, name: Hashable, read: Callable[[], Found]) -> Found:
        """What ``read`` makes of these headers under ``name``: many requests have the same head, read only once.

        Raises:
            Problem: as ``read``.
        """
        found: Found | None = self._read.get(name)
        if found is None:
            found = self._read[name] = read()
        return found

    def note(self, name: Hashable, value: object) -> None:
        """Keep ``value`` under ``name`` with these headers, in place of what there was."""
        self._read[name] = value

    def noted(self, name: Hashable) -> Any:
        """What was kept under ``name``; None where nothing was."""
        return self._read.get(name)

    def keyed(self, key: str) -> Head:
        """The same with this ``idempotency-key``, which nothing that is read once depends on."""
        return Head(self.method, self.path, self.query, {**self.headers, KEY: key}, self._read)

    @classmethod
    def read(cls, method: str, target: str, headers: Iterable[tuple[bytes, bytes]]) -> Head:
        """A head from what a transport read; pseudo-headers are left out but for the authority, which is the host.

        Raises:
            Problem: too large, a header twice that may come once, or bytes that are not ASCII.
        """
        found: dict[str, str] = {}
        size = len(target)
        for raw_name, raw_value in headers:
            size += len(raw_name) + len(raw_value) + FIELD_BYTES
            if size > MAX_HEADER_BYTES:
                raise Problem("headers-too-large", f"at most {MAX_HEADER_BYTES} bytes are taken")
            if raw_name == b":authority":
                raw_name = b"host"
            elif raw_name.startswith(b":"):
                continue
            try:
                name, value = raw_name.decode("ascii").lower(), raw_value.decode("ascii").strip()
            except UnicodeDecodeError:
                raise Problem("malformed", "a header holds bytes that are not ASCII") from None
            if name in found:
                if name == "host" and value == found[name]:
                    continue
                if name not in REPEATABLE:
                    raise Problem("malformed", f"the header {name} comes twice")
                value = f"{found[name]}, {value}"
            found[name] = value
        path, _, query = target.partition("?")
        return cls(method.upper(), path, _query(query), found)

    def media_type(self) -> str:
        """The media type of the body, without parameters; empty if none is named."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def deadline_s(self, default: float, most: float) -> float:
        """Seconds the client gives us from now.

        Raises:
            Problem: ``malformed``: no positive number.
        """
        value = self.headers.get(DEADLINE)
        if value is None:
            return default
        try:
            seconds = float(value) / 1e3
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise Problem("malformed", f"{DEADLINE}: {value[:40]!r}, expected a positive number of milliseconds")
        return min(seconds, most)

    def urgency(self, default: int = 3) -> int:
        """Urgency of RFC 9218, 0 to 7; what cannot be read is the default, as the RFC asks."""
        for part in self.headers.get("priority", "").split(","):
            name, _, value = part.strip().partition("=")
            if name == "u" and len(value) == 1 and value in "01234567":
                return int(value)
        return default

    def idempotency_key(self) -> str | None:
        """The key, without the quotes of a structured field.

        Raises:
            Problem: ``malformed``: empty or too long.
        """
        value = self.headers.get(KEY)
        if value is None:
            return None
        key = value.strip('"')
        if not 0 < len(key) <= MAX_KEY:
            raise Problem("malformed", f"Idempotency-Key: expected 1 to {MAX_KEY} characters")
        return key

    def content_length(self) -> int | None:
        """The length of the body where it is stated.

        Raises:
            Problem: ``malformed``.
        """
        value = self.headers.get("content-length")
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) < 19):
            raise Problem("malformed", f"content-length: {value[:40]!r}, expected a whole number")
        return int(value)

    def brief(self) -> bool:
        """Whether the client asks for short verdicts.

        Raises:
            Problem: ``malformed``: another word than full or brief.
        """
        value = self.query.get("verdict", "full")
        if value not in ("full", "brief"):
            raise Problem("malformed", f"verdict={value[:40]}: expected full or brief")
        return value == "brief"

    def tiers(self) -> str:
        """Which model tiers the client asks to choose from: "any", "local", or "" where it asks for no choice.

        Raises:
            Problem: ``malformed``: another word.
        """
        value = self.query.get("route", "")
        if value not in ("", "any", "local"):
            raise Problem("malformed", f"route={value[:40]}: expected any or local")
        return value

    def answer_type(self, own: str, offered: tuple[str, ...]) -> str:
        """The media type to answer in: the first of ``accept`` that is ``offered``, ``own`` where any will do.

        Raises:
            Problem: ``not-acceptable``.
        """
        accept = self.headers.get("accept")
        if accept is None:
            return own
        for part in accept.split(","):
            name = part.partition(";")[0].strip().lower()
            if name in ("*/*", "application/*"):
                return own
            if name in offered:
                return name
        raise Problem("not-acceptable", f"this route gives {' or '.join(offered)}")

    def refuse_encodings(self) -> None:
        """Bodies are taken as they are: a compressed one could be a bomb.

        Raises:
            Problem: ``unsupported-media-type``.
        """
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise Problem("unsupported-media-type", f"content-encoding {encoding[:40]!r} is not taken; send it plain")


def _query(query: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            if name in out:
                raise Problem("malformed", f"the query names {name[:40]!r} twice")
            out[name] = unquote_plus(value)
    return out


__all__ = ["ARROW", "DEADLINE", "JSON", "KEY", "NDJSON", "TEXT", "Head"]
