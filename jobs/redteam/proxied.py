"""The proxy with a stub model behind it, as a process of its own for the time of a run."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aimds.errors import AimdsError

READY = "listening on "
START_S = 240.0
"""Kernels may be compiled first."""


class ProxyError(AimdsError):
    """The proxy did not start: says what it said."""

    def __init__(self, said: str) -> None:
        self.said = said
        super().__init__(f"aimds proxy did not start: {said}")


@contextmanager
def serving(upstream: str, options: Sequence[str] = ()) -> Iterator[str]:
    """`aimds proxy` on a free port of loopback, in front of ``upstream``, while the block runs: its URL.

    Raises:
        ProxyError: it ended, or did not listen in time.
    """
    command = [sys.executable, "-m", "aimds", "proxy", "--upstream", upstream, "--port", "0", *options]
    # A session of its own: Ctrl-C is for this process, which then ends the proxy.
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr
    said: deque[str] = deque(maxlen=20)
    url: list[str] = []
    settled = threading.Event()

    def listen() -> None:
        assert process.stderr
        for line in process.stderr:
            said.append(line.strip())
            if line.startswith(READY):
                url.append(line.removeprefix(READY).strip())
                settled.set()
        settled.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        settled.wait(START_S)
        if not url:
            raise ProxyError(" ".join(list(said)[-3:]) or f"nothing within {START_S:g} s")
        yield url[0]
    finally:
        process.terminate()
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join(5.0)
        process.stderr.close()
