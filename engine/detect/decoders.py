"""The decoders: each reads one kind of encoding out of a text and says which original bytes each decoded byte came from.

A decoder proposes; whether a proposal reads like text is judged in `aimds.detect.unwrap`. Every decoder is linear in its input
and gives at most ``limit`` bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import re2

from aimds.detect import blobs, candidates, escapes
from aimds.detect.candidates import MIN_ESCAPES, VALUES_16, VALUES_32, VALUES_64

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

MAX_RUNS = 1024
"""Encoded runs of one kind that are looked at in one text."""
CONTEXT_BYTES = 256
"""What stays around each escape when a text is too long to be given whole."""


@dataclass(frozen=True, slots=True)
class Text:
    """``values`` uint8 (N,) with ``starts`` and ``ends`` int32 (N,): the original byte range in the row behind each byte."""

    values: Bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> Text:
        """Bytes ``start`` to ``stop``."""
        return Text(self.values[start:stop], self.starts[start:stop], self.ends[start:stop])

    def take(self, values: Bytes, first: Places, last: Places) -> Text:
        """``values`` (M,) of which byte k came from this text's bytes ``first[k]`` to ``last[k]``, both included."""
        return Text(values, self.starts[first], self.ends[last])


class Trust(enum.Enum):
    """What a proposal must show. WORDS: known words, or letters of another script. PRINTABLE: only that it is text; nobody hides
    noise. BETTER: more known words than the text it came from. PROSE: a sentence, not a list of names. NONE: was shown already."""

    WORDS = enum.auto()
    PRINTABLE = enum.auto()
    BETTER = enum.auto()
    PROSE = enum.auto()
    NONE = enum.auto()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One decoded text; ``cut``: the bounds left something out."""

    kind: str
    text: Text
    trust: Trust = Trust.WORDS
    cut: bool = False


def joined(parts: list[Text], gap: int = 10) -> Text:
    """``parts`` as one text, the byte ``gap`` between two of them; it stands for what lay between them."""
    if len(parts) == 1:
        return parts[0]
    values: list[Bytes] = []
    starts: list[Ints] = []
    ends: list[Ints] = []
    for before, part in zip([None, *parts], parts, strict=False):
        if before is not None:
            low, high = sorted((int(before.ends[-1]), int(part.starts[0])))
            values.append(np.array([gap], np.uint8))
            starts.append(np.array([low if high > low else max(0, low - 1)], np.int32))
            ends.append(np.array([max(high, low)], np.int32))
        values.append(part.values)
        starts.append(part.starts)
        ends.append(part.ends)
    return Text(np.concatenate(values), np.concatenate(starts), np.concatenate(ends))


def _from_digits(source: Text, at: Places, digits: Bytes, bits: int, limit: int, width: int = 8) -> tuple[Text, bool]:
    most = (limit * width + bits - 1) // bits
    cut = len(at) > most
    at, digits = at[:most], digits[:most]
    values = blobs.pack(digits, bits, width)
    k = np.arange(len(values), dtype=np.int64)
    return source.take(values, at[k * width // bits], at[(k * width + width - 1) // bits]), cut


def base64(source: Text, limit: int) -> list[Proposal]:
    """RFC 4648 §4 and §5: one run, wrapped lines, chunks, or a row of separately encoded words; padding optional."""
    runs = blobs.runs64(source.values, MAX_RUNS)
    out = []
    for number in np.unique(runs[:, 3]):
        own = runs[runs[:, 3] == number]
        start, stop = int(own[0, 0]), int(own[-1, 1])
        separate = bool((own[:-1, 2] > 0).any())
        parts, cut = [], len(runs) == MAX_RUNS
        for group in [own[k : k + 1] for k in range(len(own))] if separate else [own]:
            at = np.concatenate([np.arange(low, high, dtype=np.int64) for low, high, _, _ in group.tolist()])
            part, over = _from_digits(source, at, VALUES_64[source.values[at]], 6, limit)
            cut |= over
            if len(part):
                parts.append(part)
        # The parts of a JSON Web Token (RFC 7519) are names and numbers; only a sentence in one is worth a look.
        beside = source.values[max(0, start - 1) : start].tobytes() + source.values[stop : stop + 1].tobytes()
        token = source.values[start : start + 3].tobytes() == b"eyJ" and b"." in beside
        if parts:
            out.append(Proposal("base64", joined(parts, 32), Trust.PROSE if token else Trust.WORDS, cut))
    return out


_BASE32 = re2.compile(rb"[A-Za-z2-7]{16,}")
_HEX = re2.compile(rb"[0-9A-Fa-f]{16,}|(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ \t\r\n,:;-]{0,3}){7,}(?:0x|\\x)?[0-9A-Fa-f]{2}")
_BINARY = re2.compile(rb"(?:[01]{8}[ \t\r\n,;|/-]{0,3}){3,}[01]{8}|(?:[01]{7}[ \t\r\n,;|/-]{1,3}){3,}[01]{7}|(?:[01]{7}){5,}")
_DECIMAL = re2.compile(rb"(?:[0-9]{2,3}[ \t\r\n,;|/-]{1,3}){7,}[0-9]{2,3}")
_NUMBER = re2.compile(rb"[0-9]+")
_GRAPHIC = re2.compile(rb"[!-~]{20,}")
_MORSE = re2.compile(rb"[._-]{1,7}(?:[ \t\r\n/|]{1,5}[._-]{1,7}){5,}")
_SIGNAL = re2.compile(rb"[._-]+")


def _spans(pattern: re2._Regexp, raw: bytes) -> list[tuple[int, int]]:
    found = []
    for match in pattern.finditer(raw):
        found.append(match.span())
        if len(found) == MAX_RUNS:
            break
    return found


def base32(source: Text, limit: int) -> list[Proposal]:
    """RFC 4648 §6, either case, padding optional."""
    out = []
    buffer = np.empty(24, np.uint8)
    for start, stop in _spans(_BASE32, source.values.tobytes()):
        if candidates.is_base32(source.values, start, stop, buffer):
            at = np.arange(start, stop, dtype=np.int64)
            out.append(Proposal("base32", *_swap(_from_digits(source, at, VALUES_32[source.values[at]], 5, limit))))
    return out


def _swap(pair: tuple[Text, bool]) -> tuple[Text, Trust, bool]:
    return pair[0], Trust.WORDS, pair[1]


def hexadecimal(source: Text, limit: int) -> list[Proposal]:
    """RFC 4648 §8: one run, or pairs with blanks, colons, ``0x`` or ``\\x`` between them."""
    out = []
    for start, stop in _spans(_HEX, source.values.tobytes()):
        region = source.values[start:stop]
        digits = VALUES_16[region]
        keep = digits != 255
        keep[:-1] &= (region[1:] | 32) != 120
        at = np.flatnonzero(keep) + start
        out.append(Proposal("hex", *_swap(_from_digits(source, at, VALUES_16[source.values[at]], 4, limit))))
    return out


def binary(source: Text, limit: int) -> list[Proposal]:
    """Eight binary digits a byte, or seven, with or without separators."""
    out = []
    for start, stop in _spans(_BINARY, source.values.tobytes()):
        region = source.values[start:stop]
        at = np.flatnonzero((region == 48) | (region == 49)) + start
        groups = np.diff(np.flatnonzero(np.diff(at) > 1), prepend=-1) if len(at) else np.zeros(0)
        seven = (len(groups) > 0 and bool((groups == 7).all())) or (len(groups) == 0 and len(at) % 8 != 0)
        width = 7 if seven else 8
        out.append(Proposal("binary", *_swap(_from_digits(source, at, source.values[at] - 48, 1, limit, width))))
    return out


def decimal(source: Text, limit: int) -> list[Proposal]:
    """Decimal character codes with separators."""
    out = []
    for start, stop in _spans(_DECIMAL, source.values.tobytes()):
        codes, first, last = [], [], []
        cut = False
        for match in _NUMBER.finditer(source.values[start:stop].tobytes()):
            if len(codes) == limit:
                cut = True
                break
            codes.append(min(int(match.group()), 255))
            first.append(start + match.start())
            last.append(start + match.end() - 1)
        text = source.take(np.array(codes, np.uint8), np.array(first, np.int64), np.array(last, np.int64))
        out.append(Proposal("decimal", text, Trust.WORDS, cut))
    return out


def base85(source: Text, limit: int) -> list[Proposal]:
    """Ascii85 as of Adobe, the alphabet of RFC 1924, and Z85."""
    out = []
    for start, stop in _spans(_GRAPHIC, source.values.tobytes()):
        values, first, last = blobs.decode85(source.values, start, stop, limit)
        if len(values):
            out.append(Proposal("base85", source.take(values, first, last - 1), Trust.WORDS, len(values) >= limit))
    return out


MORSE = dict(
    zip(
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
        "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. .----. -.-.-- -..-. ---... -....-".split(),
        "abcdefghijklmnopqrstuvwxyz0123456789.,?'!/:-",
        strict=True,
    )
)
"""ITU-R M.1677-1."""


def morse(source: Text, limit: int) -> list[Proposal]:
    """Morse code; words parted by a slash, a bar, a line break or two blanks."""
    out = []
    for start, stop in _spans(_MORSE, source.values.tobytes()):
        raw = source.values[start:stop].tobytes()
        letters = []
        for match in _SIGNAL.finditer(raw):
            signal = match.group().decode().replace("_", "-")
            letters.append((MORSE.get(signal, "?"), start + match.start(), start + match.end()))
            if len(letters) == limit // 2:
                break
        out.append(Proposal("morse", spelled(source, letters, wide=2), cut=len(letters) == limit // 2))
    return out


def spelled(source: Text, letters: list[tuple[str, int, int]], *, wide: int) -> Text:
    """``letters`` (letter, start, end) as text. Without any word gap each stands alone: folding joins and cuts them by frequency."""
    def is_gap(before: int, after: int) -> bool:
        between = source.values[before:after].tobytes()
        return after - before >= wide or not between.isspace() or b"\n" in between

    gaps = [is_gap(a[2], b[1]) for a, b in zip(letters, letters[1:], strict=False)]
    none = not any(gaps)
    values, first, last = [], [], []
    for k, (letter, begin, end) in enumerate(letters):
        values.append(ord(letter))
        first.append(begin)
        last.append(end - 1)
        if k < len(gaps) and (none or gaps[k]):
            values.append(32)
            first.append(end)
            last.append(letters[k + 1][1] - 1)
    return source.take(np.array(values, np.uint8), np.array(first, np.int64), np.array(last, np.int64))


def _escapes(kind: str, style: int, trust: Trust) -> Callable[[Text, int], list[Proposal]]:
    def decode(source: Text, limit: int) -> list[Proposal]:
        values, begins, ends, made = escapes.unescape(source.values, style)
        escaped = made & (ends - begins > 1)
        if np.count_nonzero(np.diff(begins[escaped], prepend=-1)) < MIN_ESCAPES:
            return []
        controls = (values < 32) & made & (values != 9) & (values != 10) & (values != 13)
        if int(controls.sum()) * 4 > int(made.sum()):
            return []
        text = source.take(values, begins, ends - 1)
        if len(text) > limit:
            at = np.flatnonzero(made)
            breaks = np.flatnonzero(np.diff(at) > 2 * CONTEXT_BYTES)
            low = np.maximum(at[np.r_[0, breaks + 1]] - CONTEXT_BYTES, 0)
            high = np.minimum(at[np.r_[breaks, len(at) - 1]] + CONTEXT_BYTES, len(text))
            parts = zip(low[:MAX_RUNS].tolist(), high[:MAX_RUNS].tolist(), strict=True)
            text = joined([text.slice(*part) for part in parts])
        return [Proposal(kind, text.slice(0, limit), trust, len(text) > limit)]

    return decode


DECODERS: tuple[tuple[int, Callable[[Text, int], list[Proposal]]], ...] = (
    (candidates.BASE64, base64),
    (candidates.BASE32, base32),
    (candidates.HEX, hexadecimal),
    (candidates.BASE85, base85),
    (candidates.BINARY, binary),
    (candidates.DECIMAL, decimal),
    (candidates.MORSE, morse),
    (candidates.URL, _escapes("url", candidates.URL, Trust.PRINTABLE)),
    (candidates.HTML, _escapes("html", candidates.HTML, Trust.PRINTABLE)),
    (candidates.ESCAPES, _escapes("unicode_escape", candidates.ESCAPES, Trust.PRINTABLE)),
    (candidates.QUOTED, _escapes("quoted_printable", candidates.QUOTED, Trust.BETTER)),
)
"""Decoders of case-keeping text, with the bit of `aimds.detect.candidates` that calls for each."""
