"""From confirmed attacks to patterns for the bank: of each text the few stretches that tell most.

A stretch tells much where the attack head scores it high and its n-grams are rare in ordinary text: by the classifier's
document frequencies, and by the benign texts at hand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aimds import data, kernels
from aimds.detect.classifier import ATTACK, Classifier
from aimds.detect.normalize import Views, normalize
from aimds.detect.patterns import MIN_COUNTED, SYNONYMS, Pattern
from aimds.detect.patterns.lexicon import Lexicon, Word, fold, split
from aimds.detect.patterns.pattern_file import MAX_CHARACTERS, MIN_WORDS, UNSPACED, check
from aimds.errors import ConfigError

F32 = npt.NDArray[np.float32]
Grams = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], F32]

LEAST_WORDS, MOST_WORDS = 6, 12
"""Words of a stretch; a text of fewer, but at least MIN_WORDS, is one stretch."""
ENOUGH = 5.0
"""A stretch of LEAST_WORDS grows until its words weigh this much in the lexicon."""
ALIKE = 0.6
"""Stretches that share this part of their words are one pattern."""
LEAST_WEIGHT = 3.0
"""A stretch whose different words weigh less could be anyone's."""
RAREST = 8.0
"""No n-gram counts as rarer: names and random letters are rare and tell nothing."""
RARE = 0.5
"""What rarity counts for beside the score of the attack head."""
MAX_STRETCHES, MAX_KEPT = 400, 60
"""Stretches of one view that are looked at, evenly spread over a longer one, and of one text that may be chosen."""
SEVERITY = 0.8
NOTE = "mined from confirmed attacks"

_OWN_WORD = 0xE3
"""From this first byte on a character is a word of its own, to which no ending of another language belongs."""
_KANA, _HAN, _HANGUL = range(0x3040, 0x3100), range(0x4E00, 0xA000), range(0xAC00, 0xD7B0)


class _Stretch(NamedTuple):
    text: str
    row: int
    view: int
    first: int
    last: int
    words: frozenset[Word]
    lang: str


def patterns_of(
    texts: Sequence[str],
    *,
    threat: str = "direct_injection",
    prefix: str,
    per_text: int = 3,
    held_by: int = 1,
    benign: Sequence[str] = (),
    classifier: Classifier | None = None,
    lexicon: Lexicon | None = None,
) -> list[Pattern]:
    """Patterns of at most ``per_text`` stretches of each of ``texts``, confirmed attacks, most telling first.

    Of what is encoded only what it says is taken. Two stretches with mostly the same words are one pattern; a text that
    is too short, or all common words, gives none. The same texts give the same patterns.

    Args:
        prefix: the ids are ``prefix.0001`` and so on.
        held_by: each word of a stretch is in at least so many of the texts.
        benign: confirmed benign texts; a stretch that they could hold as well is ranked lower.
        classifier, lexicon: whose n-gram and word weights say what is rare; by default those shipped.

    Raises:
        ConfigError: ``per_text`` below 1, an empty ``prefix`` or an unknown ``threat``.
    """
    if per_text < 1:
        raise ConfigError("per_text", per_text, "a whole number of at least 1")
    if not prefix or prefix != prefix.strip():
        raise ConfigError("prefix", prefix, "the first part of an id, for example mined.2026")
    problem = check(Pattern(f"{prefix}.0001", threat, SEVERITY, "en", NOTE, "a text of words"))
    if problem:
        raise ConfigError("threat", threat, problem)
    model = classifier or Classifier.load()
    words_of = lexicon or Lexicon.parse(SYNONYMS, data.read_bytes(SYNONYMS))
    stretches = _fit(_telling(_stretches(texts, words_of, held_by), benign, model), words_of)
    chosen: list[_Stretch] = []
    holding: defaultdict[Word | int, list[int]] = defaultdict(list)  # by word and by view: the chosen that have it
    taken = [0] * len(texts)
    for stretch in stretches:
        if taken[stretch.row] < per_text and not _is_known(stretch, chosen, holding):
            holding[stretch.view].append(len(chosen))
            for word in stretch.words:
                holding[word].append(len(chosen))
            chosen.append(stretch)
            taken[stretch.row] += 1
    return [
        Pattern(f"{prefix}.{number:04d}", threat, SEVERITY, stretch.lang, NOTE, stretch.text)
        for number, stretch in enumerate(chosen, 1)
    ]


