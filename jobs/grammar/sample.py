"""One text that the grammar made, with what it is meant to teach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """``label`` 1 is an attack, 0 a look-alike, whose ``threat`` is "none"; ``channel`` is one of `schema.CHANNELS`."""

    text: str
    label: int
    threat: str
    family: str
    lang: str
    channel: str
