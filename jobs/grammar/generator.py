"""Samples drawn from the grammars of all languages: pairs of an attack and a look-alike of one family and language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar.carrier import carried
from aimds.jobs.grammar.language import Family, Language, parse
from aimds.jobs.grammar.sample import Sample
from aimds.jobs.grammar.surface import noised, tidy

ENGLISH = 0.4
"""English's share of the samples where other languages are drawn too."""
_DOCUMENTARY = "indirect"
_TRIES = 60
_PREFACED, _CODA = 0.2, 0.15
"""Shares of texts, attacks and look-alikes alike, with a harmless sentence before or after them, where a language has
the slots "preface" and "coda"."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The templates of several languages, one `Language` each."""

    languages: tuple[Language, ...]

    @classmethod
    def load(cls) -> Grammar:
        """The grammars shipped beside this module.

        Raises:
            ArtefactError: a file cannot be used (see `language.parse`), two files hold one language, or there is none.
        """
        folder = resources.files("aimds.jobs.grammar")
        files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
        languages: dict[str, Language] = {}
        for file in files:
            language = parse(file.read_bytes(), file.name)
            if language.lang in languages:
                raise ArtefactError(file.name, f"lang {language.lang!r} already has a file")
            languages[language.lang] = language
        if not languages:
            raise ArtefactError(folder, "holds no grammar, expected files such as en.toml")
        return cls(tuple(languages.values()))

    def generate(
        self,
        rng: np.random.Generator,
        size: int,
        *,
        langs: Sequence[str] | None = None,
        carriers: Sequence[str] = (),
        instructions: Sequence[str] = (),
        native: Mapping[str, Sequence[str]] | None = None,
    ) -> list[Sample]:
        """``size`` samples with distinct texts, attacks and look-alikes in turn; the same ``rng`` state gives the same.

        ``carriers`` are ordinary texts that samples are put into, in a language of ``native`` its texts instead;
        ``instructions`` are ordinary requests that may stand for the task which an attack or a look-alike names.

        Raises:
            ConfigError: ``langs`` names an unknown language, or the templates cannot give that many distinct texts.
        """
        chosen = self._chosen(langs)
        weights = np.array([1.0] * len(chosen))
        if len(chosen) > 1 and any(language.lang == "en" for language in chosen):
            weights = np.array([ENGLISH if one.lang == "en" else (1 - ENGLISH) / (len(chosen) - 1) for one in chosen])
        weights /= weights.sum()
        samples: list[Sample] = []
        seen: set[str] = set()
        while len(samples) < size:
            for _ in range(_TRIES):
                language = chosen[int(rng.choice(len(chosen), p=weights))]
                family = language.families[int(rng.integers(len(language.families)))]
                beside = (native or {}).get(language.lang, carriers)
                pair = [_draw(language, family, label, rng, beside, instructions) for label in (1, 0)]
                texts = {sample.text for sample in pair}
                if len(texts) == 2 and not texts & seen:
                    break
            else:
                raise ConfigError("size", size, f"at most about {len(samples)} distinct texts from these templates")
            seen |= texts
            samples += pair
        return samples[:size]

    def _chosen(self, langs: Sequence[str] | None) -> list[Language]:
        known = {language.lang: language for language in self.languages}
        for lang in langs or ():
            if lang not in known:
                raise ConfigError("langs", lang, "one of " + ", ".join(known))
        return [known[lang] for lang in dict.fromkeys(langs or known)]


def _draw(
    language: Language,
    family: Family,
    label: int,
    rng: np.random.Generator,
    carriers: Sequence[str],
    instructions: Sequence[str],
) -> Sample:
    if label:
        threat, template = family.attacks[int(rng.choice(len(family.attacks), p=family.attack_odds))]
    else:
        threat, template = "none", family.lookalikes[int(rng.choice(len(family.lookalikes), p=family.lookalike_odds))]
    if "preface" in language.slots and rng.random() < _PREFACED:
        template = "{preface} " + template
    if "coda" in language.slots and rng.random() < _CODA and not template.endswith((">", "```")):
        template += " {coda}"
    text = noised(tidy(language.expand(template, rng, instructions)), language.lang, rng)
    text, channel = carried(text, rng, carriers, family.name == _DOCUMENTARY)
    return Sample(text, label, threat, family.name, language.lang, channel)
