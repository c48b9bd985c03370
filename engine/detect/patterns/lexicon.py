"""How near two words are: weights, inflected forms and near-synonyms per language, read from ``data/synonyms.toml``.

Words are folded bytes, as text is when it reaches the bank. A word that no list names counts 1 and is near itself only.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from aimds import kernels
from aimds.detect.normalize import normalize
from aimds.errors import ArtefactError

Word = bytes
Relations = dict[Word, dict[Word, int]]

FORM = 30
"""Cost, of 255, of another form of a word."""
SYNONYM = 50
"""Cost of a near-synonym, where its group does not say another."""
INFLECTED = 10
"""Cost, on top, of another form of a near-synonym."""
MIN_STEM = 4
"""An ending is taken off only where this many characters stay."""

FIRST_ALONE, LAST_ALONE = "\u3000", "\uffff"
"""By the word rule of the kernels each character from the first to the last of these is a word by itself."""

_NO_WORDS = kernels.build_vocabulary([b"0"])


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Word relations. ``weights`` in [0, 1] by word; by language ``endings``, ``stems``, ``groups`` of words with their
    cost."""

    weights: dict[Word, float]
    endings: dict[str, tuple[str, ...]]
    stems: dict[str, tuple[frozenset[Word], ...]]
    groups: dict[str, tuple[tuple[int, frozenset[Word]], ...]]

    @classmethod
    def parse(cls, name: object, content: bytes) -> Lexicon:
        """The lexicon in the bytes of a TOML file; ``name`` is for the error text.

        Raises:
            ArtefactError: not TOML, or an entry without language, words or a weight in [0, 1].
        """
        try:
            tables = tomllib.loads(content.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ArtefactError(name, f"cannot be read: {error}") from error
        parts: dict[str, list[dict[str, Any]]] = {"weight": [], "inflect": [], "stem": [], "group": []}
        for kind, entries in tables.items():
            if kind not in parts:
                raise ArtefactError(name, f"unknown table {kind!r}; there are {', '.join(parts)}")
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise ArtefactError(name, f"{kind} is no list of tables")
            for place, entry in enumerate(entries):
                text = entry.get("endings" if kind == "inflect" else "words")
                if not isinstance(entry.get("lang"), str) or not isinstance(text, str) or not text.split():
                    raise ArtefactError(name, f"{kind} {place}: needs lang and a text of words")
                value = entry.get("value", 1.0)
                if not isinstance(value, int | float) or not 0 <= value <= 1:
                    raise ArtefactError(name, f"{kind} {place}: value = {value!r}, expected a number in [0, 1]")
                cost = entry.get("cost", SYNONYM)
                if not isinstance(cost, int) or not FORM < cost < 255 - INFLECTED:
                    raise ArtefactError(
                        name, f"{kind} {place}: cost = {cost!r}, expected {FORM + 1} to {254 - INFLECTED}"
                    )
                parts[kind].append(entry)
        folded = {kind: _folded(entries) for kind, entries in parts.items() if kind != "inflect"}
        weights: dict[Word, float] = {}
        for entry, words in zip(parts["weight"], folded["weight"], strict=True):
            # A word that several languages list keeps its highest weight: the text's language is not known.
            for word in words:
                weights[word] = max(weights.get(word, 0.0), float(entry["value"]))
        endings = {entry["lang"]: ("", *entry["endings"].split()) for entry in parts["inflect"]}
        stems: dict[str, tuple[frozenset[Word], ...]] = {}
        groups: dict[str, tuple[tuple[int, frozenset[Word]], ...]] = {}
        for entry, words in zip(parts["stem"], folded["stem"], strict=True):
            stems[entry["lang"]] = (*stems.get(entry["lang"], ()), words)
        for entry, words in zip(parts["group"], folded["group"], strict=True):
            groups[entry["lang"]] = (*groups.get(entry["lang"], ()), (entry.get("cost", SYNONYM), words))
        lexicon = cls(weights, endings, stems, groups)
        listed = dict(weights)
        for entry, words in zip(parts["weight"], folded["weight"], strict=True):
            for word in words:
                if listed[word] > 0 and len(word.decode()) >= MIN_STEM:
                    for form in lexicon.forms(entry["lang"], word) - listed.keys():
                        weights[form] = max(weights.get(form, 0.0), listed[word])
        return lexicon

    def weight(self, word: Word) -> float:
        """What ``word`` counts for, 0 to 1."""
        return self.weights.get(word, 1.0)

    def relations(self, words: Iterable[tuple[str, Word]], *, synonyms: bool = True) -> Relations:
        """Which words of a text come near the pattern words ``words`` (language, word).

        Returns text word → pattern word → cost: 0 for the word itself, else 1 to 254. Without ``synonyms`` only forms
        count.
        """
        out: Relations = {}
        known: dict[tuple[str, Word], frozenset[Word]] = {}

        def forms_of(lang: str, word: Word) -> frozenset[Word]:
            if (lang, word) not in known:
                known[lang, word] = self.forms(lang, word)
            return known[lang, word]

        groups: dict[str, list[_Group]] = {}
        member: dict[tuple[str, Word], list[int]] = {}
        for lang, word in words:
            if lang not in groups:
                groups[lang] = [
                    _Group(cost, group, group.union(*(forms_of(lang, mate) for mate in group)))
                    for cost, group in (self.groups.get(lang, ()) if synonyms else ())
                ]
                for k, one in enumerate(groups[lang]):
                    for mate in one.words:
                        member.setdefault((lang, mate), []).append(k)
            forms = forms_of(lang, word)
            _put(out, [word], word, 0)
            _put(out, forms, word, FORM)
            within = set(member.get((lang, word), ()))
            for k in within.union(*(member.get((lang, form), ()) for form in forms)):
                one = groups[lang][k]
                _put(out, one.reached, word, one.cost + INFLECTED)
                if k in within:
                    _put(out, one.words, word, one.cost)
        return out

    def forms(self, lang: str, word: Word) -> frozenset[Word]:
        """Other forms of ``word``: by the endings of its language and its stem lists.

        A character that is a word by itself takes no ending: the two would be no one word.
        """
        found: set[Word] = set()
        text = word.decode()
        endings = () if any(FIRST_ALONE <= char <= LAST_ALONE for char in text) else self.endings.get(lang, ())
        for ending in endings:
            stem = text[: len(text) - len(ending)]
            if text.endswith(ending) and (not ending or len(stem) >= MIN_STEM):
                found.update((stem + other).encode() for other in endings)
        for group in self.stems.get(lang, ()):
            if word in group:
                found |= group
        return frozenset(found - {word})


def fold(texts: Sequence[str]) -> list[bytes]:
    """Each text as `aimds.detect.normalize` folds it, each as a text of its own."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    views = normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    # The rows themselves are the first views.
    return [views.values[views.offsets[k] : views.offsets[k + 1]].tobytes() for k in range(len(encoded))]


def split(texts: Sequence[bytes]) -> list[list[Word]]:
    """The words of each folded text, by the word rule of the kernels."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    values = np.frombuffer(b"".join(texts), np.uint8)
    _, first, starts, ends = kernels.tokenize(values, offsets, *_NO_WORDS)
    return [[text[starts[k] : ends[k]] for k in range(first[row], first[row + 1])] for row, text in enumerate(texts)]


def _folded(entries: list[dict[str, Any]]) -> list[frozenset[Word]]:
    # One word a text: a list of single letters would fold as one spaced-out word. What folds to several words or to
    # none can never be met as one, and is left out.
    lists = [entry["words"].split() for entry in entries]
    parts = iter(split(fold([word for words in lists for word in words])))
    return [frozenset(part[0] for part in (next(parts) for _ in words) if len(part) == 1) for words in lists]


class _Group(NamedTuple):
    """Words that stand for each other at ``cost``; ``reached`` are they and their forms."""

    cost: int
    words: frozenset[Word]
    reached: frozenset[Word]


def _put(out: Relations, words: Iterable[Word], near: Word, cost: int) -> None:
    for word in words:
        costs = out.get(word)
        if costs is None:
            out[word] = {near: cost}
        elif cost < costs.get(near, 255):
            costs[near] = cost
