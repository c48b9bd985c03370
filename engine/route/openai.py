"""OpenAI-compatible servers over HTTP/1.1 with the standard library: a connection a request, bounded in time and size.

Redirects are not followed: a prompt goes to the host that the file names, or nowhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from aimds.errors import ConfigError
from aimds.route.calls import Call, Completion, ProviderError, whole
from aimds.route.tiers import Tier

MOST_BYTES = 16 << 20
"""A longer answer is refused."""
MOST_WAIT_S = 86_400.0
"""Who asks to be left alone for longer, in Retry-After or in the body of a refusal, is taken to have said this."""


class OpenAi:
    """The chat completions of one tier.

    Args:
        environment: where the key is looked up under the tier's ``key_env``.
        wall: seconds since 1970, for dates in Retry-After.
        context: TLS settings, by default those of the system.

    Raises:
        ConfigError: the tier has no URL, or its key is not in the environment.
    """

    def __init__(
        self,
        tier: Tier,
        environment: Mapping[str, str],
        *,
        wall: Callable[[], float] = time.time,
        context: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(tier.url)
        if not parts.hostname:
            raise ConfigError(f"tier {tier.name}.url", tier.url, "the base URL of the server, as https://host/v1")
        self._tier, self._wall, self._context = tier, wall, context
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        if tier.key_env:
            self._headers["Authorization"] = f"Bearer {key(tier, environment)}"

    def complete(self, call: Call, *, timeout_s: float) -> Completion:
        """Ask once.

        Raises:
            ProviderError: it did not answer, in time or with an answer that can be read.
        """
        body: dict[str, Any] = {
            "model": self._tier.model,
            "messages": [{"role": role, "content": content} for role, content in call.messages],
            "max_tokens": call.max_tokens,
            "stream": False,
        }
        if call.temperature is not None:
            body["temperature"] = call.temperature
        # What is no text (half of a surrogate pair) is sent escaped, as JSON allows.
        data = json.dumps(body, ensure_ascii=True).encode()
        connection, late = self._connection(timeout_s), threading.Event()
        try:
            connection.connect()
            with _ending(connection.sock, timeout_s, late):
                connection.request("POST", self._path, data, self._headers)
                # Closed whatever happens: it keeps the socket of a connection that says it will close.
                with connection.getresponse() as response:
                    content = self._read(response)
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._error("timeout", f"no answer in {timeout_s:g} s") from error
            gone = isinstance(error, (OSError, http.client.IncompleteRead))
            kind = "unreachable" if gone else "malformed"
            raise self._error(kind, f"the connection failed ({type(error).__name__})") from error
        finally:
            connection.close()
        if late.is_set():
            raise self._error("timeout", f"no answer in {timeout_s:g} s")
        self._check(response)
        return self._parsed(content)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            context = self._context or ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        content = response.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise self._error("malformed", f"its answer is longer than {MOST_BYTES:,} bytes")
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return content

    def _check(self, response: http.client.HTTPResponse) -> None:
        status = response.status
        if status == 200:
            return
        wait = retry_after(response.getheader("Retry-After"), self._wall())
        said = f"it answered with status {status}"
        if status == 429:
            raise self._error("rate_limited", said, status=status, retry_after_s=wait)
        if status >= 500 or status in (408, 409, 425):
            raise self._error("server", said, status=status, retry_after_s=wait)
        if status in (401, 403):
            where = f"; is the key in {self._tier.key_env} good?" if self._tier.key_env else "; it asks for a key"
            raise self._error("setup", said + where, status=status)
        raise self._error("refused", said, status=status)

    def _parsed(self, content: bytes) -> Completion:
        try:
            answer = json.loads(content)
            text = answer["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise self._error("malformed", "its answer is no chat completion") from error
        if not isinstance(text, str):
            raise self._error("malformed", "its answer holds no text")
        usage = answer.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        return Completion(whole(text), count(counts.get("prompt_tokens")), count(counts.get("completion_tokens")))

    def _error(self, kind: str, reason: str, **more: Any) -> ProviderError:
        return ProviderError(self._tier.name, kind, reason, **more)


@contextlib.contextmanager
def _ending(sock: socket.socket, after_s: float, late: threading.Event) -> Iterator[None]:
    """End ``sock`` after so many seconds, whatever comes in: its own timeout starts anew with each byte."""

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            # Not SSLSocket's own, which takes the TLS state away from under a reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(after_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # Joined, so that it cannot end another connection that has got the same descriptor.
        timer.join()


def key(tier: Tier, environment: Mapping[str, str]) -> str:
    """The key of ``tier``.

    Raises:
        ConfigError: it is not in the environment, or is no header value; it is not repeated.
    """
    value = environment.get(tier.key_env, "")
    if not value or not value.isascii() or not value.isprintable():
        problem = "a key in printable ASCII" if value else "the key of the provider in this environment variable"
        raise ConfigError(tier.key_env, "(hidden)" if value else None, problem)
    return value


def count(value: object) -> int | None:
    """A number of tokens that a provider gives; None for what cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 40 else None


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks to wait, at most a day; None where it says nothing."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return min(float(value.strip()[:12]), MOST_WAIT_S)
    try:
        moment = parsedate_to_datetime(value)
        # A date without a zone is in UTC.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MOST_WAIT_S)
