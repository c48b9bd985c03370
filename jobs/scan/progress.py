"""Who is told how a job goes."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears of a job; draws or prints as it likes."""

    def note(self, text: str) -> None:
        """Something a reader should know."""

    def begin(self, rows_total: int, rows_done: int) -> None:
        """Screening starts; row counts are declared ones."""

    def advance(self, rows: int) -> None:
        """More rows are screened; negative when a unit starts over."""

    def end(self) -> None:
        """Screening has ended, well or not."""


class Silent:
    """Tells nobody."""

    def note(self, text: str) -> None: ...

    def begin(self, rows_total: int, rows_done: int) -> None: ...

    def advance(self, rows: int) -> None: ...

    def end(self) -> None: ...
