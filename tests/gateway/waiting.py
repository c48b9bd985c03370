"""Waiting for what comes about by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], patience_s: float = 60.0) -> None:
    """Return once ``condition`` holds; TimeoutError where it does not within ``patience_s``."""
    async with asyncio.timeout(patience_s):
        while not condition():
            await asyncio.sleep(0.002)
