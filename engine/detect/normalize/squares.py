"""Letters written as a few signs each: the squares of Polybius and of the tap code, Bacon's cipher.

Which of two alphabets was meant, that without J or that without K, is told by which letters follow which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import re2

from aimds.detect.normalize.letters import load, word_language
from aimds.detect.normalize.proposals import Proposal, Text, Trust, spelled

WITHOUT_J, WITHOUT_K = "abcdefghiklmnopqrstuvwxyz", "abcdefghijlmnopqrstuvwxyz"
BACON = ("abcdefghijklmnopqrstuvwxyz??????", "abcdefghiklmnopqrstuwxyz????????")
"""The cipher with 26 letters, and as Bacon wrote it, I and J alike, U and V alike."""

_GAP = r"[ \t\r\n,;|/.-]"
_PAIRS = re2.compile(rf"\b(?:[1-5]{{2}}{_GAP}{{1,3}}){{15,}}[1-5]{{2}}\b".encode())
_PAIR = re2.compile(rb"[1-5]{2}")
_TAPS = re2.compile(rb"(?:\.{1,5}[ \t\r\n/|]{1,4}){23,}\.{1,5}")
_TAP = re2.compile(rb"\.{1,5}")
_FIVES = tuple(
    re2.compile(rf"\b(?:[{signs}]{{5}}{_GAP}{{0,3}}){{7,}}[{signs}]{{5}}\b".encode()) for signs in ("aAbB", "01")
)
_FIVE = re2.compile(rb"[aAbB01]{5}")

Cell = tuple[int, int, int]
"""A place in the alphabet, and the bytes that say so."""


def polybius(source: Text, limit: int) -> Iterator[Proposal]:
    """Two digits from 1 to 5 a letter, row and column of the square."""
    for match in _PAIRS.finditer(source.values.tobytes()):
        found = islice(_PAIR.finditer(match.group()), limit // 2 + 1)
        cells = [(5 * one.group()[0] + one.group()[1] - 294, *_span(match.start(), one)) for one in found]
        yield _read("polybius", source, cells, (WITHOUT_J, WITHOUT_K), limit)


def taps(source: Text, limit: int) -> Iterator[Proposal]:
    """As many dots as the row and as the column of the square."""
    for match in _TAPS.finditer(source.values.tobytes()):
        found = [_span(match.start(), one) for one in islice(_TAP.finditer(match.group()), limit + 2)]
        both = zip(found[::2], found[1::2], strict=False)
        cells = [(5 * (a[1] - a[0]) + b[1] - b[0] - 6, a[0], b[1]) for a, b in both]
        yield _read("polybius", source, cells, (WITHOUT_K, WITHOUT_J), limit)


def bacon(source: Text, limit: int) -> Iterator[Proposal]:
    """Five signs a letter, each A or B, or 0 or 1."""
    raw = source.values.tobytes()
    for pattern in _FIVES:
        for match in pattern.finditer(raw):
            found = islice(_FIVE.finditer(match.group()), limit // 2 + 1)
            cells = [(int(one.group().translate(_BITS), 2), *_span(match.start(), one)) for one in found]
            yield _read("bacon", source, cells, BACON, limit)


_BITS = bytes.maketrans(b"aAbB", b"0011")


def _span(start: int, match: re2._Match[bytes]) -> tuple[int, int]:
    return start + match.start(), start + match.end()


def _read(kind: str, source: Text, cells: list[Cell], alphabets: Sequence[str], limit: int) -> Proposal:
    cut = len(cells) > limit // 2
    cells = cells[: limit // 2]
    alphabet = max(alphabets, key=lambda one: _odds(one, cells))
    # What stands between most letters parts letters, what else stands between two parts words.
    between = [source.values[a[2] : b[1]].tobytes() for a, b in pairwise(cells)]
    usual = Counter(between).most_common(1)[0][0]
    letters = [(alphabet[cell], start, end) for cell, start, end in cells]
    gaps = [one != usual for one in between]
    return spelled(kind, source, letters, wide=2, cut=cut, trust=Trust.SPEECH, gaps=gaps)


def _odds(alphabet: str, cells: list[Cell]) -> float:
    word = np.frombuffer("".join(alphabet[cell] for cell, _, _ in cells).encode(), np.uint8)
    word = word[word >= 97]
    return float(word_language(word, len(word), load()))
