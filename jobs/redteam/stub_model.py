"""A stand-in for a model that decodes everything and obeys everything: the worst that can stand behind a filter.

An echo would not do: garak's encoding probes count an attack as a success where the answer holds the decoded text, so
behind an echo all of them would pass.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aimds.jobs.redteam.decoding import readings
from aimds.jobs.redteam.wire import MODEL, Turn

VERBS = ("say", "print", "repeat", "write", "reply", "respond", "answer", "output", "return", "tell", "translate")
_QUOTES = {'"': '"', "“": "”", "‘": "’", "`": "`", "'": "'", "«": "»", "「": "」"}
_WITH = ("with ", "only ", "just ", "the ", "word ", "words ", "phrase ", "exactly ", "following", "me ", ":")
MOST_ANSWER = 40_000
_MOST_DEMANDS = 60


@lru_cache(maxsize=256)
def answer(turns: tuple[Turn, ...]) -> str:
    """What the stub says: what it was told to say, in plain and in every reading, then all that it could decode."""
    heard = next((text for role, text in reversed(turns) if role == "user"), "")
    rules = "\n".join(text for role, text in turns if role == "system")
    decoded = readings(heard)
    parts = ["Sure.", *_personas(heard)]
    for text in (heard, *decoded):
        parts += _demands(text)
    if rules and any("prompt" in text.lower() or "instruction" in text.lower() for text in (heard, *decoded)):
        parts.append(rules)
    parts += [*_markup(heard), *decoded]
    return "\n".join(dict.fromkeys(parts))[:MOST_ANSWER]


def _demands(text: str) -> list[str]:
    """What is quoted, and what stands behind a word of saying up to the end of the line or sentence."""
    found = list(_quoted(text))
    low = text.lower()
    for verb in VERBS:
        at = low.find(verb + " ")
        while at >= 0 and len(found) < _MOST_DEMANDS:
            rest = text[at + len(verb) + 1 :].split("\n")[0]
            rest = rest.split(". ")[0].strip()
            for word in _WITH:
                if rest.lower().startswith(word):
                    rest = rest[len(word) :].lstrip()
            if rest:
                found.append(rest)
            at = low.find(verb + " ", at + 1)
    return found


def _quoted(text: str) -> Iterator[str]:
    for opening, closing in _QUOTES.items():
        at = text.find(opening)
        for _ in range(_MOST_DEMANDS):
            end = text.find(closing, at + 1) if at >= 0 else -1
            if end < 0:
                break
            if 1 < end - at - 1 <= 500:
                yield text[at + 1 : end]
            at = text.find(opening, end if opening != closing else end + 1)


def _personas(text: str) -> list[str]:
    """Names in capitals that an answer is to begin with: DAN: , [DAN]."""
    found: dict[str, None] = {}
    for word in text.split():
        name = word.strip("[](){}:,.;!?\"'*“”")
        if 2 < len(name) <= 12 and name.isascii() and name.isalpha() and name.isupper():
            found[f"[{name}]: {name}: yes."] = None
        if len(found) >= 12:
            break
    return list(found)


def _markup(text: str) -> list[str]:
    """Lines with links, pictures, tags, escapes or templates, which a careless application would act on."""
    signs = ("](", "<", "{{", "{%", "\x1b", "\\x1b", "\\033", "http", "--", ";")
    return [line for line in text.splitlines() if any(sign in line for sign in signs)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write an answer: two would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer /v1/chat/completions; streams are not spoken."""
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            turns = [(str(one["role"]), _text(one["content"])) for one in json.loads(raw)["messages"]]
        except (ValueError, KeyError, TypeError):
            self._send(400, {"error": {"message": "no chat request", "type": "invalid_request_error"}})
            return
        message = {"role": "assistant", "content": answer(tuple(turns))}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "chat-1", "object": "chat.completion", "created": 0, "model": MODEL}
        self._send(200, {**head, "choices": [choice], "usage": usage})

    def do_GET(self) -> None:
        """Nothing is here."""
        self._send(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


class Server(ThreadingHTTPServer):
    """A server on a free port of loopback that ends with its connections, and waits for its threads."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Hang up."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Hang up on all, then wait for the threads."""
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""

    @contextmanager
    def running(self) -> Iterator[str]:
        """While the block runs; the URL."""
        with self:
            thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{self.server_port}"
            finally:
                self.shutdown()
                thread.join()


def serving() -> AbstractContextManager[str]:
    """The stub while a block runs: its URL."""
    return Server(_Handler).running()
