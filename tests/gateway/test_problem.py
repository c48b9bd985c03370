"""What a refusal says: what was exceeded, the bound and the setting that holds it, and for an unknown value the known ones."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from desk import ARROW, JSON, NDJSON, Desk, document, documents, ipc

from aimds.gateway.output import OutputConfig
from aimds.gateway.pieces import Limits
from aimds.schema import CHANNELS

SMALL = Limits(
    max_body_bytes=200,
    max_text_bytes=20,
    max_batch_bytes=3000,
    max_message_bytes=1000,
    max_expanded_bytes=900,
    max_turns=2,
)
TEXT = [(b"content-type", b"text/plain")]
LONG = b'{"text": "' + b"x" * 400 + b'"}'
TURNS = json.dumps({"turns": [{"text": "a"}] * 3}).encode()


def lengthy(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    return [*headers, (b"content-length", str(length).encode())]


def told(problem: dict[str, Any], setting: str, limit: int) -> None:
    assert (problem["status"], problem["setting"], problem["limit"]) == (413, setting, limit), problem
    assert str(limit) in problem["detail"]
    assert setting in problem["detail"]


@pytest.mark.parametrize(
    ("path", "headers", "content", "setting", "limit", "what"),
    [
        ("/v1/screen", JSON, LONG, "limits.max_body_bytes", 200, "the body"),
        ("/v1/screen", lengthy(JSON, 412), b"", "limits.max_body_bytes", 200, "the body has 412 bytes"),
        ("/v1/screen", JSON, b'{"text": "' + b"x" * 21 + b'"}', "limits.max_text_bytes", 20, "a text has 21 bytes"),
        ("/v1/screen", JSON, '{"text": "ääääääääääö"}'.encode(), "limits.max_text_bytes", 20, "a text has 22 bytes"),
        ("/v1/sessions/a/turns", JSON, LONG * 5, "limits.max_body_bytes", 1600, "the body"),
        ("/v1/sessions/a/turns", JSON, TURNS, "limits.max_turns", 2, "3 turns"),
        ("/v1/screen/batch", NDJSON, LONG, "limits.max_body_bytes", 200, "line 1"),
        ("/v1/screen/batch", lengthy(NDJSON, 9000), b"", "limits.max_batch_bytes", 3000, "the body has 9000 bytes"),
        ("/v1/screen/batch", NDJSON, b"\n" * 3001, "limits.max_batch_bytes", 3000, "the body"),
        ("/v1/screen/output", NDJSON, LONG, "limits.max_body_bytes", 200, "line 1"),
        ("/v1/screen/output", TEXT, b"x" * 51, "output.max_bytes", 50, "the response"),
        ("/v1/screen/batch", ARROW, ipc(pa.table({"text": ["x" * 1100]})), "limits.max_message_bytes", 1000, "a message"),
        ("/v1/screen/batch", ARROW, ipc(pa.table({"text": ["x" * 950]})), "limits.max_expanded_bytes", 900, "a message"),
    ],
)  # fmt: skip
def test_what_is_too_large_names_itself_its_bound_and_the_setting(
    path: str, headers: list[tuple[bytes, bytes]], content: bytes, setting: str, limit: int, what: str
) -> None:
    desk = Desk(limits=SMALL, output=OutputConfig(max_bytes=50))
    problem = document(desk.ask(path, content, headers=headers))
    told(problem.get("problem", problem), setting, limit)
    assert what in problem.get("problem", problem)["detail"]


def test_a_line_of_a_stream_that_is_too_long_says_so_like_a_body() -> None:
    (found,) = documents(Desk(limits=SMALL).ask("/v1/screen/stream", LONG, headers=NDJSON))
    told(found["problem"], "limits.max_body_bytes", 200)


@pytest.mark.parametrize("path", ["/v1/screen", "/v1/sessions/a/turns"])
def test_an_unknown_value_is_answered_with_the_known_ones(path: str) -> None:
    problem = document(Desk().ask(path, b'{"text": "a", "channel": "usr"}'))
    assert (problem["status"], problem["known"]) == (422, list(CHANNELS))
    assert "'usr'" in problem["detail"]
    assert problem["detail"].endswith("known are user, system, assistant, tool, document")
    problem = document(Desk().ask(path, b'{"text": "a", "kind": "user"}'))
    assert problem["status"] == 422
    assert "`kind`" in problem["detail"]
    assert problem["known"][:3] == ["text", "request_id", "session_id"]


def test_turns_beside_something_else_are_not_what_is_unknown() -> None:
    problem = document(Desk().ask("/v1/sessions/a/turns", b'{"turns": [{"text": "a"}], "user": 1}'))
    assert (problem["status"], problem["known"]) == (422, ["turns"])
    assert "unknown field `user`" in problem["detail"]
    problem = document(Desk().ask("/v1/sessions/a/turns", b'{"turns": [{"text": "a", "channel": "usr"}]}'))
    assert problem["known"] == list(CHANNELS)


def test_an_unknown_channel_in_arrow_is_answered_with_the_known_ones() -> None:
    content = ipc(pa.table({"text": ["a", "b"], "channel": ["user", "usr"]}))
    problem = document(Desk().ask("/v1/screen/batch", content, headers=ARROW))
    assert (problem["status"], problem["known"]) == (422, list(CHANNELS))
    assert "user, system" in problem["detail"]


def test_a_line_of_a_batch_with_an_unknown_value_names_the_known_ones() -> None:
    content = b'{"text": "a"}\n{"text": "a", "channel": "usr"}\n'
    found = documents(Desk().ask("/v1/screen/batch", content, headers=NDJSON))
    assert "known are user, system" in found[1]["error"]
