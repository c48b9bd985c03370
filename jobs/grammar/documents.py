"""Stretches of ordinary documents of our own writing: as they are, with a look-alike and with an attack put in.

Licences, manuals, changelogs, source code and notices are full of orders to their reader. Public benign text is mostly
questions and answers, so a detector that knows that alone takes such documents for attacks. ``documents/*.toml`` ::

    lang = "en"
    documents = ["...", "..."]

Texts stand as they are but for blank lines round them; braces are literal. An attack and a look-alike are put in alike,
in the document's language where there are some, so that neither the seam nor a change of language tells them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar.carrier import inside, separator
from aimds.jobs.grammar.language import lang_of, table_of, texts_of
from aimds.jobs.grammar.sample import Sample
from aimds.schema import UNTRUSTED_CHANNELS

FAMILY = "documents"
"""The family of every sample from here."""
_LENGTH = (200, 2600)
"""Characters of the shortest and the longest stretch."""
_LONGEST_PLANTED = 400
_FEW = 5
"""A document takes what is put in from all languages where its own has fewer texts."""
_CHANNELS = ("user", "document", "tool")
_ODDS = (0.4, 0.4, 0.2)
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
    table = table_of(content, path)
    if set(table) != _KEYS:
        raise ArtefactError(path, f"has {', '.join(sorted(table)) or 'nothing'}, expected {', '.join(sorted(_KEYS))}")
    lang = lang_of(table, path)
    texts = texts_of(table["documents"], path, "documents")
    if not all(text.strip() for text in texts):
        raise ArtefactError(path, "documents: holds an empty text")
    return tuple(Document(lang, text.strip("\n")) for text in texts)


def stretches(
    rng: np.random.Generator, size: int, documents: Sequence[Document], planted: Sequence[Sample]
) -> list[Sample]:
    """``size`` distinct stretches of ``documents``, each document in turn: as it is, with a look-alike in it, with an
    attack, and so on. The same ``rng`` state gives the same.

    ``planted`` are attacks and look-alikes; those of users and those of tools and documents go where their like come
    from. Where there are none to choose from, the stretch stays as it is.

    Raises:
        ConfigError: there are no documents, or they cannot give that many distinct texts.
    """
    if not len(documents):
        raise ConfigError("documents", [], "at least one text")
    choices = _choices(planted)
    samples: list[Sample] = []
    seen: set[str] = set()
    order: list[int] = []
    while len(samples) < size:
        order = order or rng.permutation(len(documents)).tolist()
        document = documents[order.pop()]
        channel = _CHANNELS[int(rng.choice(len(_CHANNELS), p=_ODDS))]
        kind = len(samples) % 3 - 1  # -1 as it is, 0 with a look-alike, 1 with an attack
        untrusted = channel in UNTRUSTED_CHANNELS
        choice = choices.get((kind, untrusted, document.lang)) or choices.get((kind, untrusted, "")) or []
        chosen = choice[int(rng.integers(len(choice)))] if choice else None
        for _ in range(_TRIES):
            text = _stretch(document.text, rng)
            if chosen:
                text = inside(chosen.text, text, int(rng.integers(len(text) + 1)), separator(rng))
            text = text.strip()
            if text and text not in seen:
                break
        else:
            raise ConfigError("size", size, f"at most about {len(samples)} distinct stretches of these documents")
        seen.add(text)
        label, threat = (chosen.label, chosen.threat) if chosen else (0, "none")
        samples.append(Sample(text, label, threat, FAMILY, document.lang, channel))
    return samples


def _choices(planted: Sequence[Sample]) -> dict[tuple[int, bool, str], list[Sample]]:
    # By label, trust and language; "" holds all languages, for those with hardly any texts.
    found: dict[tuple[int, bool, str], list[Sample]] = {}
    for one in planted:
        if len(one.text) <= _LONGEST_PLANTED:
            for lang in (one.lang, ""):
                found.setdefault((one.label, one.channel in UNTRUSTED_CHANNELS, lang), []).append(one)
    return {key: samples for key, samples in found.items() if not key[2] or len(samples) >= _FEW}


def _stretch(text: str, rng: np.random.Generator) -> str:
    # A third begin where the document begins, the others anywhere, within a word too, as a file is cut.
    shortest, longest = _LENGTH
    size = round(shortest * math.exp(rng.random() * math.log(longest / shortest)))
    if len(text) <= size:
        return text
    start = 0 if rng.random() < 1 / 3 else int(rng.integers(len(text) - size + 1))
    return text[start : start + size]
