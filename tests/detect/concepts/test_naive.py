"""The look-up finds what a plain reading of the same lists in Python finds, in texts of all scripts drawn at random."""

import numpy as np
from concept_cases import BARE, ENTRIES, FRONTS, LANGUAGES, lexicon, texts

from aimds.detect.concepts.lexicon import LEAST_PERCENT
from aimds.kernels.cpu.lookup import MOST_BETWEEN

Word = tuple[str, int, bool, bool]


def words(text: str) -> list[Word]:
    """Text, place, whether of a script without spaces, and whether only blanks stand before."""
    out: list[Word] = []
    near, place = True, 0
    while place < len(text):
        if not text[place].isalnum():
            near = near and text[place] in " -'"
            place += 1
            continue
        dense, end = text[place] > "\u3000", place
        while end < len(text) and text[end].isalnum() and (text[end] > "\u3000") == dense:
            end += 1
        out.append((text[place:end], place, dense, near))
        near, place = True, end
    return out


def further(parts: list[str], rest: list[tuple[str, int, bool]], first: int) -> int:
    """Where an entry ends whose first part ends at ``first`` and whose others are ``parts``, -1 where it does not."""
    at, later, parted, passed = first, False, False, 0
    for part in parts:
        if part == "*":
            later = parted = True
            continue
        passed = MOST_BETWEEN if later else 0
        later = False
        while True:
            if not rest or not rest[0][2]:
                return -1
            word, begin, _ = rest.pop(0)
            at = begin + len(word)
            if word.startswith(part[:-1]) if part.endswith("*") else word == part:
                break
            if not passed:
                return -1
            passed -= 1
    return first if parted else at


def entry_ends(text: str, found: list[Word], k: int, place: int, lang: int) -> list[tuple[int, bool, int]]:
    """End, whether beyond the first part by nothing but words some places apart, and concept of all that begin here."""
    word, begin, dense, _ = found[k]
    end, out = begin + len(word), []
    for of, concept, entry in ENTRIES:
        first, *parts = entry.split()
        stem = first.removesuffix("*")
        if of != lang or not text[place:end].startswith(stem):
            continue
        if not dense and not first.endswith("*") and place + len(stem) != end:
            continue
        at = place + len(stem)
        if parts:
            left = [(text[at:end], at, True)] if dense and at < end else []
            rest = left + [(w, b, near) for w, b, _, near in found[k + 1 :]]
            after = further(parts, rest, at if dense else end)
            if after < 0:
                continue
            out.append((after, "*" in parts, concept))
        else:
            out.append((at, False, concept))
    return out


def naive(text: str) -> tuple[int, list[tuple[int, int]]]:
    """The language, and the concepts with the bytes where they begin."""
    found, size = words(text), 0.0
    votes, hits = [0.0] * len(LANGUAGES), []
    for k, (word, begin, dense, _) in enumerate(found):
        for place in range(begin, begin + len(word)) if dense else (begin,):
            size += 0.2 if dense else 1.0
            for lang in range(len(LANGUAGES)):
                ends = entry_ends(text, found, k, place, lang)
                for of, front in FRONTS:
                    if (
                        of == lang
                        and not dense
                        and word.startswith(front)
                        and len(word.encode()) >= len(front.encode()) + 4
                    ):
                        ends += entry_ends(text, found, k, place + len(front), lang)
                if ends:
                    # An entry that ends one byte on counts as the longer of two.
                    best = max(ends, key=lambda one: len(text[: one[0]].encode()) + one[1])
                    over = len(text[: best[0]].encode()) + best[1]
                    past = len(text[: begin + len(word)].encode())
                    hits.append((lang, len(text[:place].encode()), over if dense else max(over, past), best[2]))
                    votes[lang] += 0.5 if dense else 1.0
    lang = max(range(len(LANGUAGES)), key=lambda of: (votes[of], -of))
    if not votes[lang] or votes[lang] < LEAST_PERCENT / 100 * size:
        return -1, []
    out, over = [], 0
    for of, place, past, concept in hits:
        if of == lang and place >= over:
            over = past
            if concept != BARE:
                out.append((concept, place))
    return lang, out


def test_texts_of_all_scripts_are_read_as_a_plain_look_up_reads_them() -> None:
    drawn = texts(1500, np.random.default_rng(5))
    raw = [text.encode() for text in drawn]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(text) for text in raw])])
    found = lexicon().read(np.frombuffer(b"".join(raw), np.uint8), offsets)
    assert set(found.lang.tolist()) == {-1, 0, 1, 2, 3}
    for row, text in enumerate(drawn):
        mine = slice(found.offsets[row], found.offsets[row + 1])
        read = list(zip(found.concept[mine].tolist(), found.start[mine].tolist(), strict=True))
        assert (int(found.lang[row]), read) == naive(text), text
