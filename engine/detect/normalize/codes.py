"""Decoders of numbers: character codes in decimal and octal, and numbers of letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise

import numpy as np
import re2

from aimds.detect.normalize.heads import printable
from aimds.detect.normalize.proposals import Proposal, Text, Trust, spelled

_OCTAL = re2.compile(rb"(?:(?:0o)?[0-7]{2,3}[ \t\r\n,;|/-]{1,3}){7,}(?:0o)?[0-7]{2,3}")
_OCTAL_CODE = re2.compile(rb"[0-7]{2,3}")
_TRIPLES = re2.compile(rb"[0-9]{36,}")
_DECIMAL = re2.compile(rb"(?:[0-9]{2,3}[ \t\r\n,;|/-]{1,3}){7,}[0-9]{2,3}")
_ORDINALS = re2.compile(rb"\b(?:(?:0?[1-9]|1[0-9]|2[0-6])[ \t\r\n,;|/.-]{1,3}){11,}(?:1[0-9]|2[0-6]|0?[1-9])\b")
_NUMBER = re2.compile(rb"[0-9]+")


def _is_text(text: Text) -> bool:
    return bool(printable(text.values[:24], min(24, len(text))))


def decimal(source: Text, limit: int) -> Iterator[Proposal]:
    """Decimal character codes with separators."""
    for match in _DECIMAL.finditer(source.values.tobytes()):
        start = match.start()
        found = islice(_NUMBER.finditer(match.group()), limit + 1)
        codes = [(min(int(number.group()), 255), start + number.start(), start + number.end() - 1) for number in found]
        values, first, last = np.array(codes[:limit], np.int64).reshape(-1, 3).T
        text = source.take(values.astype(np.uint8), first, last)
        if _is_text(text):
            yield Proposal("decimal", text, cut=len(codes) > limit)
    for match in _TRIPLES.finditer(source.values.tobytes()):
        if len(match.group()) % 3 == 0:
            at = np.arange(*match.span(), dtype=np.int64)[: 3 * limit].reshape(-1, 3)
            values = np.minimum((source.values[at].astype(np.int64) - 48) @ (100, 10, 1), 255).astype(np.uint8)
            text = source.take(values, at[:, 0], at[:, 2])
            if _is_text(text):
                yield Proposal("decimal", text, cut=len(match.group()) > 3 * limit)


def octal(source: Text, limit: int) -> Iterator[Proposal]:
    """Octal codes of two or three digits with separators."""
    for match in _OCTAL.finditer(source.values.tobytes()):
        start = match.start()
        found = islice(_OCTAL_CODE.finditer(match.group()), limit + 1)
        codes = [(min(int(one.group(), 8), 255), start + one.start(), start + one.end() - 1) for one in found]
        values, first, last = np.array(codes[:limit], np.int64).reshape(-1, 3).T
        text = source.take(values.astype(np.uint8), first, last)
        if _is_text(text):
            yield Proposal("octal", text, cut=len(codes) > limit)


def ordinals(source: Text, limit: int) -> Iterator[Proposal]:
    """Numbers from 1 to 26 for the letters of the alphabet; what stands between most of them parts letters, what else
    stands between two parts words."""
    for match in _ORDINALS.finditer(source.values.tobytes()):
        start = match.start()
        found = list(islice(_NUMBER.finditer(match.group()), limit // 2 + 1))
        letters = [(chr(96 + int(one.group())), start + one.start(), start + one.end()) for one in found]
        cut = len(letters) > limit // 2
        letters = letters[: limit // 2]
        between = [source.values[a[2] : b[1]].tobytes() for a, b in pairwise(letters)]
        usual = Counter(between).most_common(1)[0][0]
        gaps = [one != usual for one in between]
        yield spelled("ordinal", source, letters, wide=2, cut=cut, trust=Trust.SPEECH, gaps=gaps)
