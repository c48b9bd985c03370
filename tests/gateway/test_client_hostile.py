"""Our client at a server that answers whatever it likes, over real QUIC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pylsqpack
import pytest
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from quic import ca, server_certificate

from aimds import AsyncClient
from aimds.gateway.client import ServerError
from aimds.gateway.client.quic import Transport
from aimds.gateway.packets import heads
from aimds.gateway.packets.wire import varint

OK = heads.head(200, ())
VERDICT = b'{"action":"allow"}'


def data(content: bytes) -> bytes:
    return b"\0" + varint(len(content)) + content


class Liar(QuicConnectionProtocol):
    """Sends ``answers``, one for each request, each in portions as one reads them; the last ends the stream."""

    answers: ClassVar[list[list[bytes]]]

    def quic_event_received(self, event: QuicEvent) -> None:
        if not isinstance(event, StreamDataReceived) or event.stream_id & 3 or not event.end_stream:
            return
        parts = self.answers.pop(0)
        for place, part in enumerate(parts, 1):
            asyncio.get_running_loop().call_later(place / 200, self._send, event.stream_id, part, place == len(parts))

    def _send(self, stream_id: int, content: bytes, over: bool) -> None:
        self._quic.send_stream_data(stream_id, content, over)
        self.transmit()


@asynccontextmanager
async def lying(
    folder: Path, answers: list[list[bytes]], kind: type[Liar] | None = None, **options: Any
) -> AsyncIterator[AsyncClient]:
    """A client of a server that sends ``answers``."""
    (folder / "ca.pem").write_bytes(ca().certificate)
    settings = QuicConfiguration(is_client=False, alpn_protocols=H3_ALPN)
    issued = server_certificate()
    settings.certificate = x509.load_pem_x509_certificate(issued.certificate)
    key: Any = load_pem_private_key(issued.key, None)
    settings.private_key = key
    kind = kind or type("One", (Liar,), {"answers": answers})
    server = await serve("127.0.0.1", 0, configuration=settings, create_protocol=kind)
    port = server._transport.get_extra_info("sockname")[1]
    try:
        given = {"attempts": 1, "timeout_s": 5.0, **options}
        async with AsyncClient(f"https://127.0.0.1:{port}", ca=folder / "ca.pem", **given) as client:
            yield client
    finally:
        server.close()


def told(
    folder: Path, answers: list[list[bytes]], ask: Callable[[AsyncClient], Awaitable[Any]], **options: Any
) -> tuple[Any, list[dict[str, Any]]]:
    """What ``ask`` gets, or is told, and what the loop was told of."""
    said: list[dict[str, Any]] = []

    async def test() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
        async with lying(folder, answers, **options) as client:
            try:
                return await ask(client)
            except ServerError as error:
                return error

    return asyncio.run(test()), said


def table(rows: int) -> tuple[bytes, int]:
    """Verdicts in two batches of ``rows`` each, and where the first of them ends."""
    one = pa.record_batch({"request_id": pa.array([str(number) for number in range(rows)])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, one.schema) as writer:
        writer.write_batch(one)
        stop = sink.tell()
        writer.write_batch(one)
    return sink.getvalue().to_pybytes(), stop


def test_a_table_that_is_cut_off_between_two_batches_is_no_table(tmp_path: Path) -> None:
    content, stop = table(3)
    whole = data(content)
    cut = whole[: len(whole) - len(content) + stop]
    texts = pa.table({"text": ["a"] * 6})
    ask = lambda client: client.screen_table(texts)  # noqa: E731
    found, _ = told(tmp_path, [[OK + whole]], ask)
    assert found.num_rows == 6
    for parts in ([OK + cut], [OK, cut], [OK + cut, b""], [OK + cut[:9], cut[9:]]):
        found, said = told(tmp_path, [parts], ask)
        assert isinstance(found, ServerError)
        assert found.status == 0
        assert said == []


@pytest.mark.parametrize("parts", [[b""], [heads.head(103, ())], [OK[:2]], [b"\x21\0"], [b"\0\0"]])
def test_an_answer_without_a_head_is_none_and_the_next_try_has_one(tmp_path: Path, parts: list[bytes]) -> None:
    answers = [parts, [OK + data(VERDICT)]]
    found, said = told(tmp_path, answers, lambda client: client.screen("a"), attempts=2, longest_wait_s=0.1)
    assert found == {"action": "allow"}
    assert said == []


def test_a_header_that_is_no_utf_8_is_read_as_any(tmp_path: Path) -> None:
    answer = heads.head(200, (("x-own", "caf\xe9"),)) + data(VERDICT)
    found, said = told(tmp_path, [[answer]], lambda client: client.request("GET", "/v1/status"))
    assert found.headers["x-own"] == "caf\xe9"
    assert said == []


def test_an_answer_that_comes_byte_by_byte_is_whole(tmp_path: Path) -> None:
    content = heads.head(100, ()) + OK + data(VERDICT[:5]) + b"\x21\2ab" + data(VERDICT[5:]) + b"\x21\1a"
    parts = [content[place : place + 1] for place in range(len(content))]
    found, said = told(tmp_path, [parts], lambda client: client.screen("a"))
    assert found == {"action": "allow"}
    assert said == []


def test_answers_side_by_side_are_not_mixed(tmp_path: Path) -> None:
    bodies = [b'{"n":%d,"x":"%s"}' % (number, b"x" * 37 * number) for number in range(60)]
    answers = [
        [OK + data(body)[:5], data(body)[5:30], data(body)[30:]] if number % 3 else [OK, data(body)]
        for number, body in enumerate(bodies)
    ]

    async def ask(client: AsyncClient) -> list[int]:
        return [one["n"] for one in await asyncio.gather(*(client.screen(str(number)) for number in range(60)))]

    found, said = told(tmp_path, answers, ask)
    assert sorted(found) == list(range(60))
    assert said == []


def test_of_a_body_behind_a_head_that_waits_for_the_table_no_more_comes_than_one_window(tmp_path: Path) -> None:
    encoder, lines = pylsqpack.Encoder(), [(b":status", b"200"), (b"x-own", b"the same")]
    table, block = encoder.apply_settings(4096, 16), b"\0"
    while not block[0]:
        more, block = encoder.encode(0, lines)
        table += more
    body = b"x" * (3 << 20)
    answer = b"\1" + varint(len(block)) + block + data(body)
    below: list[Liar] = []

    class Late(Liar):
        answers: ClassVar = [[answer]]

        def connection_made(self, transport: Any) -> None:
            below.append(self)
            super().connection_made(transport)

    async def ask(client: AsyncClient) -> None:
        asked = asyncio.ensure_future(client.request("GET", "/v1/status"))
        kept = 0
        for _ in range(50):
            await asyncio.sleep(0.01)
            http = None if client._quic is None else client._quic._http
            kept = 0 if http is None or 0 not in http._stream else len(http._stream[0].buffer)
        assert 0 < kept <= Transport.stream_window
        one = below[0]
        number = one._quic.get_next_available_stream_id(is_unidirectional=True)
        one._send(number, b"\2" + table, False)
        found = await asked
        assert (found.headers["x-own"], found.body) == ("the same", body)
        assert client._quic is not None
        assert client._quic.quic._held == 0
        assert not client._quic.quic.held

    found, said = told(tmp_path, [], ask, kind=Late)
    assert found is None
    assert said == []
