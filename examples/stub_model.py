"""A stand-in for a model's server, for trying out `aimds proxy`: it repeats what the user said, streamed or not.

python examples/stub_model.py --port 8000
"""

from __future__ import annotations

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model(BaseHTTPRequestHandler):
    """Answers chat completions, responses and messages with the last message; ``pause`` seconds pass between words."""

    protocol_version = "HTTP/1.1"
    pause = 0.0

    def do_POST(self) -> None:
        """Answer a request."""
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        turns = asked.get("messages") or asked.get("input") or ""
        heard = turns if isinstance(turns, str) else turns[-1]["content"]
        text = "You said: " + (heard if isinstance(heard, str) else " ".join(part.get("text", "") for part in heard))
        name = self.path.split("?")[0].rpartition("/")[2]
        whole, events = FORMS.get(name, FORMS["messages"])
        if not asked.get("stream"):
            self._answer(whole(text))
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in events(text):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(self.pause)
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def _chat(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "chat-1", "object": "chat.completion", "model": "stub", "choices": [choice]}


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"id": "msg-1", "type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn"}


def _chat_events(text: str) -> list[bytes]:
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": word}, None) for word in text.split(" ")]
    deltas = [({"content": delta["content"] + " "}, end) for delta, end in deltas] + [({}, "stop")]
    choices = [[{"index": 0, "delta": delta, "finish_reason": end}] for delta, end in deltas]
    bodies = [{"id": "chat-1", "object": "chat.completion.chunk", "choices": one} for one in choices]
    return [f"data: {json.dumps(body)}\n\n".encode() for body in bodies] + [b"data: [DONE]\n\n"]


def _message_events(text: str) -> list[bytes]:
    start = {"type": "message_start", "message": _message("") | {"content": [], "stop_reason": None}}
    bodies: list[dict[str, Any]] = [start]
    bodies.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in text.split(" "):
        delta = {"type": "text_delta", "text": word + " "}
        bodies.append({"type": "content_block_delta", "index": 0, "delta": delta})
    bodies += [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return [f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode() for body in bodies]


def _response(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    message = {"id": "msg-1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    return {"id": "resp-1", "object": "response", "status": "completed", "model": "stub", "output": [message]}


def _response_events(text: str) -> list[bytes]:
    place = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response("") | {"status": "in_progress", "output": []}},
        *({"type": "response.output_text.delta", **place, "delta": word + " "} for word in text.split(" ")),
        {"type": "response.output_text.done", **place, "text": text + " "},
        {"type": "response.completed", "response": _response(text + " ")},
    ]
    return [f"event: {body['type']}\ndata: {json.dumps(body)}\n\n".encode() for body in bodies]


FORMS = {
    "completions": (_chat, _chat_events),
    "responses": (_response, _response_events),
    "messages": (_message, _message_events),
}


def main() -> None:
    """Serve on loopback until Ctrl-C."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--port", type=int, default=8000)
    options.add_argument("--pause", type=float, default=0.0, help="seconds between the words of a streamed answer")
    given = options.parse_args()
    Model.pause = given.pause
    with ThreadingHTTPServer(("127.0.0.1", given.port), Model) as server:
        print(f"a stand-in for a model at http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
