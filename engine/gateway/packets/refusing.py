"""A connection that is refused before it begins, without keeping anything of it."""

from __future__ import annotations

import os

from aioquic.quic.connection import TRANSPORT_CLOSE_FRAME_CAPACITY
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicHeader, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder


def refusal(header: QuicHeader, reason: str) -> bytes:
    """The datagram that answers a client's first packet, whose ``header`` is given, with CONNECTION_REFUSED and
    ``reason`` (RFC 9000, section 5.2.2): smaller than what it answers, whoever sent that."""
    assert header.version is not None
    keys = CryptoPair()
    keys.setup_initial(cid=header.destination_cid, is_client=False, version=header.version)
    builder = QuicPacketBuilder(
        host_cid=os.urandom(8),
        peer_cid=header.source_cid,
        version=header.version,
        is_client=False,
        max_datagram_size=1200,
    )
    builder.start_packet(QuicPacketType.INITIAL, keys)
    told = reason.encode()[:200]
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=TRANSPORT_CLOSE_FRAME_CAPACITY + len(told))
    frame.push_uint_var(QuicErrorCode.CONNECTION_REFUSED)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(len(told))
    frame.push_bytes(told)
    (datagram,), _ = builder.flush()
    return datagram
