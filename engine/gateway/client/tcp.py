"""A connection of a client to the TCP twin."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import SplitResult

from aimds.gateway.client.options import Options, readable


def connection(url: SplitResult, options: Options) -> http.client.HTTPConnection:
    """A connection to ``url``, opened with its first request.

    Raises:
        DataError: a file that ``options`` name is not there.
    """
    host, port, timeout = url.hostname or "", url.port, options.timeout_s
    if url.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context(cafile=options.ca and readable(options.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if options.certificate is not None:
        context.load_cert_chain(readable(options.certificate), options.key)
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
