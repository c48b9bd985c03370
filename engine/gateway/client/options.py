"""How a client reaches a gateway, what comes back, and how a refusal is told."""

from __future__ import annotations

import json
import math
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from aimds.errors import AimdsError, ConfigError, DataError
from aimds.gateway.packets.probing import LEAST, MOST
from aimds.route.openai import MOST_WAIT_S, retry_after

IDENTITY = "give --token or AIMDS_TOKEN, or --certificate and --key (in Python token=, or certificate= and key=)"


class ServerError(AimdsError):
    """The gateway refused: ``status`` and the members of its problem body in ``problem``. Status 0: no answer came.

    The text of a 401 also says how to give an identity.

    ``retry_after_s``: after how many seconds to come again, where that was said.
    """

    def __init__(self, status: int, problem: dict[str, Any], retry_after_s: float | None = None) -> None:
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s
        title, detail = problem.get("title", f"status {status}"), problem.get("detail", "")
        told = f"{title}: {detail}" if detail else str(title)
        if status == 401:
            role = problem.get("role")
            told += f"; {IDENTITY}" + (f", of an identity with the role {role}" if role else "")
        super().__init__(told if retry_after_s is None else f"{told}; to be tried again in {retry_after_s:g} s")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Options:
    """How to reach a gateway.

    ``token``: an API key or a JWT · ``ca``: PEM that signs the server, the system's CAs by default · ``certificate``,
    ``key``: of the client, PEM · ``http``: 3 or 1 for the TCP twin · ``attempts``: tries of one request in all ·
    ``deadline_ms``: within which each verdict is asked for · ``timeout_s``: until an answer is given up; where not one
    packet came meanwhile, the connection is given up with it · ``connect_s``: until a gateway that says nothing at all
    over HTTP/3 is given up, without another try · ``longest_wait_s``: before another try; who is told to wait longer,
    or longer than ``deadline_ms``, is refused at once · ``window_rows``: rows of a stream that are taken at most before
    the verdicts of earlier ones were · ``datagram_bytes``: sent in a datagram over HTTP/3, up to 16,383, once the path
    has carried so many.
    """

    token: str | None = None
    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    http: int = 3
    attempts: int = 4
    deadline_ms: float | None = None
    timeout_s: float = 60.0
    connect_s: float = 5.0
    longest_wait_s: float = 30.0
    window_rows: int = 4096
    datagram_bytes: int = LEAST

    def __post_init__(self) -> None:
        if self.http not in (1, 3):
            raise ConfigError("http", self.http, "3, or 1 for the TCP twin")
        if self.attempts < 1:
            raise ConfigError("attempts", self.attempts, "at least 1")
        if not self.longest_wait_s >= 0:
            raise ConfigError("longest_wait_s", self.longest_wait_s, "at least 0")
        if self.window_rows < 1:
            raise ConfigError("window_rows", self.window_rows, "at least 1")
        if not LEAST <= self.datagram_bytes <= MOST:
            raise ConfigError("datagram_bytes", self.datagram_bytes, f"{LEAST} to {MOST}")


def checked(url: str) -> SplitResult:
    """``url`` in its parts; raises ConfigError where it is not one."""
    expected = "an address such as https://gateway.example:8443"
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        raise ConfigError("url", url, expected) from None
    if found.scheme not in ("http", "https") or not found.hostname or found.path not in ("", "/") or port == 0:
        raise ConfigError("url", url, expected)
    return found


def readable(path: Path | str) -> str:
    """``path`` of a file that is there; raises DataError where none is."""
    if not Path(path).is_file():
        raise DataError(path, "no such file")
    return str(path)


def trust(options: Options) -> ssl.SSLContext:
    """TLS 1.3 that trusts ``options.ca``, and shows ``options.certificate`` where there is one.

    Raises:
        DataError: a file of them is not there, or holds no certificate or key that can be read.
    """
    path = options.ca
    try:
        context = ssl.create_default_context(cafile=path and readable(path))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        path = options.certificate
        if path is not None:
            context.load_cert_chain(readable(path), options.key and readable(options.key))
    except ssl.SSLError as error:
        what = "and its key hold no certificate with its key that can be used: PEM is read"
        if path == options.ca:
            what = "holds no certificate that can be used: PEM is read"
        elif options.key is None:
            what = "holds no key that can be used: name it with --key FILE, or key= in Python"
        raise DataError(str(path), what) from error
    return context


def refusal(answer: Answer, now: float) -> ServerError:
    """What ``answer`` refuses with; ``now``: seconds since 1970, for a date in Retry-After."""
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    problem = found if isinstance(found, dict) else {}
    # The gateway says it to the millisecond, and in whole seconds as whatever stands before it does.
    told = problem.get("retry_after_s")
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not 0 <= told < math.inf:
        told = retry_after(answer.headers.get("retry-after"), now)
    return ServerError(answer.status, problem, None if told is None else min(told, MOST_WAIT_S))
