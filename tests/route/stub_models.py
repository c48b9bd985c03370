"""A model server for tests: OpenAI-compatible, on this machine, answering as it is told, call by call."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[BaseHTTPRequestHandler], None]


def completion(text: str = "42", **usage: Any) -> bytes:
    counts = {"prompt_tokens": 11, "completion_tokens": 7} | usage
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], "usage": counts}).encode()


def answers(content: bytes, status: int = 200, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices"')


def garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SMTP ready\r\n\r\n")


def drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def drips_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.02)


class Stub:
    """``replies`` are used up one a request, the last one again and again; ``seen`` holds (path, headers, body)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: list[Reply] = [answers(completion())]
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []


@contextmanager
def stub() -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.seen.append((self.path, dict(self.headers), body))
            reply = made.replies.pop(0) if len(made.replies) > 1 else made.replies[0]
            try:
                reply(self)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Stub(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
