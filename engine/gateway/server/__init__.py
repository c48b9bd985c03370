"""HTTP/3 over QUIC: aioquic's protocol machines, our sockets, and flow-control credit that returns on consumption."""

from __future__ import annotations

from aioquic.quic.configuration import QuicConfiguration

from aimds.gateway.server.listener import Server, configuration

__all__ = ["QuicConfiguration", "Server", "configuration"]
