"""What both sides share: one chat request and what became of it. Of the standard library only, for other Pythons."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO
from urllib.parse import urlsplit

OUTCOMES = ("held", "changed", "flagged", "passed", "failed")
"""held: request or answer refused · changed: forwarded with something taken out or wrapped · flagged, passed: forwarded
as it was, with or without a mark · failed: no verdict to count."""
THROUGH = ("flagged", "passed")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MODEL = "redteam"
_BUSY, _TRIES, _WAIT_S = (429, 503), 6, 0.5

Turn = tuple[str, str]
"""Role and text."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of one request; ``text`` is None where none came, ``action`` what was done, ``why`` in words."""

    outcome: str
    action: str
    why: str
    text: str | None


class Target:
    """A server that speaks the chat API of OpenAI, such as `aimds proxy`. One object a thread."""

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        self._at = urlsplit(url)
        self._timeout = timeout_s
        self._open: http.client.HTTPConnection | None = None

    def ask(self, turns: Sequence[Turn]) -> Reply:
        """Send a conversation; what fails on the way is a failed reply, never an exception."""
        body = json.dumps({"model": MODEL, "messages": [{"role": role, "content": text} for role, text in turns]})
        content = body.encode()
        for tried in range(_TRIES):
            try:
                status, headers, answer = self._post(content)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if tried:
                    return Reply("failed", "", f"not reachable: {type(error).__name__}", None)
                continue
            if status not in _BUSY:
                return read(status, headers, answer)
            time.sleep(_WAIT_S * (tried + 1))
        return Reply("failed", "", "too busy", None)

    def _post(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._open is None:
            kind = http.client.HTTPSConnection if self._at.scheme == "https" else http.client.HTTPConnection
            self._open = kind(self._at.hostname or "", self._at.port, timeout=self._timeout)
        path = self._at.path.rstrip("/") + "/v1/chat/completions"
        self._open.request("POST", path, content, {"content-type": "application/json"})
        found = self._open.getresponse()
        return found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()

    def close(self) -> None:
        """Hang up."""
        if self._open is not None:
            self._open.close()
            self._open = None


def read(status: int, headers: dict[str, str], body: bytes) -> Reply:
    """What a response of the proxy, or of a bare server, says."""
    try:
        document = json.loads(body)
    except ValueError:
        return Reply("failed", "", f"status {status}, no JSON", None)
    if status == 200:
        try:
            text = document["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            return Reply("failed", "", "an answer without a text", None)
        action = headers.get("aimds-action", "")
        if action in ("redact", "sandwich") or "aimds-changed" in headers:
            return Reply("changed", action or "redact", headers.get("aimds-changed", "request"), text or "")
        return Reply("flagged" if action == "flag" else "passed", action or "allow", "", text or "")
    error = document.get("error") if isinstance(document, dict) else None
    said = error if isinstance(error, dict) else {}
    if status == 400 and said.get("code") == "content_filter":
        message = str(said.get("message", ""))
        return Reply("held", message.partition("(action ")[2].partition(":")[0] or "block", message, None)
    return Reply("failed", "", f"status {status}: {str(said.get('message', ''))[:200]}", None)


class Outside:
    """Keeps this process on loopback: what asks for another host gets an error, and the host is noted.

    It stands in the way of Python code; what a compiled extension does by itself it does not see.
    """

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}

    def close(self) -> None:
        """From now on nothing leaves."""
        connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

        def connected(own: socket.socket, address: Any) -> None:
            if isinstance(address, tuple):
                self._check(address[0])
            connect(own, address)

        def tried(own: socket.socket, address: Any) -> int:
            if isinstance(address, tuple):
                self._check(address[0])
            return connect_ex(own, address)

        def looked_up(host: Any, *rest: Any, **named: Any) -> Any:
            self._check(host)
            return look_up(host, *rest, **named)

        socket.socket.connect = connected  # type: ignore[method-assign,assignment]
        socket.socket.connect_ex = tried  # type: ignore[method-assign,assignment]
        socket.getaddrinfo = looked_up

    def _check(self, host: Any) -> None:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if name not in LOOPBACK:
            self.refused[name] = self.refused.get(name, 0) + 1
            raise OSError(f"aimds redteam lets nothing out: {name}")


class Lines:
    """JSON lines to the process that started this one. What else is printed goes to stderr."""

    def __init__(self) -> None:
        self._out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
        os.dup2(2, 1)

    def say(self, kind: str, **values: Any) -> None:
        """One line, at once."""
        print(json.dumps({"kind": kind, **values}), file=self._out, flush=True)


def asked() -> dict[str, Any]:
    """What the process that started this one wants, from stdin."""
    document: dict[str, Any] = json.loads(sys.stdin.readline())
    return document
