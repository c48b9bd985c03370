"""Packets that were damaged before they were sealed: the gateway can open them, and finds nonsense in frames and heads.

Without sockets: what a client sends is handed to the server, and what that answers to the client.
"""

from __future__ import annotations

import asyncio
import ssl
from random import Random
from typing import Any

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.tls import Epoch
from quic import Running, body, running
from test_packets import REQUEST

from aimds.gateway.server import Server

PACKETS, A_CONNECTION = 2000, 12
"""Damaged ones, and how many of them a connection is sent at most."""
THERE = ("127.0.0.1", 1)
EDGES = (0, 1, 3, 63, 64, 255, 1 << 14, (1 << 30) - 1, 1 << 30, (1 << 62) - 1)
FIELDS = {
    **dict.fromkeys((0x00, 0x01, 0x1E, 0x30), 0),
    **dict.fromkeys((0x07, 0x10, 0x12, 0x13, 0x14, 0x16, 0x17, 0x19, 0x1A, 0x1B), 1),
    **dict.fromkeys((0x05, 0x06, 0x11, 0x15, 0x1D), 2),
    **dict.fromkeys((0x04, 0x18, 0x1C), 3),
    **dict.fromkeys((0x02,), 4),
    **dict.fromkeys((0x03,), 7),
    **{0x08 | bits: 1 + (bits >> 2 & 1) + (bits >> 1 & 1) for bits in range(8)},
}
"""Numbers that a frame of each kind begins with (RFC 9000, section 19)."""


class Recording:
    """Keys that keep what they sealed."""

    def __init__(self, real: CryptoPair) -> None:
        self.real, self.plain = real, list[bytes]()

    def encrypt_packet(self, header: bytes, content: bytes, number: int) -> bytes:
        """As the keys do."""
        self.plain.append(content)
        return self.real.encrypt_packet(header, content, number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Wire:
    """A client whose datagrams reach ``server`` by a call, and those for it lie in ``mail``, by address."""

    def __init__(self, server: Server, mail: dict[Any, list[bytes]], number: int) -> None:
        self.server, self.mail, self.here, self.now = server, mail, ("127.0.0.1", number), server._loop.time
        settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_NONE)
        self.quic = QuicConnection(configuration=settings)
        self.http: H3Connection | None = None
        self.answers: list[int] = []
        self.quic.connect(THERE, self.now())
        self.exchange()
        self.keys = Recording(self.quic._cryptos[Epoch.ONE_RTT])
        self.quic._cryptos[Epoch.ONE_RTT] = self.keys  # type: ignore[assignment]
        self.http = H3Connection(self.quic)

    def exchange(self) -> None:
        """Until neither has anything to say."""
        while True:
            sent = [(content, self.here) for content, _ in self.quic.datagrams_to_send(self.now())]
            if sent:
                self.server._arrived(sent)
            came = self.mail.pop(self.here, [])
            for content in came:
                self.quic.receive_datagram(content, THERE, self.now())
            if not sent and not came:
                break
        while (event := self.quic.next_event()) is not None:
            for found in self.http.handle_event(event) if self.http is not None else []:
                if isinstance(found, HeadersReceived):
                    self.answers.append(int(dict(found.headers)[b":status"]))

    @property
    def over(self) -> bool:
        """Whether the gateway has ended it."""
        return self.quic._close_event is not None

    def ask(self) -> None:
        """One request."""
        assert self.http is not None
        stream = self.quic.get_next_available_stream_id()
        self.http.send_headers(stream, REQUEST)
        self.http.send_data(stream, body("a"), True)
        self.exchange()

    def seal(self, content: bytes) -> bytes:
        """A packet with ``content``."""
        number = self.quic._packet_number
        self.quic._packet_number = number + 1
        header = bytes([0x41 | self.keys.real.key_phase << 2]) + self.quic._peer_cid.cid + number.to_bytes(2, "big")
        return self.keys.encrypt_packet(header, content.ljust(4, b"\0"), number)


def frame(random: Random) -> bytes:
    """A frame of any kind, with numbers that name a stream that there may be, or are at the edge of something."""
    kind, count = random.choice(list(FIELDS.items()))
    numbers = (random.choice((0, 4, 8, 2, 6, 10, random.choice(EDGES))) for _ in range(count))
    return encode_uint_var(kind) + b"".join(map(encode_uint_var, numbers)) + random.randbytes(random.choice((0, 0, 8)))


def damaged(random: Random, plain: list[bytes]) -> bytes:
    """Frames as they were sent, or made up, with some bytes changed, taken out or put in."""
    parts = [frame(random) if random.random() < 0.5 else random.choice(plain) for _ in range(random.randint(1, 3))]
    made = bytearray(b"".join(parts)[:1100])
    for _ in range(random.choice((0, 0, 1, 1, 4))):
        at = random.randrange(min(len(made), 60))
        match random.randrange(4):
            case 0:
                made[at] = random.randrange(256)
            case 1:
                made.insert(at, random.randrange(256))
            case 2 if len(made) > 1:
                del made[at]
            case _:
                made[at:at] = encode_uint_var(random.choice(EDGES))
    return bytes(made)


def test_frames_damaged_before_they_are_sealed_break_nothing_and_others_are_served() -> None:
    async def test(one: Running) -> None:
        random, mail, sent, ended = Random(17), dict[Any, list[bytes]](), 0, 0
        broken: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        one.server.datagrams.sendto = lambda data, addr=None: mail.setdefault(addr, []).append(data)  # type: ignore[method-assign]
        good = Wire(one.server, mail, 1)
        while sent < PACKETS:
            bad = Wire(one.server, mail, 2 + sent)
            bad.ask()
            for _ in range(A_CONNECTION):
                one.server._arrived([(bad.seal(damaged(random, bad.keys.plain)), bad.here)])
                sent += 1
                assert one.counted("aimds_denied_total", reason="datagram") == 0
                bad.exchange()
                if bad.over:
                    ended += 1
                    break
            await asyncio.sleep(0)
        asked = len(good.answers)
        good.ask()
        async with asyncio.timeout(20):
            while len(good.answers) == asked:
                await asyncio.sleep(0.01)
                good.exchange()
        assert good.answers[asked:] == [200]
        assert 100 < ended < sent
        assert broken == []
        assert one.server.handshakes == 0

    running(test)


def test_an_address_is_not_proven_by_a_handshake_that_another_one_holds() -> None:
    async def test(one: Running) -> None:
        mail: dict[Any, list[bytes]] = {}
        one.server.datagrams.sendto = lambda data, addr=None: mail.setdefault(addr, []).append(data)  # type: ignore[method-assign]
        own, others = ("203.0.113.66", 1000), ("198.51.100.5", 1000)
        settings = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost", verify_mode=ssl.CERT_NONE)
        client, now = QuicConnection(configuration=settings), one.server._loop.time

        def send(address: Any) -> None:
            one.server._arrived([(content, address) for content, _ in client.datagrams_to_send(now())])

        client.connect(THERE, now())
        send(own)
        for content in mail.pop(own):
            client.receive_datagram(content, THERE, now())
        send(others)
        (connection,) = set(one.server._known.values())
        paths = connection._quic._network_paths
        assert [path.addr for path in paths] == [own]
        assert not connection._quic._handshake_complete
        # The same packets in the address's own name.
        client._loss.reschedule_data(now=now())
        send(own)
        assert connection._quic._handshake_complete

    running(test)
