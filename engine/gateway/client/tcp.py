"""A connection of a client to the TCP twin."""

from __future__ import annotations

import http.client
from urllib.parse import SplitResult

from aimds.gateway.client.options import Options, trust


def connection(url: SplitResult, options: Options) -> http.client.HTTPConnection:
    """A connection to ``url``, opened with its first request.

    Raises:
        DataError: a file that ``options`` name is not there, or is no PEM that can be used.
    """
    host, port, timeout = url.hostname or "", url.port, options.timeout_s
    if url.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=trust(options))
