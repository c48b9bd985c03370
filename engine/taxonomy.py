"""Threat types with their OWASP LLM Top 10 (2025), OWASP AITG-APP and MITRE ATLAS ids, from ``data/taxonomy.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from aimds import data
from aimds.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Threat:
    """One threat type; ``code`` is its place in dictionaries and score arrays, ``impact`` in [0, 1] how bad it is."""

    code: int
    name: str
    title: str
    impact: float
    owasp_llm: tuple[str, ...]
    owasp_aitg: tuple[str, ...]
    atlas: tuple[str, ...]


@cache
def load() -> tuple[Threat, ...]:
    """All threat types in code order."""
    rows = tomllib.loads(data.read_bytes("taxonomy.toml").decode())["threat"]
    return tuple(
        Threat(
            code=code,
            name=row["name"],
            title=row["title"],
            impact=float(row["impact"]),
            owasp_llm=tuple(row["owasp_llm"]),
            owasp_aitg=tuple(row["owasp_aitg"]),
            atlas=tuple(row["atlas"]),
        )
        for code, row in enumerate(rows)
    )


THREATS: tuple[str, ...] = tuple(threat.name for threat in load())
NOTABLE_P = 0.01
"""Above this p-value a text by itself has the threat type none."""
CODES: dict[str, int] = {name: code for code, name in enumerate(THREATS)}


def get(name: str) -> Threat:
    """The threat type called ``name``.

    Raises:
        ConfigError: there is none; the message lists the known names.
    """
    if name not in CODES:
        raise ConfigError("threat", name, "one of " + ", ".join(THREATS))
    return load()[CODES[name]]
