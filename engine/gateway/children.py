"""Processes that work for a gateway on its machine: how one is ended, and how long until another is tried."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import Iterator
from typing import Final

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0
END_S: Final = 5.0
"""How long one that was told to end may take."""


def pauses() -> Iterator[float]:
    """Seconds to wait after each start that went wrong, twice as long each time."""
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE_S)


def kill(process: Process | None) -> None:
    """End ``process``, whatever it is at; nothing where it has ended, or never began."""
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def ended(process: Process, seconds: float = END_S) -> None:
    """Wait until ``process``, which was told to, has ended; after ``seconds``, or where nobody waits, it is killed."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await process.wait()
    finally:
        kill(process)
    await process.wait()
