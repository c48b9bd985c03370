"""The proxy before a server: what passes as it is, what is refused and in which words, and what breaks."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk import ATTACK, BOOM, SECRET, Fake, policy
from live import INSECURE, Live
from stub_model import IDENT, Asked, Stub, answered, chat, proxied, said

from aimds.errors import ConfigError
from aimds.gateway.settings import Audit
from aimds.integrations.proxy import wire
from aimds.integrations.proxy.screened import Bounds
from aimds.integrations.proxy.shapes import api_of
from aimds.integrations.proxy.upstream import Address
from aimds.respond.policy import Policy

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
HELLO = said("Hello.")


@pytest.fixture(scope="module")
def narrow() -> Iterator[tuple[Live, Stub]]:
    """A proxy with narrow bounds; what its server answers may be set."""
    with proxied(answered(HELLO), Bounds(max_body_bytes=4096, max_texts=20), timeout_s=0.4) as found:
        yield found


def error(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)["error"]
    return found


def test_what_is_not_screened_passes_byte_for_byte() -> None:
    body, answer = bytes(range(256)) * 300, bytes(reversed(range(256))) * 500
    head = "X-Mixed-Case: Value ü\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: x-hop\r\nX-Hop: 1\r\n"
    head = head.replace("ü", "\u00fc".encode("latin-1").decode("latin-1"))
    respond = answered(answer, "application/octet-stream", "404 Not Here", head.replace(" ü", ""))
    with proxied(respond, prefix="/base") as (live, stub):
        connection = live.connect()
        connection.request(
            "PUT",
            "/v1/files/a%20b//c?x=1&x=%2F",
            body,
            {"X-Thing": "T", "Aimds-Session": "s", "Connection": "x-own", "X-Own": "1"},
        )
        found = connection.getresponse()
        assert (found.status, found.read()) == (404, answer)
        names = [(name, value) for name, value in found.getheaders() if name != "connection"]
        connection.close()
    assert names == [
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(len(answer))),
        ("X-Mixed-Case", "Value"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ]
    (asked,) = stub.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", "/base/v1/files/a%20b//c?x=1&x=%2F", body)
    expected = {
        "host": f"127.0.0.1:{stub.port}",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
        "x-thing": "T",
    }
    assert dict(asked.headers) == expected


def test_a_body_in_chunks_passes_in_chunks() -> None:
    with proxied(answered(b"{}")) as (live, stub):
        connection = live.connect()
        connection.request("POST", "/v1/audio", iter([b"one", b"two" * 50_000]), {}, encode_chunked=True)
        assert connection.getresponse().read() == b"{}"
        connection.request("HEAD", "/v1/audio")
        head = connection.getresponse()
        assert (head.getheader("content-length"), head.read()) == ("2", b"")
        connection.close()
    assert stub.asked[0].body == b"one" + b"two" * 50_000
    assert stub.asked[0].header("transfer-encoding") == "chunked"
    assert stub.asked[0].header("content-length") is None


def test_a_harmless_request_and_its_answer_pass_byte_for_byte() -> None:
    body = b'{ "messages" : [{"role":"user","content":"Gr\\u00fc\\u00dfe \xe2\x82\xac"}],\n "seed": 1e3 }'
    answer = b'{"choices": [ {"message": {"content": "fine"}} ], "x": 1.0e5}\n'
    with proxied(answered(answer, headers="X-Id: 7\r\n")) as (live, stub):
        status, headers, found = live.ask("POST", CHAT, body, authorization="Bearer k", accept_encoding="gzip, br")
        assert (status, found, headers["x-id"]) == (200, answer, "7")
        assert not [name for name in headers if name.startswith("aimds-")]
    (asked,) = stub.asked
    assert asked.body == body
    assert (asked.header("authorization"), asked.header("accept-encoding")) == ("Bearer k", "identity")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (chat("hello", f"{ATTACK} now"), "messages[1].content"),
        (json.dumps({"messages": [{"role": "tool", "tool_call_id": "1", "content": ATTACK}]}), "messages[0].content"),
        (json.dumps({"messages": [], "tools": [{"function": {"description": ATTACK}}]}), "tools[0].function.description"),
        (json.dumps({"Messages": [{"role": "user", "content": [{"type": "text", "text": ATTACK}]}]}), "Messages[0].content[0].text"),
    ],
)  # fmt: skip
def test_an_attack_never_reaches_the_server(body: Any, place: str) -> None:
    with proxied(answered(HELLO)) as (live, stub):
        status, headers, found = live.ask("POST", CHAT, body)
        assert (status, headers["content-type"], headers["aimds-request-id"]) == (400, "application/json", IDENT)
        told = error(found)
        assert (told["type"], told["code"], told["param"]) == ("invalid_request_error", "content_filter", None)
        assert place in told["message"]
        assert "direct_injection" in told["message"]
        assert ATTACK not in told["message"]
        status, _, found = live.ask("POST", MESSAGES, body)
        told = json.loads(found)
        assert (status, told["type"], told["error"]["type"]) == (400, "error", "invalid_request_error")
        assert told["request_id"] == IDENT
    assert stub.asked == []


def test_a_system_message_is_screened_where_that_is_asked_for() -> None:
    body = json.dumps({"messages": [{"role": "system", "content": ATTACK}, {"role": "user", "content": "hi"}]})
    with proxied(answered(HELLO)) as (live, _):
        assert live.ask("POST", CHAT, body)[0] == 200
    with proxied(answered(HELLO), Bounds(system=True)) as (live, _):
        assert live.ask("POST", CHAT, body)[0] == 400


def test_a_secret_is_taken_out_of_the_request_and_nothing_else() -> None:
    arguments = json.dumps({"card": SECRET, "n": 1})
    document: dict[str, Any] = json.loads(chat(f"pay with {SECRET} ü", temperature=0.5))
    document["messages"].append(
        {"role": "assistant", "tool_calls": [{"function": {"name": "pay", "arguments": arguments}}]}
    )
    with proxied(answered(HELLO)) as (live, stub):
        status, headers, _ = live.ask("POST", CHAT, json.dumps(document))
        assert (status, headers["aimds-action"]) == (200, "redact")
    document["messages"][0]["content"] = "pay with [CREDIT_CARD] ü"
    document["messages"][1]["tool_calls"][0]["function"]["arguments"] = arguments.replace(SECRET, "[CREDIT_CARD]")
    assert json.loads(stub.asked[0].body) == document
    assert stub.asked[0].header("content-length") == str(len(stub.asked[0].body))


def test_an_answer_with_a_finding_is_held_back_or_changed() -> None:
    def respond(text: str) -> Any:
        return answered(said(text, logprobs={"content": [{"token": SECRET}]}), headers="ETag: x\r\n")

    with proxied(respond(f"so {ATTACK}")) as (live, _):
        status, _, found = live.ask("POST", CHAT, chat("hi"))
        assert (status, error(found)["code"]) == (400, "content_filter")
        assert "the response at choices[0].message.content" in error(found)["message"]
    with proxied(respond(f"the card is {SECRET}.")) as (live, _):
        status, headers, found = live.ask("POST", CHAT, chat("hi"))
        (choice,) = json.loads(found)["choices"]
        assert (status, choice["message"]["content"]) == (200, "the card is [CREDIT_CARD].")
        assert choice["logprobs"] is None
        assert (headers["content-length"], headers["aimds-changed"]) == (str(len(found)), "response")
        assert "etag" not in headers


def test_an_error_of_the_server_passes_as_it_is() -> None:
    with proxied(answered(b"no json " + ATTACK.encode(), "text/plain", "529 Busy", "Retry-After: 7\r\n")) as (live, _):
        status, headers, found = live.ask("POST", MESSAGES, chat("hi"))
        assert (status, headers["retry-after"], found) == (529, "7", b"no json " + ATTACK.encode())


@pytest.mark.parametrize("target", ["http://other.invalid/v1", "//other.invalid/"])
def test_a_redirect_is_the_clients_to_follow(target: str) -> None:
    with proxied(answered(b"", status="307 Elsewhere", headers=f"Location: {target}\r\n")) as (live, stub):
        status, headers, _ = live.ask("POST", CHAT, chat("hi"))
        assert (status, headers["location"]) == (307, target)
        assert stub.connections == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "said_"),
    [
        (b"{", {}, 400, "not JSON"),
        ('{"messages": "ü"}'.encode("latin-1"), {}, 400, "UTF-8"),
        (b'{"messages": [], "messages": []}', {}, 400, "twice"),
        (gzip.compress(chat("hi"), mtime=0), {"content-encoding": "gzip"}, 415, "send it plain"),
        (chat("hi"), {"content-type": "application/json; charset=utf-16"}, 415, "UTF-8"),
        (chat(*["x"] * 40), {}, 413, "texts"),
        (chat("x" * 5000), {}, 413, "4096 bytes"),
        (chat("hi"), {"aimds-session": "x" * 300}, 400, "aimds-session"),
        (chat("hi"), {"aimds-tenant": ""}, 400, "aimds-tenant"),
    ],
)
def test_what_cannot_be_screened_is_refused_with_the_reason(
    narrow: tuple[Live, Stub], body: bytes, headers: dict[str, str], status: int, said_: str
) -> None:
    live, stub = narrow
    stub.asked.clear()
    found = live.ask("POST", CHAT, body, **headers)
    assert found[0] == status
    assert said_ in error(found[2])["message"]
    assert stub.asked == []


def test_a_body_without_a_stated_length_is_bounded_too(narrow: tuple[Live, Stub]) -> None:
    with contextlib.closing(narrow[0].connect()) as connection:
        connection.request("POST", CHAT, iter([b"x" * 3000] * 3), {}, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_requests_under_way_are_bounded_together() -> None:
    with proxied(answered(HELLO), Bounds(max_held_bytes=5000)) as (live, _):
        status, headers, body = live.ask("POST", CHAT, chat("x" * 6000))
        assert (status, headers["retry-after"], error(body)["code"]) == (429, "1", "overloaded")
        assert live.ask("POST", CHAT, chat("x" * 4000))[0] == 200
        assert live.ask("POST", CHAT, chat("x" * 4000))[0] == 200


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE_S", 0.2)
    with proxied(answered(HELLO)) as (live, _), contextlib.closing(live.connect()) as connection:
        connection.putrequest("POST", CHAT)
        connection.putheader("content-length", "100")
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408


def test_a_server_that_is_down_is_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines: list[str] = []
    with proxied(answered(b""), port=port, said=lines) as (live, _):
        status, _, body = live.ask("POST", CHAT, chat("hi"), authorization="Bearer sk-private")
        assert (status, error(body)["type"], error(body)["code"]) == (502, "server_error", "upstream_unavailable")
        status, _, body = live.ask("GET", "/v1/models", anthropic_version="2023-06-01")
        assert (status, error(body)["type"]) == (502, "api_error")
    assert any("no connection" in line for line in lines)
    assert not any("sk-private" in line for line in lines)


async def silent(asked: Asked, writer: Any) -> None:
    import asyncio

    await asyncio.sleep(30)


async def babble(asked: Asked, writer: Any) -> None:
    writer.write(b"SSH-2.0-nothing\r\n\r\n")
    await writer.drain()


async def hang_up(asked: Asked, writer: Any) -> None:
    raise ConnectionError


@pytest.mark.parametrize(
    ("respond", "status", "word"),
    [
        (silent, 504, "nothing came"),
        (babble, 502, "no proper HTTP"),
        (hang_up, 502, "hung up"),
        (answered(b"{", cut=False), 502, "not JSON"),
        (answered(b"<html>", "text/html"), 502, "not JSON"),
        (answered('{"a": "ü"}'.encode("utf-16")), 502, "UTF-8"),
        (answered(said("x" * 9000)), 502, "4096 bytes"),
        (answered(HELLO, cut=True), 502, "hung up"),
        (answered(HELLO, headers="Content-Encoding: br\r\n"), 502, "compressed"),
        (answered(b"garbage", headers="Content-Encoding: gzip\r\n"), 502, "damaged"),
        (answered(gzip.compress(HELLO, mtime=0)[:-9], headers="Content-Encoding: gzip\r\n"), 502, "cut off"),
        (answered(gzip.compress(b" " * (1 << 26), mtime=0), headers="Content-Encoding: gzip\r\n"), 502, "4096 bytes"),
    ],
)
def test_an_answer_that_cannot_be_screened_is_not_passed_on(
    narrow: tuple[Live, Stub], respond: Any, status: int, word: str
) -> None:
    live, stub = narrow
    stub.respond = respond
    found, _, body = live.ask("POST", CHAT, chat("hi"))
    assert (found, error(body)["type"]) == (status, "server_error")
    assert word in error(body)["message"]


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_a_compressed_answer_is_screened_and_passed_on_plain(compress: Any) -> None:
    kind = "gzip" if compress is gzip.compress else "deflate"
    with proxied(answered(compress(HELLO), headers=f"Content-Encoding: {kind}\r\n")) as (live, _):
        status, headers, body = live.ask("POST", CHAT, chat("hi"))
        assert (status, body, headers.get("content-encoding")) == (200, HELLO, None)
    with proxied(answered(compress(said(ATTACK)), headers=f"Content-Encoding: {kind}\r\n")) as (live, _):
        assert live.ask("POST", CHAT, chat("hi"))[0] == 400


def test_an_answer_that_breaks_off_where_nothing_is_screened_breaks_off_for_the_client() -> None:
    with proxied(answered(b"x" * 100_000, "image/png", cut=True)) as (live, _):
        connection = live.connect()
        connection.request("GET", "/picture")
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
        connection.close()


def test_connections_to_the_server_are_used_again() -> None:
    with proxied(answered(HELLO)) as (live, stub):
        assert [live.ask("POST", CHAT, chat("hi"))[0] for _ in range(5)] == [200] * 5
        assert stub.connections == 1


@pytest.mark.parametrize(
    "path",
    [CHAT, CHAT + "/", "//v1//chat/completions", "/v1/chat/%63ompletions", "/V1/Chat/Completions", "/v1/x/../chat/completions",
     "/v1/chat;a=b/completions", "/v1/chat%2Fcompletions", "/v1/%2563hat/completions", "/openai/deployments/d/chat/completions", "/v1\\chat\\completions"],
)  # fmt: skip
def test_every_spelling_of_a_screened_path_is_screened(path: str) -> None:
    found = api_of("POST", path.encode())
    assert found is not None
    assert found.name == "openai"


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/anthropic/v1/messages", "messages"),
        ("POST", "/v1/completions", "completions"),
        ("POST", "/openai/Responses", "responses"),
        ("POST", "/v1/responses/compact", "responses"),
        ("POST", "/v1/responses/resp_1/cancel", "responses"),
        ("POST", "/v1/chat/completions/c1", "chat_completions"),
        ("POST", "/v1/completions/c1", "chat_completions"),
        ("post", "/v1/completions", "completions"),
        ("get", "/v1/responses/resp_1", "responses"),
        ("POST", "/v1/messages/count_tokens", None),
        ("POST", "/v1/threads/t/messages", None),
        ("POST", "/", None),
        ("POST", "", None),
        ("GET", "/v1/models", None),
        ("GET", "/v1/responses/resp_1", "responses"),
        ("GET", "/v1/responses/resp_1/input_items", "responses"),
        ("GET", "/v1/chat/completions", "chat_completions"),
        ("GET", "/v1/chat/completions/c1/messages", "chat_completions"),
        ("DELETE", "/v1/responses/resp_1", None),
    ],
)
def test_a_path_belongs_to_one_api_or_is_not_screened(method: str, path: str, route: str | None) -> None:
    found = api_of(method, path.encode())
    assert (found and found.route) == route


def test_a_stored_answer_that_a_change_gives_back_is_screened_and_an_empty_request_passes() -> None:
    with proxied(answered(said(f"card {SECRET}"))) as (live, stub):
        for path in ("/v1/responses/resp_1/cancel", CHAT + "/c1"):
            status, headers, found = live.ask(
                "POST", path, b"" if path.endswith("cancel") else b'{"metadata": {"a": "b"}}'
            )
            assert (status, headers["aimds-changed"]) == (200, "response")
            assert SECRET.encode() not in found
    assert [one.header("content-length") for one in stub.asked] == ["0", "24"]


@pytest.mark.parametrize("key", ["prompt", "input"])
def test_texts_of_completions_and_responses_are_screened(key: str) -> None:
    path = "/v1/completions" if key == "prompt" else "/v1/responses"
    with proxied(answered(b'{"choices": [{"text": "fine"}]}')) as (live, stub):
        status, _, found = live.ask("POST", path, json.dumps({"model": "m", key: ATTACK}))
        assert (status, error(found)["code"]) == (400, "content_filter")
        assert live.ask("POST", path, json.dumps({"model": "m", key: [SECRET]}))[0] == 200
        assert json.loads(stub.asked[0].body) == {"model": "m", key: ["[CREDIT_CARD]"]}
        status, _, found = live.ask("POST", path, json.dumps({"model": "m", key: [1, 2]}))
        assert (status, "numbers of tokens" in error(found)["message"]) == (400, True)
        assert len(stub.asked) == 1


def test_an_answer_that_would_come_in_the_background_is_refused() -> None:
    with proxied(answered(HELLO)) as (live, stub):
        body = {"model": "m", "input": "hi", "background": True}
        status, _, found = live.ask("POST", "/v1/responses", json.dumps(body))
        assert (status, "background" in error(found)["message"], stub.asked) == (400, True, [])
        assert live.ask("POST", "/v1/responses", json.dumps({**body, "background": False}))[0] == 200


def test_what_a_server_stored_is_screened_when_it_is_read_again() -> None:
    held = json.dumps({"output": [{"content": [{"type": "output_text", "text": ATTACK}]}]}).encode()
    with proxied(answered(held)) as (live, stub):
        assert live.ask("GET", "/v1/responses/resp_1?include=x", aimds_session="s")[0] == 400
        assert (stub.asked[0].method, stub.asked[0].target, stub.asked[0].body) == (
            "GET",
            "/v1/responses/resp_1?include=x",
            b"",
        )
        assert stub.asked[0].header("content-length") is None
    clean = held.replace(ATTACK.encode(), b"hello")
    with proxied(answered(clean)) as (live, _):
        assert live.ask("GET", "/v1/responses/resp_1")[::2] == (200, clean)


def test_a_strict_proxy_passes_on_only_what_it_screens() -> None:
    with proxied(answered(HELLO), strict=True) as (live, _):
        assert live.ask("POST", CHAT, chat("hi"))[0] == 200
        assert live.ask("GET", "/v1/models")[0] == 200
        status, _, body = live.ask("POST", "/v1/batches", b"{}")
        assert (status, error(body)["code"]) == (403, "forbidden")


def test_own_paths_are_the_gateways_and_no_others_are() -> None:
    with proxied(answered(b"theirs", "text/plain")) as (live, _):
        assert json.loads(live.ask("GET", "/aimds/healthz")[2])["status"] == "ok"
        assert live.ask("POST", CHAT, chat(ATTACK))[0] == 400
        metrics = live.ask("GET", "/aimds/metrics")[2].decode()
        assert 'aimds_requests_total{route="chat_completions",status="400"} 1.0' in metrics
        assert 'aimds_threats_by_type{threat_type="direct_injection"} 1.0' in metrics
        assert live.ask("GET", "/healthz")[2] == b"theirs"


def changed(text: str) -> Policy:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f'format = 1\nversion = "t"\n{text}')
        file.flush()
        return Policy.load(Path(file.name))


@pytest.mark.parametrize(
    ("failure", "status"),
    [('mode = "closed"\naction = "block"', 400), ('mode = "closed"\naction = "flag"', 200), ('mode = "open"\naction = "flag"', 200)],
)  # fmt: skip
def test_a_text_that_breaks_a_detector_gets_what_the_policy_says(failure: str, status: int) -> None:
    screener = Fake()
    screener.policy = changed(f"[failure]\n{failure}")  # type: ignore[attr-defined]
    with proxied(answered(HELLO), screener=screener) as (live, _):
        assert live.ask("POST", CHAT, chat(BOOM))[0] == status


@pytest.mark.parametrize(("mode", "status"), [("closed", 504), ("open", 200)])
def test_under_overload_a_request_passes_unjudged_only_where_the_policy_fails_open(
    mode: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aimds.gateway.problem import Problem
    from aimds.gateway.protocol import Service

    def full(*_: Any) -> Any:
        raise Problem("deadline-exceeded", "full")

    monkeypatch.setattr(Service, "place", full)
    screener = Fake()
    screener.policy = changed(f'[failure]\nmode = "{mode}"\naction = "flag"')  # type: ignore[attr-defined]
    with proxied(answered(HELLO), screener=screener) as (live, _):
        found, _, body = live.ask("POST", CHAT, chat("hi"))
        assert found == status
        assert status == 200 or error(body)["code"] == "deadline_exceeded"


def test_a_verdict_that_cannot_be_recorded_lets_nothing_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = INSECURE.__class__(port=0, insecure=True, audit=Audit(tmp_path / "audit.log", None, "all"))
    screener = Fake()
    screener.policy = changed('[failure]\nmode = "open"\naction = "flag"')  # type: ignore[attr-defined]
    with proxied(answered(HELLO), settings=settings, screener=screener) as (live, stub):
        monkeypatch.setattr(live.gateway.audit, "flush", lambda: (_ for _ in ()).throw(OSError("disk full")))
        assert live.ask("POST", CHAT, chat("hi"))[0] == 500
        assert stub.asked == []


def test_sessions_and_tenants_come_from_headers_and_stay_here(tmp_path: Path) -> None:
    settings = INSECURE.__class__(port=0, insecure=True, audit=Audit(tmp_path / "audit.log", None, "all"))
    held = '[playbook]\nallow.steps=["forward"]\nflag.steps=["audit","forward"]\nredact.steps=["audit","redact","forward"]\nsandwich.steps=["audit","redact","sandwich","forward"]\nblock.steps=["audit","quarantine","refuse"]\nescalate.steps=["audit","notify","review","hold"]'
    screener = Fake()
    screener.policy = changed(held)  # type: ignore[attr-defined]
    key = "Bearer sk-very-private"
    with proxied(answered(HELLO), settings=settings, screener=screener) as (live, stub):

        def ask(text: str, session: str) -> int:
            return live.ask("POST", CHAT, chat(text), aimds_session=session, aimds_tenant="acme", authorization=key)[0]

        assert [ask("hi", "one"), ask(ATTACK, "one"), ask("hi", "one"), ask("hi", "two")] == [200, 400, 400, 200]
        assert all(not name.startswith("aimds-") for one in stub.asked for name, _ in one.headers)
        metrics = live.ask("GET", "/aimds/metrics")[2]
    written = (tmp_path / "audit.log").read_bytes()
    assert b'"acme"' in written
    assert b'"one"' in written
    assert b"sender-" in written
    for content in (written, metrics):
        assert b"sk-very" not in content


def test_a_proxy_for_one_tenant_takes_no_other() -> None:
    with proxied(answered(HELLO), tenant="acme") as (live, stub):
        assert live.ask("POST", CHAT, chat("hi"), aimds_tenant="acme")[0] == 200
        assert live.ask("POST", CHAT, chat("hi"), aimds_tenant="other")[0] == 403
        assert len(stub.asked) == 1


def test_a_client_that_hangs_up_stops_the_server() -> None:
    with proxied(silent) as (live, stub):
        connection = live.connect()
        connection.request("POST", CHAT, chat("hi"))
        wait_for(live, lambda: bool(stub.asked))
        connection.close()
        assert stub.left.wait(10)


def wait_for(live: Live, check: Any) -> None:
    import time

    until = time.monotonic() + 10
    while not check():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_proxy_that_drains_takes_nothing_new() -> None:
    with proxied(answered(HELLO)) as (live, stub):
        live.gateway.service.draining = True
        status, headers, body = live.ask("POST", MESSAGES, chat("hi"))
        assert (status, headers["retry-after"], json.loads(body)["error"]["type"]) == (503, "1", "overloaded_error")
        assert stub.asked == []


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000", "ftp://a", "http://", "http://u:p@host", "http://host/?q=1", "http://host/#f", "http://a b", "http://h:x", "http://h\r\nX: 1"],
)  # fmt: skip
def test_an_address_that_cannot_be_the_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--upstream.* a URL") as found:
        Address.read(url)
    assert "u:p" not in str(found.value)
    with pytest.raises(ConfigError, match=r"^tier small\.url"):
        Address.read(url, "tier small.url")


def test_an_address_is_read() -> None:
    assert Address.read("https://host.example/a/") == Address("https", "host.example", 443, "/a")
    assert Address.read("http://[::1]:8000").authority == "[::1]:8000"


def test_the_policy_of_the_stand_in_is_the_shipped_one() -> None:
    assert policy().playbook.steps["redact"][-1] == "forward"
