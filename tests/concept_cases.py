"""A small lexicon of four languages and rows to draw in its words: for the kernels word_spans, concepts and
concept_pairs, on the CPU and on the host shim."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from aimds import kernels
from aimds.detect.concepts.lexicon import LEAST_PERCENT, Lexicon, compiled

LANGUAGES = ("en", "de", "ar", "zh")
NAMES = ("one", "two", "three")
BARE = len(NAMES)
FRONTS = ((2, "ال"), (2, "وال"))
ENTRIES = (
    *((0, 0, "ab"), (0, 0, "ab c"), (0, 1, "a*"), (0, 1, "ab*"), (0, 2, "ab * ba*"), (0, BARE, "b"), (0, 2, "c c* a")),
    *((1, 0, "a"), (1, 1, "ab* c"), (1, 2, "ba * c * ab"), (1, 1, "äb*"), (1, 0, "ä"), (1, 2, "c"), (1, BARE, "cä")),
    *((2, 0, "تجا*"), (2, 1, "تج"), (2, 2, "تجا * تج"), (2, 1, "ال"), (2, 0, "التج*"), (2, 1, "ت*")),
    *((3, 0, "忽略"), (3, 1, "忽"), (3, 2, "略 规*"), (3, 1, "规则"), (3, 2, "忽 * 则"), (3, 0, "ab")),
)
PIECES = (
    "a",
    "b",
    "c",
    "ab",
    "ba",
    "ä",
    "ت",
    "ج",
    "ا",
    "ال",
    "و",
    "忽",
    "略",
    "规",
    "则",
    *" " * 3,
    "-",
    "'",
    ". ",
    "، ",
    "。",
)


def lexicon() -> Lexicon:
    """The lexicon of ENTRIES and FRONTS."""
    entries = [(lang, concept, tuple(part.encode() for part in entry.split())) for lang, concept, entry in ENTRIES]
    return compiled(LANGUAGES, NAMES, entries, [(lang, front.encode()) for lang, front in FRONTS])


def texts(count: int, rng: Any, most: int = 40) -> list[str]:
    """Texts of less than ``most`` pieces each."""
    return ["".join(rng.choice(PIECES, rng.integers(0, most))) for _ in range(count)]


def rows(count: int, seed: int) -> list[bytes]:
    """``count`` of these texts as rows, drawn with ``seed``."""
    return [text.encode() for text in texts(count, np.random.default_rng(seed))]


IN_WORDS = st.lists(st.lists(st.sampled_from(PIECES), max_size=30).map(lambda one: "".join(one).encode()), max_size=4)
"""Rows of PIECES, for `hypothesis.given`; ANY_BYTES are rows of anything, ANY_CONCEPTS of concepts."""
ANY_BYTES = st.lists(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(str.encode)), max_size=6)
ANY_CONCEPTS = st.lists(st.lists(st.integers(0, 254), max_size=30), max_size=5)


def concepts(values: Any, offsets: Any) -> tuple[Any, ...]:
    """The arguments of `kernels.concepts` for folded rows: their words and the lexicon, whose second language wins."""
    made = lexicon()
    chosen = len(LANGUAGES), 1, LEAST_PERCENT, BARE
    return (values, offsets, *kernels.word_spans(values, offsets), *made.stems, *chosen)


UNUSUAL = (
    b"",
    b" ",
    b"a",
    b"...'",
    b"a-b'c d,e",
    "忽a忽略b規則".encode(),
    "ภาษาไทย และ text".encode(),
    "नमस्ते। दुनिया॥ १२".encode(),
    "«été» naïve – c’est".encode(),
    "عربي؟ نص، آخر؛".encode(),
    "カタカナ・ー々〆 ok 한국어 \U00020000\U00020001 😀a".encode(),
    "ﬁ ︰ ｆｕｌｌ".encode(),
    # Cut inside a character, or no UTF-8.
    b"\xe5\xbf",
    b"alle \xd8",
    b"\xf0\x9f",
    # What the next row begins with would make another character of the last byte.
    b"a \xd8",
    b"\x8c b",
    b"\xe0\xa5 alle \x80\x80a",
    b"\xf0\xa0" * 20 + b"a",
    bytes(range(256)),
    # Too little behind what may be written onto a word's front, or a word of another language.
    "الت".encode(),
    "الabcd".encode(),
    # As many words between two parts as there may be, and one more.
    b"ab x x x x x ba b b",
    b"ab x x x x x x ba b b",
    # Over the end of 32 bytes.
    b"." * 31 + "忽a".encode() * 9,
    b"a" * 30 + "ä".encode() * 3 + b". b",
    b"ab" * 40 + b" - " + b"c" * 70 + b", a",
)
"""Rows of unusual characters, cuts and lengths."""
