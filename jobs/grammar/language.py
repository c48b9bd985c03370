"""The templates of one language: reading a grammar file, checking its slots and expanding a template at random."""

from __future__ import annotations

import math
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds import taxonomy
from aimds.errors import ArtefactError

_NAME = frozenset(string.ascii_lowercase + string.digits + "_")
INSTRUCTION = "instruction"
"""The slot that a caller's own ordinary requests may stand for."""
_MOST = 4.0
"""From 10 to this power variants on, a template gets no better odds."""


@dataclass(frozen=True, slots=True)
class Family:
    """Attack templates of one kind as (threat, template), and the look-alike templates that share their words.

    The odds of a template, float64 that sum to 1, rise with the logarithm of how many texts it can give.
    """

    name: str
    attacks: tuple[tuple[str, str], ...]
    attack_odds: npt.NDArray[np.float64]
    lookalikes: tuple[str, ...]
    lookalike_odds: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Language:
    """All families of one language and the slots their templates draw from; slots are known and free of cycles."""

    lang: str
    slots: Mapping[str, tuple[str, ...]]
    families: tuple[Family, ...]

    def expand(self, template: str, rng: np.random.Generator, instructions: Sequence[str] = ()) -> str:
        """``template`` with every slot replaced by a random fragment, again and again until none is left.

        Half of the "instruction" slots take one of ``instructions``, word for word, where there are any.
        """
        out: list[str] = []
        for text, slot in pieces(template):
            out.append(text)
            if slot is None:
                continue
            if slot == INSTRUCTION and len(instructions) and rng.random() < 0.5:
                out.append(instructions[int(rng.integers(len(instructions)))].strip())
                continue
            fragments = self.slots[slot]
            out.append(self.expand(fragments[int(rng.integers(len(fragments)))], rng, instructions))
        return "".join(out)


def pieces(template: str) -> Iterator[tuple[str, str | None]]:
    """The literal texts of ``template``, each with the slot that follows it; braces round no slot name are literal."""
    start = position = 0
    while (opened := template.find("{", position)) >= 0:
        closed = template.find("}", opened)
        name = template[opened + 1 : closed] if closed > 0 else ""
        if name and _NAME.issuperset(name):
            yield template[start:opened], name
            start = position = closed + 1
        else:
            position = opened + 1
    yield template[start:], None


def parse(content: bytes, path: str) -> Language:
    """The language of a grammar file's ``content``.

    Raises:
        ArtefactError: bad TOML, a missing or misshapen entry, an unknown or cyclic slot, an unknown threat, or a family
            without attack or without look-alike. The message names ``path``, the family and the slot.
    """
    table, lang, slots = opened(content, path)
    attacks: dict[str, list[tuple[str, str]]] = {}
    lookalikes: dict[str, list[str]] = {}
    for entry in table.get("attack", ()):
        family, templates = _templates(entry, slots, path, "attack")
        threat = entry.get("threat")
        if threat not in taxonomy.CODES or threat == "none":
            known = ", ".join(name for name in taxonomy.THREATS if name != "none")
            problem = f"threat {threat!r} is unknown, expected one of {known}"
            raise ArtefactError(path, f"attack family {family!r}: {problem}")
        attacks.setdefault(family, []).extend((threat, template) for template in templates)
    for entry in table.get("lookalike", ()):
        family, templates = _templates(entry, slots, path, "lookalike")
        lookalikes.setdefault(family, []).extend(templates)
    if orphans := [name for name in lookalikes if name not in attacks]:
        known = ", ".join(attacks)
        raise ArtefactError(path, f"lookalike family {orphans[0]!r} has no attack; attack families: {known}")
    if bare := [name for name in attacks if name not in lookalikes]:
        raise ArtefactError(path, f"attack family {bare[0]!r} has no lookalike; every attack needs its look-alikes")
    if not attacks:
        raise ArtefactError(path, "has no [[attack]]")
    counts: dict[str, int] = {}
    families = tuple(
        Family(
            name,
            tuple(attacks[name]),
            _odds([template for _, template in attacks[name]], slots, counts),
            tuple(lookalikes[name]),
            _odds(lookalikes[name], slots, counts),
        )
        for name in attacks
    )
    return Language(lang, slots, families)


def opened(content: bytes, path: str) -> tuple[dict[str, Any], str, dict[str, tuple[str, ...]]]:
    """A grammar file as its table, its language and its slots, which are known and free of cycles.

    Raises:
        ArtefactError: bad TOML, no language, a slot that is empty, unknown or cyclic.
    """
    table = table_of(content, path)
    lang = lang_of(table, path)
    raw = table.get("slots", {})
    slots = {name: texts_of(raw[name], path, f"slot {name!r}") for name in raw}
    for name, fragments in slots.items():
        for fragment in fragments:
            check_slots(fragment, slots, path, f"slot {name!r}")
    check_cycles(slots, path)
    return table, lang, slots


def table_of(content: bytes, path: str) -> dict[str, Any]:
    """The table of a file's ``content``, else an ArtefactError that names ``path``."""
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArtefactError(path, f"is not valid TOML: {error}") from None


def lang_of(table: Mapping[str, object], path: str) -> str:
    """The language that a file's ``table`` names, else an ArtefactError that names ``path``."""
    lang = table.get("lang")
    if not isinstance(lang, str) or not lang:
        raise ArtefactError(path, f'lang = {lang!r}: expected a language code such as "en"')
    return lang


def _odds(
    templates: Sequence[str], slots: Mapping[str, Sequence[str]], counts: dict[str, int]
) -> npt.NDArray[np.float64]:
    def variants(template: str) -> int:
        number = 1
        for _, slot in pieces(template):
            if slot is not None:
                if slot not in counts:
                    counts[slot] = sum(variants(fragment) for fragment in slots[slot])
                number *= counts[slot]
        return number

    weights = np.array([1.0 + min(math.log10(variants(template)), _MOST) for template in templates])
    odds: npt.NDArray[np.float64] = weights / weights.sum()
    return odds


def texts_of(value: object, path: str, where: str) -> tuple[str, ...]:
    """The texts of a list that may not be empty, else an ArtefactError that names ``path`` and ``where``."""
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise ArtefactError(path, f"{where}: expected a list of texts that is not empty")
    return tuple(value)


def _templates(entry: Mapping[str, object], slots: Mapping[str, object], path: str, kind: str) -> tuple[str, list[str]]:
    family = entry.get("family")
    if not isinstance(family, str) or not family:
        raise ArtefactError(path, f"{kind} family = {family!r}: expected a name")
    where = f"{kind} family {family!r}"
    templates = texts_of(entry.get("templates"), path, where)
    for template in templates:
        check_slots(template, slots, path, where)
    return family, list(templates)


def check_slots(template: str, slots: Mapping[str, object], path: str, where: str) -> None:
    """Refuse a template with a slot that is not among ``slots``."""
    for _, slot in pieces(template):
        if slot is not None and slot not in slots:
            raise ArtefactError(path, f"{where}: slot {slot!r} is unknown in {template!r}")


def check_cycles(slots: Mapping[str, Sequence[str]], path: str) -> None:
    """Refuse slots that lead back to themselves."""
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise ArtefactError(path, f"slot {name!r} is cyclic: {' > '.join((*above[above.index(name) :], name))}")
        if name in done:
            return
        for fragment in slots[name]:
            for _, slot in pieces(fragment):
                if slot is not None:
                    visit(slot, (*above, name))
        done.add(name)

    for name in slots:
        visit(name, ())
