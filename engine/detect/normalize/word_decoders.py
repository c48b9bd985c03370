"""Decoders of words and letters: exchanged letters, reversed and upside-down text, spelling alphabets, hidden code
points.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import re2

from aimds.detect.normalize import blobs
from aimds.detect.normalize.ciphers import ALPHABET
from aimds.detect.normalize.exchanged import ATBASH, REVERSED
from aimds.detect.normalize.proposals import Bytes, Places, Proposal, Text, Trust, joined, spelled
from aimds.detect.normalize.vocabulary import Vocabulary

EDGE_BYTES = 3
"""Punctuation taken along at either end of a reversed stretch."""
MAX_WORDS = 4096
MIN_SPELLED = 4
MAX_SPELLED = 1024
"""Letters of a run of the spelling alphabet, and runs of one text."""

_TURNED = (
    "ɐa qb ɔc pd ǝe ɟf ƃg ɓg ɥh ᴉi ıi ɾj ʞk ʅl ןl ɯm un do bq ɹr ʇt nu ʌv ʍw ʎy ¡! ¿? ˙. ∀A ƎE ℲF ⅁G ſJ ⅂L ԀP ΛV ⅄Y"
)
TURNED = {pair[0]: pair[1] for pair in _TURNED.split(" ")} | {"d": "p", "'": ",", ",": "'"}
"""Letter of upside-down text → the letter it stands for."""
SIGNS_OF_TURNED = frozenset("ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ")
MIN_TURNED = 4
LEET_SHARE = 4
"""One word in so many must be leetspeak."""
PLAIN = np.arange(256, dtype=np.uint8)
for _sign, _letter in zip(b"013457@$", b"oieastas", strict=True):
    PLAIN[_sign] = _letter
"""Each byte, the signs of leetspeak as the letters they stand for most."""
IS_SIGN = np.array([33 <= b < 127 and not chr(b).isalnum() for b in range(256)])
IS_CLOSER, IS_OPENER = (np.array([b < 128 and chr(b) in signs for b in range(256)]) for signs in (".,;:!?)]}>", "([{<"))
"""By byte: punctuation; signs that stand behind a word; those before one."""

_WORD = re2.compile(rb"[a-z]+(?:-ray)?")
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_LETTERS = (
    {word: word[0] for word in ALPHABET}
    | {"ray": "x", "x-ray": "x", "fower": "4", "fife": "5", "niner": "9"}
    | {word: str(value) for value, word in enumerate(_DIGITS)}
    | {"comma": ",", "period": ".", "stop": ".", "decimal": ".", "dash": "-", "hyphen": "-", "slash": "/", "colon": ":"}
    | {"semicolon": ";", "apostrophe": "'", "quote": '"', "underscore": "_", "equals": "=", "plus": "+", "dollar": "$"}
    | {"percent": "%", "ampersand": "&", "asterisk": "*", "hash": "#", "backslash": "\\", "backtick": "`", "bar": "|"}
    | {"at": "@", "question": "?", "exclamation": "!", "less": "<", "greater": ">", "mark": "", "than": "", "sign": ""}
)
"""What the words of a run stand for; an empty one belongs to the sign before it ("question mark", "less than")."""


def shifted(source: Text, start: int, stop: int, kind: int, foreign: npt.NDArray[np.bool_] | None = None) -> Proposal:
    """``source[start:stop]`` under transformation ``kind`` (`aimds.detect.normalize.ciphers`), a shift or Atbash.
    ``foreign`` bool (N,): letters that folding made Latin; no cipher of Latin letters changed them.
    """
    low, high = _edges(source, start, stop)
    part = source.slice(low, high)
    kept = True if foreign is None else ~foreign[low:high]
    values = part.values.copy()
    for first in (65, 97):
        letters = (values >= first) & (values < first + 26) & kept
        if kind == ATBASH:
            values[letters] = 2 * first + 25 - values[letters]
        else:
            values[letters] = first + (values[letters] - first + kind) % 26
    name = "atbash" if kind == ATBASH else "rot13" if kind == 13 else "caesar"
    return Proposal(name, Text(values, part.starts, part.ends), Trust.NONE)


def turned_round(source: Text, start: int, stop: int) -> list[Proposal]:
    """``source[start:stop]`` read backwards as a whole, and word by word.

    The signs of a word stay where they are where more words end with a sign that ends one than begin with such a sign.
    """
    part = source.slice(*_edges(source, start, stop))
    whole = _reordered(part, _backwards(part.values))
    return [Proposal("reversed", text, Trust.NONE) for text in (whole, _reordered(part, _word_by_word(part.values)))]


def leetspeak(source: Text, limit: int) -> list[Proposal]:
    """Every sign that leetspeak writes for a letter as that letter, where a quarter of the words hold such signs: so
    words that are not known are read too. Text that is left out stands as it was written."""
    part = source.slice(0, limit)
    letter, blank = (part.values | 32) - 97 < 26, part.values <= 32
    first = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    if not len(first):
        return []
    mixed = np.logical_or.reduceat(letter, first) & np.logical_or.reduceat(PLAIN[part.values] != part.values, first)
    if int(mixed.sum()) * LEET_SHARE < len(first):
        return []
    return [Proposal("leetspeak", Text(PLAIN[part.values], part.starts, part.ends), Trust.SPEECH)]


def turned_script(source: Text, limit: int) -> list[Proposal]:
    """Text read backwards as a whole, to be believed by its script."""
    part = source.slice(0, limit)
    return [Proposal("reversed", _reordered(part, _backwards(part.values)), Trust.SPEECH, cut=len(source) > limit)]


def _edges(source: Text, start: int, stop: int) -> tuple[int, int]:
    # The stretch with the punctuation at either end.
    low, high = start, stop
    while low > 0 and start - low < EDGE_BYTES and IS_SIGN[source.values[low - 1]]:
        low -= 1
    while high < len(source) and high - stop < EDGE_BYTES and IS_SIGN[source.values[high]]:
        high += 1
    return low, high


def _word_by_word(values: Bytes) -> Places:
    # Order of the bytes that reads every word backwards and leaves the words where they are.
    blank = values <= 32
    edge = np.concatenate([[True], blank, [True]])
    front, behind = edge[:-2] & ~edge[2:], edge[2:] & ~edge[:-2]
    closes, opens = IS_CLOSER[values], IS_OPENER[values]
    if int(((closes & front) | (opens & behind)).sum()) >= int(((closes & behind) | (opens & front)).sum()):
        # A line break inside such a word came along with it where the sign stands behind the break.
        at = np.flatnonzero(values == 10)
        inside = at[(at > 0) & (at + 1 < len(values))]
        apart = blank.copy()
        apart[inside[closes[np.minimum(inside + 1, len(values) - 1)]]] = False
        unit = ~apart
    else:
        unit = (values >= 0x80) | ((values | 32) - 97 < 26) | (values - 48 < 10)
    words = np.cumsum(np.diff(unit.astype(np.int8), prepend=0) != 0)
    char = np.cumsum((values & 0xC0) != 0x80)
    return np.lexsort((np.where(unit, -char, 0), words))


def _backwards(values: Bytes) -> Places:
    # Order of the bytes that reads the characters backwards, each character's own bytes forwards.
    char = np.cumsum((values & 0xC0) != 0x80)
    return np.argsort(-char, kind="stable")


def _reordered(text: Text, order: Places) -> Text:
    return Text(text.values[order], text.starts[order], text.ends[order])


def spelling_alphabet(source: Text, limit: int) -> list[Proposal]:
    """Runs of words of the ICAO spelling alphabet ("alfa bravo …"), its common variants, digits and signs included."""
    runs: list[list[tuple[str, int, int]]] = []
    run: list[tuple[str, int, int]] = []
    kept = 0
    cut = False
    for match in _WORD.finditer(source.values.tobytes().lower()):
        letter = _LETTERS.get(match.group().decode())
        if run and (letter is None or match.start() - run[-1][2] > 4):
            if len(run) >= MIN_SPELLED:
                runs.append(run)
                kept += len(run)
            run = []
        if letter is None:
            continue
        if not letter:
            if run:
                run[-1] = (*run[-1][:2], match.end())
            continue
        # A run is kept from its fourth letter on, so that whatever is cut off leaves one that says so.
        if (len(run) >= MIN_SPELLED and kept + len(run) >= limit // 2) or len(runs) == MAX_SPELLED:
            cut = True
            break
        run.append((letter, match.start(), match.end()))
    if len(run) >= MIN_SPELLED:
        runs.append(run)
    return [spelled("nato", source, run, wide=2, cut=cut, trust=Trust.SPEECH) for run in runs]


def pig_latin(source: Text, vocabulary: Vocabulary, limit: int) -> list[Proposal]:
    """Words ending in "ay", back to where their first consonants stood."""
    parts: list[Text] = []
    end = size = 0
    cut = False
    for count, match in enumerate(_WORD.finditer(source.values.tobytes().lower())):
        if size > limit or count == MAX_WORDS:
            cut = True
            break
        word = match.group().decode()
        parts.append(source.slice(end, match.start()))
        stem = word[:-2] if word.endswith("ay") and len(word) > 3 else ""
        options = [stem[-k:] + stem[:-k] for k in range(1, min(4, len(stem) - 1) + 1)]
        options += [stem[:-1] if stem[-1:] in ("w", "y", "h") else stem, stem]
        known = [(vocabulary.log_probability(option) or -99.0, option) for option in options if option]
        best = max(known)[1] if known and max(known)[0] > -99.0 else word
        places = np.full(len(best), match.start(), np.int64)
        parts.append(
            source.take(np.frombuffer(best.encode(), np.uint8), places, places - match.start() + match.end() - 1)
        )
        end, size = match.end(), size + len(parts[-2]) + len(best)
    values, starts, ends = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("values", "starts", "ends")
    )
    return [Proposal("pig_latin", Text(values, starts, ends), Trust.BETTER, cut or size > limit)]


def upside_down(raw: bytes, limit: int) -> list[Proposal]:
    """Lines in turned letters, each read from its end. ``raw`` is the row as it came."""
    text = raw[: 4 * limit].decode("utf-8", "surrogateescape")
    if sum(char in SIGNS_OF_TURNED for char in text) < MIN_TURNED:
        return []
    lines: list[Text] = []
    at = 0
    for line in text.splitlines(keepends=True):
        turned = not SIGNS_OF_TURNED.isdisjoint(line)
        values, starts, ends = [], [], []
        for char in line:
            size = len(char.encode("utf-8", "surrogateescape"))
            if turned and char not in "\r\n":
                plain = TURNED.get(char, char).encode("utf-8", "replace")
                values.append(plain)
                starts += [at] * len(plain)
                ends += [at + size] * len(plain)
            at += size
        if turned:
            places = np.array(starts[::-1], np.int32), np.array(ends[::-1], np.int32)
            lines.append(Text(np.frombuffer(b"".join(reversed(values)), np.uint8), *places))
    back = joined(lines)
    return [Proposal("upside_down", back.slice(0, limit), Trust.WORDS, len(raw) > 4 * limit or len(back) > limit)]


def hidden(raw: Bytes, limit: int) -> list[Proposal]:
    """What Unicode tags and runs of variation selectors spell in the row as it came (Unicode Technical Standard 51,
    annex C).
    """
    out = []
    for kind, selectors in (("tags", False), ("variation_selectors", True)):
        values, first, last = blobs.hidden(raw, selectors)
        if len(values) >= 2:
            text = Text(values, first.astype(np.int32), last.astype(np.int32))
            out.append(Proposal(kind, text.slice(0, limit), Trust.PRINTABLE, len(values) > limit))
    return out


def is_reversal(kind: int) -> bool:
    """Whether transformation ``kind`` turns words round instead of exchanging letters."""
    return kind == REVERSED
