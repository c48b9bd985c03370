"""Attacks and look-alikes written out one by one, without templates: families of both in ``written/*.toml``.

Templates share their words, and what is learnt from them finds little that is worded otherwise. A file holds entries ::

    [[family]]
    name = "asked as a riddle"
    threat = "prompt_leak"
    channel = "user"
    attack = ["...", "..."]
    benign = ["...", "..."]

``lang = "de"`` says in which language they are, where that is not English. A name may come again, in another file too;
its texts are then one family. Texts stand as they are; braces are literal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aimds import taxonomy
from aimds.errors import ArtefactError
from aimds.jobs.grammar.carrier import carried
from aimds.jobs.grammar.language import table_of, texts_of
from aimds.jobs.grammar.sample import Sample
from aimds.jobs.grammar.surface import noised
from aimds.schema import CHANNELS, UNTRUSTED_CHANNELS

FAMILY = "written"
"""The family of every sample from here."""
_LANG = "en"
_KEYS = {"name", "threat", "channel", "attack", "benign"}
_MORE = {"lang"}


@dataclass(frozen=True, slots=True)
class Family:
    """Attacks of one threat, and innocent texts that share their words, register and shape, all of one channel."""

    name: str
    threat: str
    channel: str
    attack: tuple[str, ...]
    benign: tuple[str, ...]
    lang: str = _LANG

    def samples(self) -> list[Sample]:
        """Every text as it was written."""
        attacks = [Sample(text, 1, self.threat, FAMILY, self.lang, self.channel) for text in self.attack]
        return attacks + [Sample(text, 0, "none", FAMILY, self.lang, self.channel) for text in self.benign]


def varied(sample: Sample, rng: np.random.Generator, carriers: Sequence[str]) -> Sample:
    """``sample`` as somebody else might type it, two thirds of the time in a frame or beside one of ``carriers``."""
    text, _ = carried(noised(sample.text, sample.lang, rng), rng, carriers, sample.channel in UNTRUSTED_CHANNELS)
    return dataclasses.replace(sample, text=text)


def load() -> tuple[Family, ...]:
    """The families shipped beside this module, in order of their names.

    Raises:
        ArtefactError: a file cannot be used (see `parse`), or a text stands twice, be it in two files or on two sides.
    """
    folder = resources.files("aimds.jobs.grammar").joinpath("written")
    families: dict[tuple[str, str, str, str], Family] = {}
    seen: dict[str, str] = {}
    for file in sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name):
        for one in parse(file.read_bytes(), file.name):
            for text in one.attack + one.benign:
                key = " ".join(text.casefold().split())
                if key in seen:
                    raise ArtefactError(file.name, f"family {one.name!r}: {text!r} already stands in {seen[key]}")
                seen[key] = f"family {one.name!r} of {file.name}"
            place = (one.name, one.threat, one.channel, one.lang)
            had = families.get(place)
            both = (
                dataclasses.replace(one, attack=had.attack + one.attack, benign=had.benign + one.benign) if had else one
            )
            families[place] = both
    return tuple(families[place] for place in sorted(families))


def parse(content: bytes, path: str) -> tuple[Family, ...]:
    """The families of a file's ``content``.

    Raises:
        ArtefactError: bad TOML, a missing, unknown or misshapen key, an unknown threat or channel, an empty text; the
            message names ``path`` and the family.
    """
    table = table_of(content, path)
    entries = table.get("family")
    if set(table) != {"family"} or not isinstance(entries, list):
        raise ArtefactError(path, "expected [[family]] entries and nothing else")
    return tuple(_family(entry, path) for entry in entries)


def _family(entry: dict[str, object], path: str) -> Family:
    name, threat, channel = (entry.get(key) for key in ("name", "threat", "channel"))
    if not isinstance(name, str) or not name:
        raise ArtefactError(path, f"family name = {name!r}: expected a name")
    where = f"family {name!r}"
    if set(entry) - _MORE != _KEYS:
        raise ArtefactError(path, f"{where}: has {', '.join(sorted(entry))}, expected {', '.join(sorted(_KEYS))}")
    lang = entry.get("lang", _LANG)
    if not isinstance(lang, str) or not lang:
        raise ArtefactError(path, f'{where}: lang = {lang!r}: expected a language code such as "de"')
    if not isinstance(threat, str) or threat not in taxonomy.CODES or threat == "none":
        known = ", ".join(one for one in taxonomy.THREATS if one != "none")
        raise ArtefactError(path, f"{where}: threat {threat!r} is unknown, expected one of {known}")
    if not isinstance(channel, str) or channel not in CHANNELS:
        raise ArtefactError(path, f"{where}: channel {channel!r} is unknown, expected one of {', '.join(CHANNELS)}")
    attack, benign = (texts_of(entry[side], path, f"{where}, {side}") for side in ("attack", "benign"))
    for text in attack + benign:
        if not text.strip():
            raise ArtefactError(path, f"{where}: holds an empty text")
    return Family(name, threat, channel, attack, benign, lang)