def _stretches(texts: Sequence[str], lexicon: Lexicon, held_by: int = 1) -> list[_Stretch]:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    views = normalize(np.frombuffer(b"".join(encoded), np.uint8), offsets)
    parts = _legible(views)
    of = [(view, int(views.rows[view])) for view, _ in parts]
    out: list[_Stretch] = []
    seen: set[tuple[int, str]] = set()
    passed: Counter[int] = Counter()  # words of each view before the next run
    for (view, row), words, lang in _runs(of, split([part for _, part in parts]), lexicon, held_by):
        for first in range(0, len(words), max(1, len(words) // MAX_STRETCHES)):
            last = _end(words, first, lang in UNSPACED, lexicon)
            if last == first or (last == len(words) and first and last - first < LEAST_WORDS):
                break
            part = words[first:last]
            text = (b"" if lang in UNSPACED else b" ").join(part).decode("utf-8", "replace")
            counted = frozenset(word for word in part if _tells(word, lang) and lexicon.weight(word) > 0)
            mixed = lang not in UNSPACED and any(word[0] >= _OWN_WORD for word in part)
            heavy = sum(lexicon.weight(word) for word in counted) >= LEAST_WEIGHT
            if (row, text) not in seen and heavy and not mixed:
                seen.add((row, text))
                out.append(_Stretch(text, row, view, passed[view] + first, passed[view] + last, counted, lang))
        passed[view] += len(words)
    return out


def _legible(views: Views) -> list[tuple[int, bytes]]:
    """The parts of each view, with its number, from which no deeper view was decoded: letters of an encoding are rare,
    and say nothing of the next text that is encoded likewise."""
    of_row: defaultdict[int, list[int]] = defaultdict(list)
    for view in np.flatnonzero(views.depths).tolist():
        of_row[int(views.rows[view])].append(view)
    out = []
    for view, row in enumerate(views.rows.tolist()):
        low, high = views.offsets[view : view + 2].tolist()
        read = np.zeros(high - low, np.bool_)
        for other in of_row[row]:
            if views.depths[other] > views.depths[view]:
                read |= _behind(views, other, int(views.ends[low:high].max(initial=0)))[views.starts[low:high]]
        edges = np.flatnonzero(np.diff(read, prepend=True, append=True)) + low
        out += [(view, views.values[a:b].tobytes()) for a, b in edges.reshape(-1, 2).tolist()]
    return out


def _behind(views: Views, view: int, size: int) -> npt.NDArray[np.bool_]:
    """Which of the first ``size`` bytes of a row ``view`` was decoded from."""
    part = slice(*views.offsets[view : view + 2].tolist())
    steps = np.zeros(max(size, int(views.ends[part].max(initial=0))) + 1, np.int64)
    np.add.at(steps, views.starts[part], 1)
    np.add.at(steps, views.ends[part], -1)
    inside: npt.NDArray[np.bool_] = np.cumsum(steps) > 0
    return inside


def _runs(
    of: list[tuple[int, int]], parts: list[list[Word]], lexicon: Lexicon, held_by: int
) -> Iterator[tuple[tuple[int, int], list[Word], str]]:
    """The words of each of ``parts``, cut where a word is not in ``held_by`` texts; ``of``: their views and rows."""
    holders: defaultdict[Word, set[int]] = defaultdict(set)
    for (_, row), words in zip(of, parts, strict=True):
        for word in words:
            holders[word].add(row)
    for place, words in zip(of, parts, strict=True):
        lang = _language(words, lexicon)
        for common, run in groupby(words, lambda word: len(holders[word]) >= held_by):
            if common:
                yield place, list(run), lang


def _end(words: list[Word], first: int, unspaced: bool, lexicon: Lexicon) -> int:
    if unspaced:
        last, characters = first, 0
        while last < len(words) and characters + len(words[last].decode("utf-8", "replace")) <= MAX_CHARACTERS:
            characters += len(words[last].decode("utf-8", "replace"))
            last += 1
            if characters >= MAX_CHARACTERS // 2:
                break
        return last if characters >= MIN_WORDS else first
    last = min(first + LEAST_WORDS, len(words))
    weight = sum(lexicon.weight(word) for word in words[first:last])
    while last < len(words) and last - first < MOST_WORDS and weight < ENOUGH:
        weight += lexicon.weight(words[last])
        last += 1
    return last if last - first >= MIN_WORDS else first


def _tells(word: Word, lang: str) -> bool:
    # Numbers and single letters stand in any table and any sum.
    return lang in UNSPACED or (len(word) > 1 and not word.isdigit())


def _fit(stretches: list[_Stretch], lexicon: Lexicon) -> list[_Stretch]:
    # A pattern's text is folded again when the bank is built: spaced-out letters become a word, for example.
    kept = []
    for stretch, words in zip(stretches, split(fold([stretch.text for stretch in stretches])), strict=True):
        pattern = Pattern("", "direct_injection", SEVERITY, stretch.lang, NOTE, stretch.text)
        if not check(pattern) and sum(lexicon.weight(word) > 0 for word in words) >= MIN_COUNTED:
            kept.append(stretch)
    return kept


def _telling(stretches: list[_Stretch], benign: Sequence[str], model: Classifier) -> list[_Stretch]:
    """At most MAX_KEPT stretches of each text, most telling first."""
    if not stretches:
        return []
    indptr, indices, counts = _grams([stretch.text.encode() for stretch in stretches], model)
    rarity = np.minimum(model.idf, RAREST)
    if benign:
        _, held, _ = _grams(fold(benign), model)
        rarity = rarity - np.log1p(np.bincount(held, minlength=len(rarity))).astype(np.float32)
    mean = np.add.reduceat(rarity[indices], indptr[:-1]) / np.diff(indptr)
    logits = kernels.linear(indptr, indices, counts, model.weights, model.scale, model.idf, model.bias)
    order = np.argsort(-(RARE * mean + logits[:, ATTACK]), kind="stable")
    kept: list[_Stretch] = []
    held_by: dict[int, int] = {}
    for place in order.tolist():
        row = stretches[place].row
        held_by[row] = held_by.get(row, 0) + 1
        if held_by[row] <= MAX_KEPT:
            kept.append(stretches[place])
    return kept


def _grams(texts: Sequence[bytes], model: Classifier) -> Grams:
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    return kernels.ngram_hash(np.frombuffer(b"".join(texts), np.uint8), offsets, bits=model.bits)


def _is_known(stretch: _Stretch, chosen: list[_Stretch], holding: Mapping[Word | int, list[int]]) -> bool:
    """Whether ``stretch`` overlaps one of ``chosen`` in its view, or shares most of its words with one."""
    for place in holding.get(stretch.view, ()):
        other = chosen[place]
        if stretch.first < other.last - 2 and other.first < stretch.last - 2:
            return True
    common = Counter(chain.from_iterable(holding.get(word, ()) for word in stretch.words))
    return any(count >= ALIKE * min(len(stretch.words), len(chosen[place].words)) for place, count in common.items())


def _language(words: list[Word], lexicon: Lexicon) -> str:
    """The language whose endings and synonyms a pattern of these words gets: by script, then by the words it lists."""
    letters = [word.decode("utf-8", "replace") for word in words]
    single = [ord(text) for text in letters if len(text) == 1]
    for lang, block in (("ko", _HANGUL), ("ja", _KANA), ("zh", _HAN)):
        inside = sum(code in block for code in single)
        if 2 * sum(code in _HAN or code in block for code in single) > len(words) and 10 * inside > len(words):
            return lang
    known = set(words)
    hits = {
        lang: sum(len(known & group) for group in lexicon.stems.get(lang, ()))
        + sum(len(known & group) for _, group in groups)
        for lang, groups in lexicon.groups.items()
        if lang not in UNSPACED
    }
    # English first: it is the language of most attacks, and its lists are the longest.
    return max(hits, key=lambda lang: (hits[lang], lang == "en"), default="en") if any(hits.values()) else "en"
