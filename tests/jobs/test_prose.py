"""Ordinary text in other languages: what its files may hold, and what is drawn from them."""

from __future__ import annotations

import numpy as np
import pytest

from aimds.detect.fusion import CERTAIN
from aimds.detect.normalize import normalize
from aimds.detect.rules import Rules
from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar import prose
from aimds.jobs.grammar.language import pieces
from aimds.jobs.grammar.prose import Prose, ordinary, parse
from aimds.jobs.grammar.surface import tidy
from aimds.schema import CHANNELS

FILE = """
lang = "xx"
questions = ["Where is {place}?"]
requests = ["Write about {place}."]
statements = ["It rains in {place}.", "The mill stands by the river."]
[slots]
place = ["Ostend", "Lund", "Brno"]
"""


@pytest.fixture(scope="module")
def languages() -> tuple[Prose, ...]:
    return prose.load()


def test_every_language_has_many_sentences_of_each_kind_and_none_twice(languages: tuple[Prose, ...]) -> None:
    assert len(languages) >= 15
    for one in languages:
        for kind, least in (("questions", 20), ("requests", 12), ("statements", 20)):
            assert len(set(one.kinds[kind])) == len(one.kinds[kind]) >= least, (one.lang, kind)
        tasks = one.kinds.get(prose.TASKS)
        assert tasks is None or len(set(tasks)) == len(tasks) >= 10, one.lang


def test_no_slot_is_unused_or_left_in_a_text(languages: tuple[Prose, ...]) -> None:
    rng = np.random.default_rng(0)
    for one in languages:
        templates = [t for kind in one.kinds.values() for t in kind] + [
            t for s in one.language.slots.values() for t in s
        ]
        used = {slot for template in templates for _, slot in pieces(template)} - {None}
        assert used == set(one.language.slots), one.lang
        texts = [one.text(rng) for _ in range(50)]
        assert not any(f"{{{slot}}}" in text for text in texts for slot in used)
        assert all(text.strip() for text in texts)


def test_a_third_of_the_texts_are_tasks_where_a_language_has_them() -> None:
    one = parse((FILE.replace("[slots]", 'tasks = ["Sort this: {place}"]\n[slots]')).encode(), "xx.toml")
    rng = np.random.default_rng(0)
    drawn = [one.drawn(rng) for _ in range(2000)]
    tasks = [text for family, text in drawn if family == prose.TASKS]
    assert not any("sort this" in text.lower() for family, text in drawn if family == prose.ORDINARY)
    assert sum("sort this" in text.lower() for text in tasks) > 0.9 * len(tasks)  # the others have a slip
    assert 0.30 < len(tasks) / len(drawn) < 0.40
    assert not any("sort this" in parse(FILE.encode(), "xx.toml").text(rng).lower() for _ in range(50))


def test_the_code_in_tasks_is_left_as_it_is(languages: tuple[Prose, ...]) -> None:
    for one in languages:
        for snippet in one.language.slots.get("snippet", ()):
            assert tidy(snippet) == snippet, one.lang


def test_each_language_gives_thousands_of_texts(languages: tuple[Prose, ...]) -> None:
    samples = ordinary(np.random.default_rng(1), 1000 * len(languages), languages)
    assert len({sample.text for sample in samples}) == len(samples)
    assert {sample.lang for sample in samples} == {one.lang for one in languages}
    assert {(sample.label, sample.threat) for sample in samples} == {(0, "none")}
    assert {(sample.channel, sample.lang) for sample in samples if sample.channel != "user"} == {("system", "en")}


def test_the_same_seed_gives_the_same_texts(languages: tuple[Prose, ...]) -> None:
    first, second, other = (ordinary(np.random.default_rng(seed), 40, languages) for seed in (3, 3, 4))
    assert first == second
    assert first != other


def test_more_texts_than_the_sentences_give_is_an_error() -> None:
    one = parse(FILE.replace(', "The mill stands by the river."', "").encode(), "xx.toml")
    with pytest.raises(ConfigError, match="distinct texts"):
        ordinary(np.random.default_rng(0), 100_000, (one,))


def test_no_language_gives_no_text() -> None:
    assert ordinary(np.random.default_rng(0), 5, ()) == []


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        (FILE.replace('lang = "xx"', ""), "lang"),
        (FILE.replace("{place}?", "{town}?"), "'town'"),
        (FILE.replace('requests = ["Write about {place}."]', ""), "requests"),
        (FILE.replace('statements = ["It', 'statements = [3, "It'), "statements"),
        (FILE.replace('"Brno"', '"{place}"'), "cyclic"),
        (FILE + "]", "TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_entry(wrong: str, names: str) -> None:
    with pytest.raises(ArtefactError, match=r"xx\.toml") as caught:
        parse(wrong.encode(), "xx.toml")
    assert names in str(caught.value)


def test_ordinary_english_and_tasks_hold_no_signature_beyond_doubt(languages: tuple[Prose, ...]) -> None:
    english = tuple(one for one in languages if one.lang == "en")
    rng = np.random.default_rng(2)
    texts = [sample.text.encode() for sample in ordinary(rng, 1500, english)]
    for one in languages:
        more = [*one.kinds.get(prose.TASKS, ()), *one.kinds.get(prose.SETUPS, ())]
        texts += [one.language.expand(template, rng).encode() for template in more for _ in range(4)]
    values = np.frombuffer(b"".join(texts), np.uint8)
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    for channel in (CHANNELS.index("user"), CHANNELS.index("document")):
        found = Rules.load().scan((values, offsets), normalize(values, offsets), np.full(len(texts), channel, np.int8))
        sure = {(item.pattern_id, texts[item.row]) for item in found if item.score >= CERTAIN}
        assert not sure


def test_of_a_language_with_set_ups_some_texts_are_such_and_half_of_them_come_as_system() -> None:
    content = FILE.replace("[slots]", 'setups = ["You are the guide of {place}, number {place}."]\n[slots]')
    one = parse(content.replace('"Brno"', ", ".join(f'"Town {k}"' for k in range(60))).encode(), "xx.toml")
    made = ordinary(np.random.default_rng(0), 150, (one,))
    setups = [sample for sample in made if sample.family == prose.SETUPS]
    assert 8 <= len(setups) <= 45
    assert all(sample.text.startswith("You are the guide of ") for sample in setups)
    assert {sample.channel for sample in setups} == {"user", "system"}
    assert {(sample.channel, sample.family) for sample in made if sample not in setups} == {("user", "ordinary")}
    assert not any(sample.label for sample in made)
