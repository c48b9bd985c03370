"""A screener of which the first one of all dawdles."""

from __future__ import annotations

from fake_screener import FakeScreener


def dawdling(flag: str, delay_s: float) -> FakeScreener:
    """The one that makes the file ``flag`` takes ``delay_s`` for each batch, the others none."""
    try:
        with open(flag, "x"):
            return FakeScreener(delay_s)
    except FileExistsError:
        return FakeScreener()
