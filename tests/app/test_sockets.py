"""Sockets of the TCP twin: an answer is sent as it is written."""

import asyncio
import socket

import pytest

from aimds.app import sockets


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_in_two_writes_does_not_wait_for_an_acknowledgement(host: str) -> None:
    try:
        listening = sockets._listening(host, 0)
    except Exception:
        if host == "::1" and not socket.has_ipv6:
            pytest.skip("no IPv6 on this machine")
        raise

    async def accepted() -> int:
        options: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            mine = writer.get_extra_info("socket")
            options.set_result(mine.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(answer, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            found = await options
            writer.close()
            return found

    assert asyncio.run(accepted())
