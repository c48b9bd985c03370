"""Ordinary text that public benign text hardly covers: questions, requests and prose of our own writing.

A language that a detector knows only from attacks and their look-alikes is itself a sign of attack to it, and so is an
English word: the English file holds innocent uses of such words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar.language import Language, check_slots, opened, texts_of
from aimds.jobs.grammar.sample import Sample
from aimds.jobs.grammar.surface import noised, tidy

ORDINARY = "ordinary"
_KINDS = ("questions", "requests", "statements")
TASKS = "tasks"
"""What some languages have besides: requests that bring their material, code or steps, which reads like orders."""
_TASKS = 0.35
"""Share of them among the texts of such a language."""
SETUPS = "setups"
"""What some languages have besides: prompts that set up an assistant, as a developer writes them or a user pastes
them."""
_SETUPS = 0.15
_UNSPACED = ("zh", "ja")
"""Languages whose sentences stand beside each other without a blank."""
_MOST_STATEMENTS = 6
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Prose:
    """The ordinary sentences of one language, templates like those of `Language`, by kind."""

    language: Language
    kinds: Mapping[str, tuple[str, ...]]

    @property
    def lang(self) -> str:
        """Code of the language."""
        return self.language.lang

    def text(self, rng: np.random.Generator) -> str:
        """A question, a request, a task or up to six statements, in the spelling of somebody who types it."""
        return self.drawn(rng)[1]

    def drawn(self, rng: np.random.Generator) -> tuple[str, str]:
        """The same behind its family, TASKS or ORDINARY."""
        if TASKS in self.kinds and rng.random() < _TASKS:
            task = self.language.expand(self._some(TASKS, 1, rng)[0], rng)
            return TASKS, noised(tidy(task), self.lang, rng)
        drawn = rng.random()
        if drawn < 0.5:
            templates = self._some("statements", int(rng.integers(1, _MOST_STATEMENTS + 1)), rng)
        else:
            templates = self._some("questions" if drawn < 0.8 else "requests", 1, rng)
            if rng.random() < 0.2:
                templates.insert(int(rng.integers(2)), self._some("statements", 1, rng)[0])
        sentences = [self.language.expand(template, rng) for template in templates]
        between = "" if self.lang in _UNSPACED else "\n" if rng.random() < 0.1 else " "
        return ORDINARY, noised(tidy(between.join(sentences)), self.lang, rng)

    def setup(self, rng: np.random.Generator) -> tuple[str, str]:
        """A prompt that sets up an assistant, behind its family, SETUPS; only of a language that has them."""
        return SETUPS, tidy(self.language.expand(self._some(SETUPS, 1, rng)[0], rng))

    def _some(self, kind: str, size: int, rng: np.random.Generator) -> list[str]:
        templates = self.kinds[kind]
        return [templates[k] for k in rng.permutation(len(templates))[:size].tolist()]


def load() -> tuple[Prose, ...]:
    """The languages shipped beside this module, in order of their codes.

    Raises:
        ArtefactError: a file cannot be used (see `parse`), or two hold one language.
    """
    folder = resources.files("aimds.jobs.grammar").joinpath("ordinary")
    found: dict[str, Prose] = {}
    for file in sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name):
        prose = parse(file.read_bytes(), file.name)
        if prose.lang in found:
            raise ArtefactError(file.name, f"lang {prose.lang!r} already has a file")
        found[prose.lang] = prose
    return tuple(found[lang] for lang in sorted(found))


def parse(content: bytes, path: str) -> Prose:
    """The sentences in a file's ``content``.

    Raises:
        ArtefactError: bad TOML, a missing or misshapen entry, an unknown or cyclic slot; names ``path`` and the entry.
    """
    table, lang, slots = opened(content, path)
    named = [*_KINDS, *(kind for kind in (TASKS, SETUPS) if kind in table)]
    kinds = {kind: texts_of(table.get(kind), path, kind) for kind in named}
    for kind, templates in kinds.items():
        for template in templates:
            check_slots(template, slots, path, kind)
    return Prose(Language(lang, slots, ()), kinds)


def ordinary(rng: np.random.Generator, size: int, languages: tuple[Prose, ...]) -> list[Sample]:
    """``size`` distinct samples with label 0, the languages in turn; the same ``rng`` state gives the same.

    Of a language with set-ups _SETUPS of the texts are such, half of them of channel "system".

    Raises:
        ConfigError: the sentences cannot give that many distinct texts.
    """
    samples: list[Sample] = []
    seen: set[str] = set()
    while languages and len(samples) < size:
        prose = languages[len(samples) % len(languages)]
        setup = SETUPS in prose.kinds and rng.random() < _SETUPS
        channel = "system" if setup and rng.random() < 0.5 else "user"
        for _ in range(_TRIES):
            family, text = prose.setup(rng) if setup else prose.drawn(rng)
            if text not in seen:
                break
        else:
            raise ConfigError("size", size, f"at most about {len(samples)} distinct texts from these sentences")
        seen.add(text)
        samples.append(Sample(text, 0, "none", family, prose.lang, channel))
    return samples
