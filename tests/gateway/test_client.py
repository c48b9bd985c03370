"""The client, against a gateway on loopback and against refusals that are made up."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from desk import ATTACK
from live import Live, live
from typer.testing import CliRunner

from aimds import AsyncClient, Client
from aimds.cli import build
from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway import certificates, keys
from aimds.gateway.client import Answer, ServerError
from aimds.gateway.client.asynchronous import MOST_STREAMS
from aimds.gateway.client.options import refusal
from aimds.gateway.identity import Identity
from aimds.gateway.settings import Certificates, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "other", certificates.authority("ca", now))
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    certificates.write(tmp_path, "client", certificates.issue(ca, "client", ["ada.example"], now, client=True))
    return tmp_path


def settings(folder: Path) -> Settings:
    ada = Identity("ada", "acme", frozenset({"screen"}), "certificate")
    clients = Certificates(folder / "ca.pem", False, {"ada.example": ada})
    return Settings(port=0, certificate=folder / "server.pem", key=folder / "server.key", certificates=clients)


def options(folder: Path, http: int) -> dict[str, Any]:
    return {
        "ca": str(folder / "ca.pem"),
        "certificate": folder / "client.pem",
        "key": folder / "client.key",
        "http": http,
        "timeout_s": 20.0,
    }


def url(server: Live) -> str:
    return f"https://127.0.0.1:{server.gateway.port}"


@pytest.mark.parametrize("http", [3, 1])
def test_a_client_gets_verdicts_of_texts_and_tables_over_one_connection(folder: Path, http: int) -> None:
    with live(settings(folder)) as server, Client(url(server), **options(folder, http)) as client:
        assert client.screen(ATTACK, session_id="s")["action"] == "block"
        assert client.screen("hello")["tenant"] == "acme"
        found = client.screen_table(pa.table({"text": [f"{i}" for i in range(10_000)]}))
        assert found.column("request_id").to_pylist() == [str(i) for i in range(10_000)]
        transport = "quic" if http == 3 else "tcp"
        assert f'aimds_active_connections{{transport="{transport}"}} 1.0' in server.gateway.metrics.text().decode()
        with pytest.raises(ServerError, match="channel") as caught:
            client.screen("a", channel="root")
        assert caught.value.status == 422


@pytest.mark.parametrize("http", [3, 1])
@pytest.mark.parametrize(
    ("text", "kind"), [(1, "int"), (1.5, "float"), (True, "bool"), (["a"], "array"), ({"a": 1}, "object")]
)
def test_a_text_that_is_none_is_refused_by_its_field_and_what_it_holds(
    folder: Path, http: int, text: Any, kind: str
) -> None:
    with live(settings(folder)) as server, Client(url(server), **options(folder, http)) as client:
        with pytest.raises(ServerError, match=f"got `{kind}` - at `\\$.text`") as caught:
            client.screen(text)
        assert caught.value.status == 422
        rows = b"".join(json.dumps({"text": one}).encode() + b"\n" for one in ("a", text, ATTACK))
        answer = client.request("POST", "/v1/screen/batch", rows, {"content-type": "application/x-ndjson"})
        found = [json.loads(line) for line in answer.body.splitlines()]
        assert [one["status"] for one in found] == ["ok", "error", "ok"]
        assert f"got `{kind}`" in found[1]["error"]
        assert found[2]["action"] == "block"


def test_a_gateway_without_tls_is_reached_over_tcp() -> None:
    with live() as server, Client(f"http://127.0.0.1:{server.gateway.port}") as client:
        assert client.screen("hello")["action"] == "allow"


@pytest.mark.parametrize("http", [3, 1])
def test_a_server_of_another_ca_is_not_talked_to(folder: Path, http: int) -> None:
    more = options(folder, http) | {"ca": folder / "other.pem"}
    with live(settings(folder)) as server, Client(url(server), **more) as client, pytest.raises(ServerError) as caught:
        client.screen("secret")
    assert caught.value.status == 0
    assert "is not trusted" in str(caught.value)
    assert "--ca FILE" in str(caught.value)


@pytest.mark.parametrize("http", [3, 1])
def test_a_server_that_is_not_trusted_is_asked_once(folder: Path, http: int) -> None:
    waits = []

    async def slept(seconds: float) -> None:
        waits.append(seconds)

    async def test(address: str) -> None:
        more = options(folder, http) | {"ca": None}
        async with AsyncClient(address, sleep=slept, **more) as client:
            with pytest.raises(ServerError, match="--ca FILE"):
                await client.screen("secret")
            with pytest.raises(ServerError, match="--ca FILE"):
                await client.screen("once more")

    with live(settings(folder)) as server:
        asyncio.run(test(url(server)))
    assert waits == []


@pytest.mark.parametrize("http", [3, 1])
def test_a_certificate_of_another_name_says_so(folder: Path, http: int) -> None:
    with live(settings(folder)) as server:
        address = url(server).replace("127.0.0.1", "localhost")
        with Client(address, **options(folder, http)) as client, pytest.raises(ServerError, match="name or address"):
            client.screen("secret")


@pytest.mark.parametrize("http", [3, 1])
@pytest.mark.parametrize("more", [{"ca": "bad.pem"}, {"certificate": "bad.pem", "key": "bad.pem"}])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe not PEM"])
def test_a_file_without_a_certificate_is_named_before_anybody_is_asked(
    folder: Path, tmp_path: Path, http: int, more: dict[str, str], content: bytes
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_bytes(content)
    chosen = options(folder, http) | dict.fromkeys(more, bad)
    with Client("https://127.0.0.1:1", **chosen) as client, pytest.raises(DataError, match=r"bad\.pem.*PEM"):
        client.screen("secret")


def test_a_handshake_that_is_given_up_leaves_no_error_for_the_loop_to_tell(folder: Path) -> None:
    told = []

    async def test(port: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        more = options(folder, 3) | {"connect_s": 0.2}
        async with AsyncClient(f"https://127.0.0.1:{port}", **more) as client:
            with pytest.raises(ServerError, match="nothing over HTTP/3"):
                await client.screen("a")
        gc.collect()
        await asyncio.sleep(0)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        asyncio.run(test(mute.getsockname()[1]))
    assert told == []


def test_a_closed_connection_is_opened_again(folder: Path) -> None:
    async def test(address: str) -> None:
        async with AsyncClient(address, **options(folder, 3)) as client:
            await client.screen("a")
            assert client._quic is not None
            first = client._quic
            first.close()
            await first.wait_closed()
            assert (await client.screen("b"))["action"] == "allow"
            assert client._quic is not first

    with live(settings(folder)) as server:
        asyncio.run(test(url(server)))


def test_a_stream_gives_verdicts_of_many_rows_and_problems_of_single_ones(folder: Path) -> None:
    async def rows() -> AsyncIterator[dict[str, Any]]:
        for i in range(3000):
            yield {"text": ATTACK if i == 7 else "a", "request_id": str(i), **({"turn": "x"} if i == 9 else {})}

    async def test(address: str) -> dict[str, Any]:
        async with AsyncClient(address, deadline_ms=20_000, **options(folder, 3)) as client:
            return {found["request_id"]: found async for found in client.stream(rows(), brief=True)}

    with live(settings(folder)) as server:
        found = asyncio.run(test(url(server)))
    assert len(found) == 3000
    assert found["7"]["action"] == "block"
    assert found["9"]["problem"]["status"] == 422


def test_a_stream_without_identity_is_refused(folder: Path) -> None:
    async def nothing() -> AsyncIterator[dict[str, Any]]:
        yield {"text": "a"}

    async def test(address: str) -> None:
        async with AsyncClient(address, ca=folder / "ca.pem") as client:
            async for _ in client.stream(nothing()):
                pass

    with live(settings(folder)) as server, pytest.raises(ServerError) as caught:
        asyncio.run(test(url(server)))
    assert caught.value.status == 401


class Scripted(AsyncClient):
    """Answers come from a list; waits and keys are kept."""

    def __init__(self, answers: list[Any], **changed: Any) -> None:
        self.waits: list[float] = []
        self.keys: list[str] = []
        super().__init__(
            "http://gateway.example", random=Random(1), sleep=self._note, wall=lambda: 784111777.0, **changed
        )
        self.answers = answers

    async def _note(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def _once(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        self.keys.append(headers["idempotency-key"])
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        status, content, *headers = found
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return Answer(status, headers[0] if headers else {}, body)


def test_a_refusal_is_tried_again_after_the_time_it_states_with_the_same_key() -> None:
    client = Scripted([(429, {"retry_after_s": 2.0}), ConnectionError("gone"), (503, {}), (200, {"action": "allow"})])
    assert asyncio.run(client.screen("a"))["action"] == "allow"
    assert 2.0 <= client.waits[0] <= 3.0
    assert all(0.05 <= wait <= 0.4 for wait in client.waits[1:])
    assert len(set(client.keys)) == 1
    other = Scripted([(200, {})])
    asyncio.run(other.screen("a"))
    assert other.keys[0] == client.keys[0]
    assert Scripted([])._name == client._name


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("said", ["7", "Sun, 06 Nov 1994 08:49:44 GMT"])
def test_retry_after_of_a_proxy_that_says_nothing_else_is_kept_to(status: int, said: str) -> None:
    client = Scripted([(status, b"<html>busy</html>", {"retry-after": said}), (200, {"action": "allow"})])
    assert asyncio.run(client.screen("a"))["action"] == "allow"
    assert len(client.waits) == 1
    assert 7.0 <= client.waits[0] <= 10.5


def test_no_other_try_comes_before_the_time_that_was_told_nor_long_after_it() -> None:
    for seed in range(20):
        client = Scripted([(429, {"retry_after_s": 20.0}), (200, {})], longest_wait_s=21.0)
        client._random = Random(seed)
        asyncio.run(client.screen("a"))
        assert 20.0 <= client.waits[0] <= 21.0


@pytest.mark.parametrize(
    ("refused", "options"),
    [
        ((429, {"title": "busy", "retry_after_s": 60.0}), {}),
        ((503, b"", {"retry-after": "60"}), {}),
        ((429, {"retry_after_s": 2.0}), {"longest_wait_s": 1.0}),
        ((429, {"retry_after_s": 2.0}), {"deadline_ms": 500.0}),
    ],
)
def test_who_is_told_to_wait_longer_than_may_be_waited_is_refused_at_once_with_the_time(
    refused: Any, options: dict[str, Any]
) -> None:
    client = Scripted([refused], **options)
    with pytest.raises(ServerError, match=r"tried again in (60|2) s") as caught:
        asyncio.run(client.screen("a"))
    assert caught.value.status == refused[0]
    assert caught.value.retry_after_s in (60.0, 2.0)
    assert client.waits == []


@pytest.mark.parametrize("told", [None, "soon", True, -1, float("nan"), float("inf"), [1]])
def test_a_time_that_is_none_is_not_waited(told: Any) -> None:
    client = Scripted([(429, {"retry_after_s": told}, {"retry-after": "soon"}), (200, {"action": "allow"})])
    assert asyncio.run(client.screen("a"))["action"] == "allow"
    assert client.waits[0] < 0.1


@pytest.mark.parametrize("refused", [(429, {"retry_after_s": 1e12}), (429, {}, {"retry-after": "9" * 12})])
def test_who_is_told_to_wait_for_ages_is_told_a_day_wherever_that_is_said(refused: Any) -> None:
    client = Scripted([refused])
    with pytest.raises(ServerError, match="tried again in 86400 s") as caught:
        asyncio.run(client.screen("a"))
    assert caught.value.retry_after_s == 86_400.0


def test_a_longest_wait_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="longest_wait_s"):
        AsyncClient("https://x", longest_wait_s=-1.0)


@pytest.mark.parametrize("http", [3, 1])
def test_a_gateway_whose_rate_is_used_up_is_asked_again_only_when_it_said(folder: Path, http: int) -> None:
    waits = []

    async def slept(seconds: float) -> None:
        waits.append(seconds)

    async def test(address: str) -> None:
        async with AsyncClient(address, sleep=slept, **options(folder, http)) as client:
            assert (await client.screen("a"))["action"] == "allow"
            with pytest.raises(ServerError, match="tried again in 9") as caught:
                await client.screen("a")
            assert (caught.value.status, waits) == (429, [])
        patient = options(folder, http) | {"longest_wait_s": 2000.0, "attempts": 2}
        async with AsyncClient(address, sleep=slept, **patient) as client:
            with pytest.raises(ServerError):
                await client.screen("a")
            assert len(waits) == 1
            assert waits[0] > 900

    with live(dataclasses.replace(settings(folder), rate=0.001, burst=1.0)) as server:
        asyncio.run(test(url(server)))


def test_waits_differ_between_clients() -> None:
    waits = set()
    for seed in range(5):
        client = Scripted([(429, {"retry_after_s": 1.0}), (200, {})])
        client._random = Random(seed)
        asyncio.run(client.screen("a"))
        waits.add(client.waits[0])
    assert len(waits) == 5


def test_what_will_not_change_is_not_tried_again() -> None:
    client = Scripted([(403, {"title": "no", "detail": "role"})])
    with pytest.raises(ServerError, match="no: role"):
        asyncio.run(client.screen("a"))
    assert client.waits == []


def test_the_last_refusal_is_told_when_all_tries_are_used_up() -> None:
    client = Scripted([(429, {"title": "busy"})] * 3, attempts=3)
    with pytest.raises(ServerError, match="busy"):
        asyncio.run(client.screen("a"))
    assert len(client.waits) == 2


@pytest.mark.parametrize("bad", ["", "ftp://x", "https://", "https://x:99999", "https://x/path", "x:1"])
def test_an_address_that_is_none_is_named(bad: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        AsyncClient(bad)
    with pytest.raises(ConfigError, match="http"):
        AsyncClient("https://x", http=2)


@pytest.mark.parametrize("http", ["3", "1"])
def test_check_asks_a_gateway(folder: Path, http: str) -> None:
    key, entry = keys.new("me", "acme", ("screen",))
    keys.append(folder / "keys.toml", entry)
    found = Settings(port=0, certificate=folder / "server.pem", key=folder / "server.key", keys=folder / "keys.toml")
    with live(found) as server:
        ca = str(folder / "ca.pem")
        arguments = ["check", ATTACK, "--json", "--server", url(server), "--token", key, "--ca", ca, "--http", http]
        done = CliRunner().invoke(build(), arguments)
        assert done.exit_code == 1
        assert json.loads(done.stdout)["action"] == "block"
        assert CliRunner().invoke(build(), ["check", "hello", *arguments[2:]]).exit_code == 0
        denied = CliRunner().invoke(build(), [*arguments[:6], "aimds_a.b", *arguments[7:]])
        assert isinstance(denied.exception, AimdsError)


def test_no_more_requests_are_begun_than_a_gateway_takes_and_all_are_answered(folder: Path) -> None:
    async def test(address: str) -> list[Any]:
        async with AsyncClient(address, deadline_ms=20_000, **options(folder, 3)) as client:
            most = 0

            async def one(i: int) -> Any:
                nonlocal most
                found = await client.screen("a", request_id=str(i))
                most = max(most, len(client._quic.streams) if client._quic else 0)
                return found["request_id"]

            found = await asyncio.gather(*(one(i) for i in range(400)))
            assert 10 < most <= MOST_STREAMS
            return found

    with live(settings(folder)) as server:
        assert asyncio.run(test(url(server))) == [str(i) for i in range(400)]


def test_a_gateway_that_says_nothing_is_given_up_soon_and_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with (
            Client(f"https://127.0.0.1:{port}", connect_s=0.2) as client,
            pytest.raises(ServerError, match="within"),
        ):
            client.screen("hello")


def test_an_answer_that_comes_too_late_over_tcp_is_not_taken_for_that_of_the_next_request() -> None:
    connections = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        late = len(connections) == 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                if late:
                    await given_up.wait()
                body = json.dumps({"action": "allow" if late else "block"}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def test() -> dict[str, Any]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, AsyncClient(f"http://127.0.0.1:{port}", timeout_s=1.0, attempts=1) as client:
            with pytest.raises(ServerError):
                await client.screen("a")
            given_up.set()
            return await client.screen(ATTACK)

    given_up = asyncio.Event()
    assert asyncio.run(test())["action"] == "block"
    assert len(connections) == 2


@pytest.mark.parametrize(
    ("content", "wait_s"),
    [
        (b'{"retry_after_s": ' + b"1" * 400 + b"}", 86_400.0),
        (b"[" * 200_000, None),
        (b'{"retry_after_s": -1}', None),
        (b'{"retry_after_s": true}', None),
    ],
)
def test_no_answer_of_a_server_is_more_than_an_error_of_its(content: bytes, wait_s: float | None) -> None:
    assert refusal(Answer(429, {}, content), 0.0).retry_after_s == wait_s
