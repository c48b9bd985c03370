from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.detect.patterns.lexicon import FORM, SYNONYM, Lexicon, split
from aimds.detect.patterns.similarity import HEAVY, MAX_EDITS, MIN_COMMON, Index, Survey
from aimds.detect.patterns.tables import FULL, GAP, MEMBERS

LEXICON = Lexicon(
    weights={b"the": 0.0, b"my": 0.5},
    endings={"en": ("", "s")},
    stems={},
    groups={"en": ((SYNONYM, frozenset({b"paint", b"draw"})),)},
)
WORDS = ["the", "my", "paint", "paints", "draw", "boat", "boats", "green", "river", "sails", "zebra", "quietly"]
PATTERNS = ["paint my green boat", "boat sails the river", "draw draw river green zebra"]


def ragged(texts: list[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)]).astype(np.int64)


def index_of(patterns: list[str]) -> Index:
    return Index.build([("en", words) for words in split([text.encode() for text in patterns])], LEXICON)


INDEX = index_of(PATTERNS)


def everything(survey: Survey, windows: int) -> Survey:
    w, p = np.divmod(np.arange(windows * len(PATTERNS)), len(PATTERNS))
    return Survey(survey.tokens, survey.offsets, survey.starts, survey.ends, w.astype(np.int32), p.astype(np.int32))


def distances(texts: list[str]) -> npt.NDArray[np.float64]:
    survey = INDEX.survey(*ragged(texts), INDEX.need(np.full(len(PATTERNS), 0.5, np.float32)))
    out = np.full((len(texts), len(PATTERNS)), np.nan)
    for part in INDEX.align(everything(survey, len(texts))):
        out[part.window, part.pattern] = part.distance
    return out


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("paint my green boat", 0),
        ("please paint the my green boat now", 0),
        ("paint my green boats", FORM),
        ("draw my green boat", SYNONYM),
        ("paint green boat", np.rint(FULL * 0.5)),
        ("paint my boat", FULL),
        ("paint my big green boat", np.rint(FULL * GAP)),
        ("paint my green my boat", np.rint(FULL * GAP * 0.5)),
    ],
)
def test_distance_is_what_is_missing_plus_a_little_for_what_is_between(text: str, cost: float) -> None:
    assert distances([text])[0, 0] == pytest.approx(cost / INDEX.total[0])


def test_nothing_in_common_costs_the_whole_pattern_or_more() -> None:
    assert (distances(["zzz"]) >= 1).all()


@settings(max_examples=60)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=6),
    reach=st.floats(0.05, 0.6),
)
def test_pair_outside_the_survey_is_beyond_reach_or_lacks_heavy_words(texts: list[str], reach: float) -> None:
    survey = INDEX.survey(*ragged(texts), INDEX.need(np.full(len(PATTERNS), reach, np.float32)))
    kept = set(zip(survey.windows.tolist(), survey.patterns.tolist(), strict=True))
    for part in INDEX.align(everything(survey, len(texts))):
        columns = (part.window, part.pattern, part.distance, part.start, part.end)
        for w, p, distance, start, end in zip(*columns, strict=True):
            if (w, p) in kept or distance >= reach:
                continue
            tokens = survey.tokens[survey.offsets[w] : survey.offsets[w + 1]]
            assert not INDEX.confirmed(tokens[start : end + 1], int(p))


def test_survey_skips_words_without_weight_and_keeps_their_neighbours_offsets() -> None:
    survey = INDEX.survey(
        *ragged(["", "paint the boat", "the the"]), INDEX.need(np.full(len(PATTERNS), 0.5, np.float32))
    )
    assert survey.offsets.tolist() == [0, 0, 2, 2]
    assert survey.starts.tolist() == [0, 10]
    assert survey.ends.tolist() == [5, 14]


def test_pattern_of_reach_zero_is_never_near() -> None:
    reach = np.array([0, 0.5, 0.5], np.float32)
    survey = INDEX.survey(*ragged(["paint my green boat sails river"]), INDEX.need(reach))
    assert 1 in survey.patterns
    assert 0 not in survey.patterns


