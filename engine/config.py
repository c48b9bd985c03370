"""Settings from a file as checked values: every key is known, every value is in range, and a bad one is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aimds.errors import ConfigError


class Section:
    """One table of the file with its key path; `end` rejects the keys nobody asked for."""

    def __init__(self, values: object, path: str) -> None:
        if not isinstance(values, Mapping):
            raise ConfigError(path, values, "a table")
        self.values, self.path = values, path
        self._asked: list[str] = []

    def key(self, name: str) -> str:
        """Full path of ``name``."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Whether ``name`` is there; counts as asked."""
        self._asked.append(name)
        return name in self.values

    def any(self, name: str, expected: str) -> Any:
        """The value of ``name``, whatever it is."""
        if not self.has(name):
            raise ConfigError(self.key(name), None, f"{expected}; the key is missing")
        return self.values[name]

    def choice(self, name: str, accepted: tuple[str, ...]) -> str:
        """A string out of ``accepted``."""
        expected = "one of " + ", ".join(accepted)
        value = self.any(name, expected)
        if not isinstance(value, str) or value not in accepted:
            raise ConfigError(self.key(name), value, expected)
        return value

    def number(self, name: str, low: float, high: float, *, open_low: bool = False) -> float:
        """A finite number from ``low`` to ``high``; ``low`` itself is refused where ``open_low``."""
        expected = f"a number above {low:g} and up to {high:g}" if open_low else f"a number from {low:g} to {high:g}"
        value = self.any(name, expected)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(self.key(name), value, expected)
        # Compared as it is: a whole number may be too large for a float. NaN is in no range.
        if not low <= value <= high or (open_low and value == low):
            raise ConfigError(self.key(name), value, expected)
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.any(name, "true or false")
        if not isinstance(value, bool):
            raise ConfigError(self.key(name), value, "true or false")
        return value

    def text(self, name: str) -> str:
        """A string that is not blank."""
        value = self.any(name, "a text that is not empty")
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(self.key(name), value, "a text that is not empty")
        return value

    def names(self, name: str, accepted: Iterable[str]) -> tuple[str, ...]:
        """A list of different strings out of ``accepted``."""
        known = tuple(accepted)
        expected = "a list without repeats of " + ", ".join(known)
        value = self.any(name, expected)
        if not isinstance(value, list) or len({str(item) for item in value}) != len(value):
            raise ConfigError(self.key(name), value, expected)
        for i, item in enumerate(value):
            if item not in known:
                raise ConfigError(f"{self.key(name)}[{i}]", item, "one of " + ", ".join(known))
        return tuple(value)

    def section(self, name: str) -> Section:
        """The table called ``name``."""
        return Section(self.any(name, "a table"), self.key(name))

    def sections(self, name: str, accepted: tuple[str, ...] | None = None) -> dict[str, Section]:
        """The tables inside the optional table ``name``; their names are out of ``accepted`` where it is given."""
        if not self.has(name):
            return {}
        outer = self.section(name)
        for inner, value in outer.values.items():
            if accepted is not None and inner not in accepted:
                raise ConfigError(outer.key(inner), value, "no such key; known here: " + ", ".join(accepted))
        return {inner: Section(value, outer.key(inner)) for inner, value in outer.values.items()}

    def end(self) -> None:
        """Reject keys that were not asked for."""
        for name, value in self.values.items():
            if name not in self._asked:
                raise ConfigError(
                    self.key(name), value, "no such key; known here: " + ", ".join(sorted(set(self._asked)))
                )
