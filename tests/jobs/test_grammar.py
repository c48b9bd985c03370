"""The training grammar: what its files may hold, and what the samples drawn from it are like."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from aimds import schema, taxonomy
from aimds.errors import ArtefactError, ConfigError
from aimds.jobs.grammar import Grammar, Sample, planted
from aimds.jobs.grammar.carrier import BARE, break_near, window
from aimds.jobs.grammar.language import parse, pieces
from aimds.jobs.grammar.surface import noised, tidy

FAMILIES = {
    "override", "task_switch", "leak", "roleplay", "authority", "refusal_suppression", "payload", "exfiltration",
    "tool_abuse", "indirect", "persuasion", "multi_turn", "resource", "unsafe_output",
}  # fmt: skip
CARRIERS = ("The ferry leaves at nine. It is never late. Bring a coat.", "Our garden has two trees and a bench.")
REQUESTS = ("Write a poem about cats.", "List five rivers.", "Explain tides to a child.")
SMALL = """
lang = "en"
[slots]
verb = ["ignore", "drop {what}"]
what = ["all", ""]
[[attack]]
family = "override"
threat = "direct_injection"
templates = ["{verb} your rules"]
[[lookalike]]
family = "override"
templates = ["how do I {verb} a warning?"]
"""


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return Grammar.load()


@pytest.fixture(scope="module")
def english(grammar: Grammar) -> list[Sample]:
    return grammar.generate(np.random.default_rng(1), 4000, langs=["en"], carriers=CARRIERS, instructions=REQUESTS)


def test_english_has_every_family_and_no_language_has_one_that_english_lacks(grammar: Grammar) -> None:
    families = {language.lang: {family.name for family in language.families} for language in grammar.languages}
    assert families["en"] == FAMILIES
    assert {lang: names - FAMILIES for lang, names in families.items() if names - FAMILIES} == {}


def test_english_has_twenty_templates_of_each_kind_and_no_template_twice(grammar: Grammar) -> None:
    (english,) = (language for language in grammar.languages if language.lang == "en")
    for family in english.families:
        attacks = [template for _, template in family.attacks]
        assert len(set(attacks)) == len(attacks) >= 20, family.name
        assert len(set(family.lookalikes)) == len(family.lookalikes) >= 20, family.name
        assert not set(attacks) & set(family.lookalikes)


def test_no_slot_of_the_english_grammar_is_unused(grammar: Grammar) -> None:
    (english,) = (language for language in grammar.languages if language.lang == "en")
    templates = [text for family in english.families for _, text in family.attacks]
    templates += [text for family in english.families for text in family.lookalikes]
    templates += [text for fragments in english.slots.values() for text in fragments]
    used = {slot for text in templates for _, slot in pieces(text)} | {"preface", "coda"}
    assert set(english.slots) - used == set()


def test_same_seed_gives_the_same_samples_and_another_seed_others(grammar: Grammar) -> None:
    first, second, other = (grammar.generate(np.random.default_rng(seed), 60) for seed in (5, 5, 6))
    assert first == second
    assert first != other


def test_half_are_attacks_all_texts_differ_and_all_fields_are_known(english: list[Sample]) -> None:
    assert len({sample.text for sample in english}) == len(english) == 4000
    assert sum(sample.label for sample in english) == 2000
    for sample in english:
        assert sample.channel in schema.CHANNELS
        assert sample.threat in taxonomy.CODES
        assert (sample.threat == "none") == (sample.label == 0)
        assert sample.text.strip()
        assert sample.lang == "en"


def test_no_slot_is_left_in_a_text(english: list[Sample], grammar: Grammar) -> None:
    names = {name for language in grammar.languages for name in language.slots}
    for sample in english:
        assert not {slot for _, slot in pieces(sample.text)} & names, sample.text


def test_families_are_drawn_evenly(english: list[Sample]) -> None:
    counts = Counter(sample.family for sample in english)
    assert set(counts) == FAMILIES
    assert min(counts.values()) > 0.6 * len(english) / len(FAMILIES)


def test_carriers_are_as_frequent_among_attacks_as_among_lookalikes(english: list[Sample]) -> None:
    shares = []
    for label in (0, 1):
        texts = [sample.text for sample in english if sample.label == label]
        shares.append(sum("ferry" in text or "garden" in text for text in texts) / len(texts))
    assert abs(shares[0] - shares[1]) < 0.06
    assert abs(shares[0] - 0.8 * (1 - BARE)) < 0.06


def test_english_gets_two_fifths_and_the_others_share_the_rest(grammar: Grammar) -> None:
    counts = Counter(sample.lang for sample in grammar.generate(np.random.default_rng(2), 3000))
    assert 0.35 < counts["en"] / 3000 < 0.45
    assert set(counts) == {language.lang for language in grammar.languages}


def test_requests_of_the_caller_are_used_for_both_labels(english: list[Sample]) -> None:
    assert {sample.label for sample in english if "rivers" in sample.text} == {0, 1}


def test_unknown_language_and_too_many_samples_are_refused_by_name() -> None:
    tiny = SMALL.replace("{verb} your rules", "no").replace("how do I {verb} a warning?", "so")
    small = Grammar((parse(tiny.encode(), "en.toml"),))
    with pytest.raises(ConfigError, match="langs = 'xx': expected one of en"):
        small.generate(np.random.default_rng(0), 2, langs=["xx"])
    with pytest.raises(ConfigError, match="size = 1000000"):
        small.generate(np.random.default_rng(0), 1_000_000)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('lang = "en"', "lang = ", "is not valid TOML"),
        ('lang = "en"', "lang = 3", "lang = 3"),
        ("{verb} your", "{werb} your", "attack family 'override': slot 'werb' is unknown in '{werb} your rules'"),
        ("drop {what}", "drop {that}", "slot 'verb': slot 'that' is unknown"),
        ('["all", ""]', '["all {verb}"]', "slot 'verb' is cyclic: verb > what > verb"),
        ('["all", ""]', "[]", "slot 'what': expected a list of texts"),
        ("direct_injection", "rudeness", "attack family 'override': threat 'rudeness' is unknown"),
        ("direct_injection", "none", "threat 'none' is unknown"),
        (
            '[[lookalike]]\nfamily = "override"',
            '[[lookalike]]\nfamily = "leak"',
            "lookalike family 'leak' has no attack",
        ),
    ],
)
def test_faulty_file_is_refused_and_the_message_names_the_place(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ArtefactError) as caught:
        parse(SMALL.replace(old, new, 1).encode(), "xy.toml")
    assert str(caught.value).startswith("xy.toml: ")
    assert message in str(caught.value)


def test_attack_family_without_lookalike_is_refused() -> None:
    with pytest.raises(ArtefactError, match="attack family 'override' has no lookalike"):
        parse(SMALL[: SMALL.index("[[lookalike]]")].encode(), "en.toml")


def test_braces_round_no_slot_name_are_literal() -> None:
    assert list(pieces('{"a": {b}} { c } {')) == [('{"a": ', "b"), ("} { c } {", None)]


def test_templates_with_more_variants_have_better_odds() -> None:
    small = SMALL.replace('["{verb} your rules"]', '["drop it", "{verb} your rules"]')
    (family,) = parse(small.encode(), "en.toml").families
    assert family.attack_odds[1] > family.attack_odds[0]
    assert family.attack_odds.sum() == pytest.approx(1.0)


def test_tidy_removes_what_empty_slots_leave_and_keeps_lines_and_indents() -> None:
    assert tidy("a  b , c .  d\n    return  x ") == "a b, c. d\n    return x"


def test_surface_leaves_many_texts_alone_and_changes_others() -> None:
    rng = np.random.default_rng(0)
    texts = [noised("Don't stop, my friend.", "en", rng) for _ in range(400)]
    assert 0.3 < texts.count("Don't stop, my friend.") / 400 < 0.8
    assert "DON'T STOP, MY FRIEND." in texts
    assert any("Dont" in text for text in texts)


def test_window_is_part_of_the_text_and_breaks_follow_a_sentence() -> None:
    text = "One two three. " * 400
    part = window(text, np.random.default_rng(0))
    assert part in text
    assert 100 < len(part) <= 1200
    assert CARRIERS[0][: break_near(CARRIERS[0], 3)] == "The ferry leaves at nine. "
    assert break_near("no end", 2) == 6


def test_planted_requests_stand_in_attacks_only() -> None:
    samples = planted(np.random.default_rng(3), 400, [f"Report {n}. {CARRIERS[0]}" for n in range(200)], REQUESTS)
    assert len({sample.text for sample in samples}) == 400
    assert {(sample.label, sample.threat) for sample in samples} == {(1, "indirect_injection"), (0, "none")}
    assert {sample.family for sample in samples} == {"planted"}
    assert {sample.channel for sample in samples} <= set(schema.UNTRUSTED_CHANNELS)
    for sample in samples:
        assert any(request in sample.text for request in REQUESTS) == bool(sample.label), sample.text


def test_planted_requests_stand_at_the_start_in_the_middle_and_at_the_end() -> None:
    samples = planted(np.random.default_rng(4), 300, [f"Report {n}. {CARRIERS[0]}" for n in range(200)], REQUESTS[:1])
    attacks = [sample.text for sample in samples if sample.label]
    starts = sum(text.startswith(REQUESTS[0]) for text in attacks)
    ends = sum(text.endswith(REQUESTS[0]) for text in attacks)
    assert starts > 5
    assert ends > 20
    assert starts + ends < len(attacks) - 20


def test_planting_needs_documents_and_instructions() -> None:
    with pytest.raises(ConfigError, match="documents"):
        planted(np.random.default_rng(0), 2, [], REQUESTS)
    with pytest.raises(ConfigError, match="instructions"):
        planted(np.random.default_rng(0), 2, CARRIERS, [])


def test_a_language_with_texts_of_its_own_is_carried_by_them(grammar: Grammar) -> None:
    native = {"de": ["Zugvogel im Wattenmeer"]}
    samples = grammar.generate(np.random.default_rng(2), 400, langs=["de", "fr"], carriers=CARRIERS, native=native)
    carried = {lang: [s.text for s in samples if s.lang == lang and "Wattenmeer" in s.text] for lang in ("de", "fr")}
    assert len(carried["de"]) > 40
    assert not carried["fr"]
