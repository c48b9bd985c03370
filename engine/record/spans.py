"""Sets of record numbers as spans, both ends in them: small where what they name lies together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Spans:
    """A set of whole numbers; `add` takes them in any order, quickest in the order of the numbers."""

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._highs: list[int] = []

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Spans:
        """The union of ``spans``."""
        found = cls()
        for low, high in sorted(spans):
            if found._highs and low <= found._highs[-1] + 1:
                found._highs[-1] = max(found._highs[-1], high)
            else:
                found._lows.append(low)
                found._highs.append(high)
        return found

    def add(self, number: int) -> None:
        """Put ``number`` into the set."""
        if not self._highs or number > self._highs[-1] + 1:
            self._lows.append(number)
            self._highs.append(number)
        elif number == self._highs[-1] + 1:
            self._highs[-1] = number
        elif number not in self:
            merged = Spans.of([*self, (number, number)])
            self._lows, self._highs = merged._lows, merged._highs

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._lows, number) - 1
        return place >= 0 and number <= self._highs[place]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._lows, self._highs, strict=True)

    def __len__(self) -> int:
        """How many numbers there are."""
        return sum(high - low + 1 for low, high in self)

    def without(self, other: Spans) -> list[tuple[int, int]]:
        """The spans of what is in this set and not in ``other``."""
        out = []
        for low, high in self:
            place = max(bisect_right(other._lows, low) - 1, 0)
            while low <= high and place < len(other._lows):
                start, end = other._lows[place], other._highs[place]
                if start > high:
                    break
                if start > low:
                    out.append((low, start - 1))
                low = max(low, end + 1)
                place += 1
            if low <= high:
                out.append((low, high))
        return out
