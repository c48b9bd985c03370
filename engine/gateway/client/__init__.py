"""The client: `AsyncClient` and `Client`, over HTTP/3 or the TCP twin."""

from __future__ import annotations

from aimds.gateway.client.asynchronous import AsyncClient
from aimds.gateway.client.blocking import Client
from aimds.gateway.client.options import Answer, Options, ServerError

__all__ = ["Answer", "AsyncClient", "Client", "Options", "ServerError"]