def test_more_pairs_than_there_is_room_for_are_all_found() -> None:
    many = index_of([f"paint {a}{b} boat river" for a in "abcdefghijklm" for b in "nopqrstuvw"])
    survey = many.survey(*ragged(["paint boat river"] * 3), many.need(np.full(130, 0.5, np.float32)))
    assert len(many.tables.blocks) == -(-130 // MEMBERS)
    assert len(survey.windows) == 3 * 130


def test_banks_of_different_sizes_asked_by_turns_find_what_each_finds_alone() -> None:
    many = index_of([f"paint {a}{b} boat river" for a in "abcdefghijklm" for b in "nopqrstuvw"])
    texts = ragged(["paint my green boat sails river", "zebra", "draw green river"])

    def asked(index: Index) -> list[list[int]]:
        survey = index.survey(*texts, index.need(np.full(len(index.words), 0.5, np.float32)))
        return [survey.tokens.tolist(), survey.windows.tolist(), survey.patterns.tolist()]

    small, large = asked(INDEX), asked(many)
    assert len(small[1]) < len(large[1])
    assert [asked(INDEX), asked(many), asked(INDEX)] == [small, large, small]


def test_one_word_for_many_places_is_not_confirmed() -> None:
    index = index_of(["paint draw paints boat"])
    survey = index.survey(*ragged(["paint zebra", "paint draw paints boat"]), index.need(np.full(1, 0.6, np.float32)))
    first, second = survey.tokens[:2], survey.tokens[2:]
    assert not index.confirmed(first, 0)
    assert index.confirmed(second, 0)


def test_much_text_between_the_words_is_not_confirmed() -> None:
    survey = INDEX.survey(*ragged(["paint my a b c d e f g h i j green boat"]), INDEX.need(np.full(3, 0.6, np.float32)))
    assert not INDEX.confirmed(survey.tokens, 0)


@settings(max_examples=60)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join), min_size=1, max_size=6))
def test_confirming_many_matches_at_once_is_the_textbook_on_each(texts: list[str]) -> None:
    survey = everything(INDEX.survey(*ragged(texts), INDEX.need(np.full(len(PATTERNS), 0.5, np.float32))), len(texts))
    none = np.flatnonzero(np.diff(survey.offsets) == 0)
    for part in INDEX.align(survey):
        part = part.take(~np.isin(part.window, none))
        columns = zip(part.window, part.pattern, part.start, part.end, INDEX.confirm(survey, part), strict=True)
        for w, p, start, end, is_sure in columns:
            tokens = survey.tokens[survey.offsets[w] : survey.offsets[w + 1]]
            assert is_sure == confirmed(tokens[start : end + 1], int(p))


def confirmed(tokens: npt.NDArray[np.int32], pattern: int) -> bool:
    """The rule of `Index.confirmed`, one text and the textbook tables of common subsequence and edit distance."""
    words = INDEX.words[pattern].tolist()
    offsets, near_words, costs = INDEX.near
    found: list[int] = []
    for token in tokens.tolist():
        low, high = offsets[token : token + 2]
        known = zip(near_words[low:high].tolist(), costs[low:high].tolist(), strict=True)
        near = [(cost, words.index(word), word) for word, cost in known if word in words]
        found.append(min(near)[2] if near else -1)
    weights = [weight for word in split([PATTERNS[pattern].encode()])[0] if (weight := LEXICON.weight(word)) > 0]
    wanted = [word for word, weight in zip(words, weights, strict=True) if weight >= HEAVY]
    common = np.zeros((len(found) + 1, len(wanted) + 1), np.int64)
    for i, a in enumerate(found):
        for j, b in enumerate(wanted):
            common[i + 1, j + 1] = common[i, j] + 1 if a == b else max(common[i, j + 1], common[i + 1, j])
    edits = np.add.outer(np.arange(len(found) + 1), np.arange(len(words) + 1))
    for i, a in enumerate(found):
        for j, b in enumerate(words):
            edits[i + 1, j + 1] = min(edits[i, j] + (a != b), edits[i, j + 1] + 1, edits[i + 1, j] + 1)
    longest = max(len(found), len(words))
    return bool(common[-1, -1] >= MIN_COMMON * len(wanted) and edits[-1, -1] <= MAX_EDITS * longest)
