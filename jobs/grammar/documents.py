"""Stretches of ordinary documents of our own writing, as they are and with an attack planted in them.

Licences, manuals, changelogs, source code and notices are full of orders to their reader. Public benign text is mostly
questions and answers, so a detector that knows that alone takes such documents for attacks. ``documents/*.toml`` ::

    lang = "en"
    documents = ["...", "..."]

Texts stand as they are; braces are literal.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar.carrier import break_near, separator
from aimds.jobs.grammar.language import texts_of
from aimds.jobs.grammar.sample import Sample
from aimds.schema import UNTRUSTED_CHANNELS

FAMILY = "documents"
"""The family of every sample from here."""
_LENGTH = (200, 2600)
"""Characters of the shortest and the longest stretch."""
_PLANTED = 3
"""One stretch of so many holds an attack."""
_LONGEST_ATTACK = 400
_CHANNELS = (("user", 0.4), ("document", 0.4), ("tool", 0.2))
_KEYS = {"lang", "documents"}
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Document:
    """An ordinary document in the language ``lang``."""

    lang: str
    text: str


def load() -> tuple[Document, ...]:
    """The documents shipped beside this module, in the order of their files.

    Raises:
        ArtefactError: a file cannot be used (see `parse`), or a document stands twice.
    """
    folder = resources.files("aimds.jobs.grammar").joinpath("documents")
    found: list[Document] = []
    seen: dict[str, str] = {}
    for file in sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name):
        for one in parse(file.read_bytes(), file.name):
            if one.text in seen:
                raise ArtefactError(file.name, f"{one.text[:60]!r} already stands in {seen[one.text]}")
            seen[one.text] = file.name
            found.append(one)
    return tuple(found)


def parse(content: bytes, path: str) -> tuple[Document, ...]:
    """The documents of a file's ``content``.

    Raises:
        ArtefactError: bad TOML, a missing, unknown or misshapen key, an empty document; the message names ``path``.
    """
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(path, f"is not valid TOML: {error}") from None
    if set(table) != _KEYS:
        raise ArtefactError(path, f"has {', '.join(sorted(table)) or 'nothing'}, expected {', '.join(sorted(_KEYS))}")
    lang = table["lang"]
    if not isinstance(lang, str) or not lang:
        raise ArtefactError(path, f'lang = {lang!r}: expected a language code such as "en"')
    texts = texts_of(table["documents"], path, "documents")
    if not all(text.strip() for text in texts):
        raise ArtefactError(path, "documents: holds an empty text")
    return tuple(Document(lang, text.strip()) for text in texts)


def stretches(
    rng: np.random.Generator, size: int, documents: Sequence[Document], attacks: Sequence[Sample]
) -> list[Sample]:
    """``size`` distinct stretches of ``documents``, each document in turn; every third holds one of ``attacks`` of its
    channel. Without attacks all are ordinary. The same ``rng`` state gives the same.

    Raises:
        ConfigError: there are no documents, or they cannot give that many distinct texts.
    """
    if not len(documents):
        raise ConfigError("documents", [], "at least one text")
    brief = [one for one in attacks if one.label and len(one.text) <= _LONGEST_ATTACK]
    planted = [
        [one for one in brief if (one.channel in UNTRUSTED_CHANNELS) == untrusted] for untrusted in (False, True)
    ]
    names, odds = zip(*_CHANNELS, strict=True)
    samples: list[Sample] = []
    seen: set[str] = set()
    order: list[int] = []
    while len(samples) < size:
        order = order or rng.permutation(len(documents)).tolist()
        document = documents[order.pop()]
        channel = names[int(rng.choice(len(names), p=odds))]
        choice = planted[channel in UNTRUSTED_CHANNELS] if len(samples) % _PLANTED == _PLANTED - 1 else []
        attack = choice[int(rng.integers(len(choice)))] if choice else None
        for _ in range(_TRIES):
            text = _stretch(document.text, rng)
            if attack:
                text = _with(attack.text, text, rng)
            if text not in seen:
                break
        else:
            raise ConfigError("size", size, f"at most about {len(samples)} distinct stretches of these documents")
        seen.add(text)
        threat = attack.threat if attack else "none"
        samples.append(Sample(text, int(attack is not None), threat, FAMILY, document.lang, channel))
    return samples


def _stretch(text: str, rng: np.random.Generator) -> str:
    # A third begin where the document begins, the others anywhere, within a word too, as a file is cut.
    shortest, longest = _LENGTH
    size = round(shortest * math.exp(rng.random() * math.log(longest / shortest)))
    if len(text) <= size:
        return text
    start = 0 if rng.random() < 1 / 3 else int(rng.integers(len(text) - size + 1))
    return text[start : start + size]


def _with(attack: str, text: str, rng: np.random.Generator) -> str:
    cut = break_near(text, int(rng.integers(len(text) + 1)))
    between = separator(rng)
    return f"{text[:cut].rstrip()}{between}{attack}{between}{text[cut:].lstrip()}".strip()
