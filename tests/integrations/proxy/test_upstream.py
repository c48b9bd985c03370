"""The connection to the server: over TLS only to one whose certificate is right, and to no other address."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aimds.gateway import certificates
from aimds.integrations.proxy.upstream import Address, Upstream, UpstreamError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    now = datetime.now(UTC)
    for stem in ("ca", "other"):
        certificates.write(tmp_path, stem, certificates.authority(stem, now))
    ca = certificates.Issued((tmp_path / "ca.pem").read_bytes(), (tmp_path / "ca.key").read_bytes())
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    return tmp_path


@contextlib.asynccontextmanager
async def serving(folder: Path | None, answers: list[bytes]) -> AsyncIterator[int]:
    context = None
    if folder is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")

    open_: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()
        # What is closed is let go of on the next turns of the loop.
        await asyncio.sleep(0.05)


async def asked(upstream: Upstream) -> tuple[int, bytes]:
    async with upstream.ask("GET", "/x", [], b"") as answer:
        return answer.status, b"".join([piece async for piece in answer.content()])


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_server_with_the_right_certificate_is_asked_and_no_other(folder: Path) -> None:
    async def test() -> None:
        async with serving(folder, [OK]) as port:
            upstream = Upstream(Address.read(f"https://127.0.0.1:{port}"), ca=folder / "ca.pem")
            assert await asked(upstream) == (200, b"ok")
            upstream.close()
            for url, ca in ((f"https://127.0.0.1:{port}", "other.pem"), (f"https://localhost:{port}", "ca.pem")):
                with pytest.raises(UpstreamError, match="no connection"):
                    await asked(Upstream(Address.read(url), ca=folder / ca))

    asyncio.run(test())


def test_only_the_address_that_was_named_is_ever_contacted(monkeypatch: pytest.MonkeyPatch) -> None:
    contacted: list[Any] = []
    connect = asyncio.open_connection

    async def noted(host: str, port: int, **more: Any) -> Any:
        contacted.append((host, port))
        return await connect(host, port, **more)

    monkeypatch.setattr(asyncio, "open_connection", noted)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    moved = b"HTTP/1.1 308 Gone\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    async def test() -> None:
        async with serving(None, [moved]) as port:
            upstream = Upstream(Address.read(f"http://127.0.0.1:{port}"))
            assert (await asked(upstream))[0] == 308
            assert contacted == [("127.0.0.1", port)]
            upstream.close()

    asyncio.run(test())


def test_news_before_the_answer_is_read_over() -> None:
    async def test() -> None:
        async with serving(None, [b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK]) as port:
            upstream = Upstream(Address.read(f"http://127.0.0.1:{port}"))
            assert await asked(upstream) == (200, b"ok")
            upstream.close()

    asyncio.run(test())


def test_bytes_behind_an_answer_end_the_connection() -> None:
    async def test() -> None:
        async with serving(None, [OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", OK]) as port:
            upstream = Upstream(Address.read(f"http://127.0.0.1:{port}"))
            assert await asked(upstream) == (200, b"ok")
            assert len(upstream._idle) == 0

    asyncio.run(test())


@pytest.mark.parametrize("header", [b"bad header: x", b"x: a\x00b"])
def test_a_request_that_is_no_http_is_refused_without_being_quoted(header: bytes) -> None:
    name, _, value = header.partition(b": ")

    async def test() -> None:
        async with serving(None, [OK]) as port:
            upstream = Upstream(Address.read(f"http://127.0.0.1:{port}"))
            with pytest.raises(UpstreamError, match="cannot be sent") as found:
                async with upstream.ask("GET", "/x", [(name, value)], b""):
                    pass
            assert "bad header" not in str(found.value)

    asyncio.run(test())
