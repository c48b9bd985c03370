"""A body on its way from where it came to its exchange: handed on as it is wanted, whatever brings it."""

from __future__ import annotations

from collections import deque
from typing import Final

from aimds.gateway.exchange import Exchange
from aimds.gateway.problem import Problem

PORTION: Final = 64 << 10
"""Bytes of a body that are handed on at a time, and of an answer."""


class Feeding:
    """A request: its exchange, and what was received but is not wanted yet."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.held: deque[bytes] = deque()
        self.over = self.told = self.begun = False

    def feed(self, now: float, waited_s: float = 0.0) -> int:
        """Hand on what is wanted, which came ``waited_s`` ago; its bytes."""
        exchange, held, taken = self.exchange, self.held, 0
        exchange.waited_s = waited_s
        try:
            while held and exchange.wants_data:
                content = held.popleft()
                if held:
                    parts, size = [content], len(content)
                    while held and size < PORTION:
                        parts.append(held.popleft())
                        size += len(parts[-1])
                    content = b"".join(parts)
                taken += len(content)
                exchange.receive(content, now)
            # Where its acknowledgement was lost, the end of a body comes twice.
            if self.over and not self.told and not held and not exchange.ended:
                self.told = True
                exchange.end(now)
        except Exception as error:  # a body that nobody foresaw ends its own request alone
            exchange.refuse(Problem("internal", f"{type(error).__name__}: {error}"))
        exchange.waited_s = 0.0
        return taken
