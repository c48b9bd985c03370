"""Why no answer came from a gateway, and the way out."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import SplitResult

from aimds.gateway.client.options import Options, ServerError

NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
"""What versions of OpenSSL call an answer to the first message of TLS that is none of TLS, such as one of HTTP."""


def untrusted(url: SplitResult, reason: str) -> ServerError:
    """That the certificate of the server at ``url`` was not accepted for ``reason``, and the way out."""
    # Trying again cannot help, and only the caller can say whom to trust.
    way = "name the CA that signed it: --ca FILE, or ca= in Python"
    if "match" in reason:
        way = "use a name or address that stands in it"
    elif "expired" in reason or "not valid" in reason:
        way = "the gateway needs a new one"
    told = f"of {_place(url)}: {reason}; {way}"
    return ServerError(0, {"title": "The server's certificate is not trusted", "detail": told})


def without_tls(url: SplitResult, error: Exception) -> ServerError | None:
    """That the port of ``url`` speaks no TLS, where ``error`` shows it; trying again cannot help."""
    if not isinstance(error, ssl.SSLError) or error.reason not in NO_TLS:
        return None
    at = _place(url)
    return ServerError(0, {"title": "No answer", "detail": f"{at} speaks no TLS; give http://{at}"})


def silent(url: SplitResult, waited_s: float) -> ServerError:
    """That nothing came over HTTP/3 from ``url``."""
    at = _place(url)
    told = f"{at}: nothing over HTTP/3 (UDP) within {waited_s:g} s; is it running? --http 1 asks over TCP"
    way = f", or give http://{at} where it runs without TLS"
    return ServerError(0, {"title": "No answer", "detail": told + way})


def unanswered(url: SplitResult, error: Exception, options: Options) -> ServerError:
    """That ``url`` could not be asked, or gave no answer, for ``error``."""
    at, why = _place(url), str(error) or type(error).__name__
    # So a port that speaks TLS turns plain HTTP away, and a gateway that requires certificates who shows none; a server
    # that went down looks the same.
    closed = isinstance(error, (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError))
    if closed:
        why = "it closed the connection without an answer"
    if url.scheme == "http" and (closed or isinstance(error, http.client.BadStatusLine)):
        why += f"; if it speaks TLS, give https://{at}"
    elif url.scheme == "https" and options.certificate is None and (closed or "CERTIFICATE_REQUIRED" in why):
        why += "; a gateway that requires client certificates does so: --certificate and --key"
    return ServerError(0, {"title": "No answer", "detail": f"{at}: {why}"})


def _place(url: SplitResult) -> str:
    # Without the name and password that an address may hold.
    return url.netloc.rpartition("@")[2]
