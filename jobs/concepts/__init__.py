"""Words of many languages for the concepts that attacks and ordinary requests are made of: one file a language.

A file has ``[words]``, a list of words for each concept: ``word*`` begins so, ``word`` is whole, several words follow
each other, ``*`` between them stands for up to five others. ``[lang] prefixes`` are what is written onto the front of
words and may be taken off, ``common`` words that tell the language and mean nothing here. English names the concepts.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any

import numpy as np

from aimds.detect.concepts import lexicon
from aimds.detect.concepts.lexicon import MAIN, Lexicon
from aimds.detect.normalize.fold import fold
from aimds.detect.normalize.vocabulary import Vocabulary
from aimds.errors import ArtefactError
from aimds.kernels.pairs import LONE

_TABLES = ("lang", "words")
_SETTINGS = ("prefixes", "common")


def load() -> Lexicon:
    """The lists of this package, compiled.

    Raises:
        ArtefactError: a list names an unknown concept, or a concept or a word of it is empty, twice or malformed.
    """
    found = sorted(file.name for file in files(__name__).iterdir() if file.name.endswith(".toml"))
    return compiled({name.removesuffix(".toml"): files(__name__).joinpath(name).read_text("utf-8") for name in found})


def compiled(lists: dict[str, str]) -> Lexicon:
    """The lists ``lists`` (TOML by language code), compiled; see `load`."""
    if MAIN not in lists:
        raise ArtefactError(f"{MAIN}.toml", "is missing; it names the concepts")
    languages = (MAIN, *sorted(set(lists) - {MAIN}))
    read = {lang: _read(lang, lists[lang]) for lang in languages}
    names = tuple(read[MAIN][1])
    if len(names) >= LONE:
        raise ArtefactError(f"{MAIN}.toml", f"names {len(names)} concepts, at most {LONE - 1} fit")
    entries, clitics = [], []
    for place, lang in enumerate(languages):
        settings, words = read[lang]
        seen: set[tuple[bytes, ...]] = set()
        for concept, listed in words.items():
            if concept not in names:
                raise ArtefactError(f"{lang}.toml", f"{concept!r} is no concept of {MAIN}.toml")
            for word, parts in zip(listed, _folded(listed), strict=True):
                if not _sound(parts):
                    raise ArtefactError(f"{lang}.toml", f"{concept}: {word!r} is no word, nor several")
                # Of two concepts that a word stands for the first one counts.
                if parts not in seen:
                    entries.append((place, names.index(concept), parts))
                    seen.add(parts)
        common = {parts for parts in _folded(settings.get("common", [])) if parts} - seen
        entries += [(place, len(names), parts) for parts in sorted(common)]
        clitics += [(place, front) for front in _fronts(settings.get("prefixes", []))]
    return lexicon.compiled(languages, names, entries, clitics)


def _sound(parts: tuple[bytes, ...]) -> bool:
    ends = bool(parts) and b"*" not in (parts[0], parts[-1])
    return ends and not any(b"*" in part[:-1] for part in parts)


def _read(lang: str, content: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    try:
        table: dict[str, Any] = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ArtefactError(f"{lang}.toml", f"is no TOML: {error}") from error
    settings, words = table.get("lang", {}), table.get("words", {})
    if set(table) - set(_TABLES) or set(settings) - set(_SETTINGS) or not words:
        raise ArtefactError(f"{lang}.toml", f"holds {', '.join(table)}; expected [words] and perhaps [lang]")
    for concept, listed in (*words.items(), *settings.items()):
        if not isinstance(listed, list) or not listed or not all(isinstance(word, str) for word in listed):
            raise ArtefactError(f"{lang}.toml", f"{concept} is no list of words")
    return settings, words


def _fronts(prefixes: list[str]) -> list[bytes]:
    # Each alone, and each before each other.
    one = [parts[0] for parts in _folded(prefixes) if parts]
    return sorted({*one, *(a + b for a in one for b in one if a != b)})


def _folded(words: list[str]) -> list[tuple[bytes, ...]]:
    # As texts are folded; an apostrophe and a hyphen part words there.
    texts = [word.encode() for word in words]
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    found = fold(np.frombuffer(b"".join(texts), np.uint8), offsets, Vocabulary.load())
    values = found.values.tobytes()
    rows = (values[low:high] for low, high in zip(found.offsets[:-1], found.offsets[1:], strict=True))
    return [tuple(row.replace(b"'", b" ").replace(b"-", b" ").split()) for row in rows]
