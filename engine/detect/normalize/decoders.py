"""The decoders: each reads one kind of encoding out of a text and says which original bytes each decoded byte came
from.

A decoder proposes; whether a proposal reads like text is judged in `unwrap`. Every decoder is linear in
its input and gives at most ``limit`` bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import re2

from aimds.detect.normalize import blobs, candidates, punycode, radix, rejoined, squares
from aimds.detect.normalize.codes import decimal, octal, ordinals
from aimds.detect.normalize.compressed import begins
from aimds.detect.normalize.concatenation import concatenation
from aimds.detect.normalize.digits import ROT13, ROT47, VALUES_16, VALUES_32, VALUES_64
from aimds.detect.normalize.heads import first_line, is_base32, printable
from aimds.detect.normalize.in_place import escaped, labelled
from aimds.detect.normalize.proposals import Bytes, Places, Proposal, Text, Trust, joined, spelled
from aimds.detect.normalize.spread import spread
from aimds.detect.normalize.uuencode import uuencode

RUNS_AT_ONCE = 4096
MIN_ROTATED = 12
"""What signs of ROT47 must outweigh small letters by."""
MAX_ROTATED_WORD, MIN_ROTATED_SHARE = 16, 0.5
"""Bytes for a blank of text under ROT47, and the share of small letters of what is no blank."""
_IS_ROTATED = np.zeros(256, np.int64)
_IS_ROTATED[ord("a") : ord("z") + 1] = -1
_IS_ROTATED[ROT47[ord("a") : ord("z") + 1]] = 1


def _from_digits(source: Text, at: Places, digits: Bytes, bits: int, limit: int, width: int = 8) -> tuple[Text, bool]:
    most = (limit * width + bits - 1) // bits
    cut = len(at) > most
    at, digits = at[:most], digits[:most]
    values = blobs.pack(digits, bits, width)
    k = np.arange(len(values), dtype=np.int64)
    return source.take(values, at[k * width // bits], at[(k * width + width - 1) // bits]), cut


def _is_text(text: Text) -> bool:
    return bool(printable(text.values[:24], min(24, len(text))))


def base64(source: Text, limit: int) -> Iterator[Proposal]:
    """RFC 4648 §4 and §5: one run, wrapped lines, chunks, or a row of separately encoded words; padding optional."""
    at = 0
    while True:
        runs = blobs.runs64(source.values[at:], RUNS_AT_ONCE)
        runs[:, :2] += at
        for number in np.unique(runs[:, 3]):
            mine = runs[runs[:, 3] == number]
            found = _base64_text(source, mine, limit)
            yield found
            if len(mine) > 1 and begins(found.text.values):
                # Short lines behind what only looks compressed may be a text.
                yield _base64_text(source, mine[1:], limit)
        if len(runs) < RUNS_AT_ONCE:
            return
        at = int(runs[-1, 1])


def _base64_text(source: Text, runs: npt.NDArray[np.int64], limit: int) -> Proposal:
    start, stop = int(runs[0, 0]), int(runs[-1, 1])
    separate = bool((runs[:-1, 2] > 0).any())
    parts: list[Text] = []
    cut = False
    for group in [runs[k : k + 1] for k in range(len(runs))] if separate else [runs]:
        at = np.concatenate([np.arange(low, high, dtype=np.int64) for low, high, _, _ in group.tolist()])
        part, over = _from_digits(source, at, VALUES_64[source.values[at]], 6, limit)
        cut |= over
        if len(part):
            parts.append(part)
        if sum(map(len, parts)) >= limit:
            cut |= separate
            break
    # The parts of a JSON Web Token (RFC 7519) are names and numbers; only a sentence in one is worth a look.
    beside = source.values[max(0, start - 1) : start].tobytes() + source.values[stop : stop + 1].tobytes()
    token = source.values[start : start + 3].tobytes() == b"eyJ" and b"." in beside
    text = joined(parts, 32) if parts else source.slice(0, 0)
    trust = Trust.PROSE if token else Trust.LETTERS
    return Proposal("base64", text.slice(0, limit), trust, cut or len(text) > limit)


_BASE32 = re2.compile(rb"[A-Za-z2-7]{16,}(?:[ \t\r]{0,8}\n[ \t>]{0,8}[A-Z2-7]{8,})*")
_HEX = re2.compile(
    rb"[0-9A-Fa-f]{16,}(?:[ \t\r]{0,8}\n[ \t>]{0,8}[0-9A-Fa-f]{2,})*|"
    rb"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ \t\r\n,:;-]{0,3}){7,}(?:0x|\\x)?[0-9A-Fa-f]{2}"
)
_BINARY = re2.compile(
    rb"(?:[01]{8}[ \t\r\n,;|/-]{0,3}){3,}[01]{8}|(?:[01]{7}[ \t\r\n,;|/-]{1,3}){3,}[01]{7}|(?:[01]{7}){5,}"
)
_GRAPHIC = re2.compile(rb"[!-~]{20,}")
_MORSE = re2.compile(rb"[._-]{1,7}(?:[ \t\r\n/|]{1,5}[._-]{1,7}){5,}")
_SIGNAL = re2.compile(rb"[._-]+")


def base32(source: Text, limit: int) -> Iterator[Proposal]:
    """RFC 4648 §6, either case, padding optional, wrapped lines in capitals."""
    buffer = np.empty(24, np.uint8)
    for match in _BASE32.finditer(source.values.tobytes()):
        for first in _first_lines(source, match.span(), VALUES_32, 5):
            at = np.arange(first, match.end(), dtype=np.int64)
            at = at[VALUES_32[source.values[at]] != 255]
            digits = source.values[at]
            if is_base32(digits, 0, len(digits), buffer):
                text, cut = _from_digits(source, at, VALUES_32[source.values[at]], 5, limit)
                yield Proposal("base32", text, Trust.LETTERS, cut)


def _first_lines(source: Text, span: tuple[int, int], digits: Bytes, bits: int) -> Iterator[int]:
    # A line of other bytes before it, as a checksum, hides no text, nor does what only looks compressed.
    buffer = np.zeros(24, np.uint8)
    first = int(first_line(source.values, *span, digits, bits, False, buffer))
    if first < 0:
        return
    yield first
    if begins(buffer):
        behind = int(first_line(source.values, first, span[1], digits, bits, True, buffer))
        if behind not in (-1, first):
            yield behind


def hexadecimal(source: Text, limit: int) -> Iterator[Proposal]:
    """RFC 4648 §8: one run, maybe in lines, or pairs with blanks, colons, ``0x`` or ``\\x`` between them."""
    for match in _HEX.finditer(source.values.tobytes()):
        for first in _first_lines(source, match.span(), VALUES_16, 4):
            region = source.values[first : match.end()]
            keep = VALUES_16[region] != 255
            keep[:-1] &= (region[1:] | 32) != 120
            at = np.flatnonzero(keep) + first
            text, cut = _from_digits(source, at, VALUES_16[source.values[at]], 4, limit)
            yield Proposal("hex", text, Trust.LETTERS, cut)


def turned_blob(source: Text, limit: int) -> Iterator[Proposal]:
    """Base64 and hexadecimal whose characters stand in reverse order."""
    places = np.arange(len(source), dtype=np.int64)[::-1]
    back = source.take(source.values[places], places, places)
    yield from base64(back, limit)
    yield from hexadecimal(back, limit)


def rotated_blob(source: Text, limit: int) -> Iterator[Proposal]:
    """Base64 and hexadecimal under ROT13."""
    plain = Text(ROT13[source.values], source.starts, source.ends)
    yield from base64(plain, limit)
    yield from hexadecimal(plain, limit)


def _wide(text: Text) -> Text:
    # UTF-16 with the higher byte first as UTF-8.
    n = len(text) // 2 * 2
    codes = text.values[0:n:2].astype(np.int64) << 8 | text.values[1:n:2]
    values, of = punycode.encoded(np.where((codes >= 0xD800) & (codes < 0xE000), 0xFFFD, codes))
    return Text(values, text.starts[0:n:2][of], text.ends[1:n:2][of])


def binary(source: Text, limit: int) -> Iterator[Proposal]:
    """Eight binary digits a byte, or seven, with or without separators; or sixteen a UTF-16 unit."""
    for match in _BINARY.finditer(source.values.tobytes()):
        region = source.values[slice(*match.span())]
        at = np.flatnonzero((region == 48) | (region == 49)) + match.start()
        groups = np.diff(np.flatnonzero(np.diff(at) > 1), prepend=-1)
        seven = bool((groups == 7).all()) if len(groups) else len(at) % 8 != 0
        text, cut = _from_digits(source, at, source.values[at] - 48, 1, limit, 7 if seven else 8)
        if len(groups) and (groups == 16).all():
            text = _wide(text)
        if _is_text(text):
            yield Proposal("binary", text, Trust.LETTERS, cut)


def rot47(source: Text, limit: int) -> Iterator[Proposal]:
    """The stretch with the most signs that ROT47 makes of small letters and the fewest small letters."""
    gain = np.concatenate([[0], np.cumsum(_IS_ROTATED[source.values])])
    rise = gain - np.minimum.accumulate(gain)
    stop = int(rise.argmax())
    if rise[stop] < MIN_ROTATED:
        return
    start = int(gain[: stop + 1].argmin())
    blank = np.flatnonzero(source.values <= 32)
    before, after = np.searchsorted(blank, [start, stop])
    low = int(blank[before - 1]) + 1 if before else 0
    part = source.slice(low, int(blank[after]) if after < len(blank) else len(source))
    # Escapes of digits have no blanks, code has other signs.
    gaps = int((part.values <= 32).sum())
    rotated = int((_IS_ROTATED[part.values] > 0).sum())
    if gaps * MAX_ROTATED_WORD < len(part) or rotated < MIN_ROTATED_SHARE * (len(part) - gaps):
        return
    text = Text(ROT47[part.values[:limit]], part.starts[:limit], part.ends[:limit])
    yield Proposal("rot47", text, Trust.SPEECH, cut=len(part) > limit)


def base85(source: Text, limit: int) -> Iterator[Proposal]:
    """Ascii85 as of Adobe, the alphabet of RFC 1924, and Z85."""
    for match in _GRAPHIC.finditer(source.values.tobytes()):
        values, first, last = blobs.decode85(source.values, match.start(), match.end(), limit)
        if len(values):
            yield Proposal("base85", source.take(values, first, last - 1), Trust.LETTERS, len(values) >= limit)


_SIGNALS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. .----. -.-.-- -..-. ---... "
    "-....- -.--. -.--.- .-... -.-.-. -...- .-.-. ..--.- .-..-. ...-..- .--.-."
)
MORSE = dict(zip(_SIGNALS.split(" "), "abcdefghijklmnopqrstuvwxyz0123456789.,?'!/:-()&;=+_\"$@", strict=True))
"""ITU-R M.1677-1, with the exclamation mark, ampersand, semicolon, underscore and dollar sign in common use."""


def morse(source: Text, limit: int) -> Iterator[Proposal]:
    """Morse code; words parted by a slash, a bar, a line break or two blanks."""
    for match in _MORSE.finditer(source.values.tobytes()):
        letters = []
        for signal in islice(_SIGNAL.finditer(match.group()), limit // 2 + 1):
            name = signal.group().decode().replace("_", "-")
            letters.append((MORSE.get(name, "?"), match.start() + signal.start(), match.start() + signal.end()))
        cut = len(letters) > limit // 2
        yield spelled("morse", source, letters[: limit // 2], wide=2, cut=cut, trust=Trust.SPEECH)


_CELLS = "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠂⠲⠦⠖⠄⠤⠒⠆"
BRAILLE = dict(zip(_CELLS, "abcdefghijklmnopqrstuvwxyz,.?!'-:;", strict=True)) | {"\u2800": " "}
"""Cells of six dots, uncontracted English Braille; digits are a to j behind the sign for numbers."""
_NUMBERS_FOLLOW, _CAPITAL = "⠼", "⠠"


def braille(source: Text, limit: int) -> Iterator[Proposal]:
    """Unicode Braille cells; what stands between them stays."""
    text = source.values[: 3 * limit].tobytes().decode("utf-8", "replace")
    out: list[tuple[int, int, int]] = []
    at = 0
    number = False
    for char in text:
        size = len(char.encode())
        plain = BRAILLE.get(char, char)
        if char in (_NUMBERS_FOLLOW, _CAPITAL):
            number = char == _NUMBERS_FOLLOW
        elif plain.isascii():
            number = number and "a" <= plain <= "j"
            code = ord("1234567890"[ord(plain) - 97]) if number else ord(plain)
            out.append((code, at, at + size - 1))
        at += size
    if out:
        values, first, last = np.array(out[:limit], np.int64).T
        cut = len(out) > limit or len(source) > 3 * limit
        yield Proposal("braille", source.take(values.astype(np.uint8), first, last), Trust.LETTERS, cut)


DECODERS: tuple[tuple[int, Callable[[Text, int], Iterator[Proposal]]], ...] = (
    (candidates.BASE64, base64),
    (candidates.BASE32, base32),
    (candidates.OTHER_BASE32, radix.other_base32),
    (candidates.HEX, hexadecimal),
    (candidates.NUMBER, radix.numbers),
    (candidates.BASE85, base85),
    (candidates.BINARY, binary),
    (candidates.TURNED_BLOB, turned_blob),
    (candidates.ROTATED_BLOB, rotated_blob),
    (candidates.DECIMAL, decimal),
    (candidates.OCTAL, octal),
    (candidates.ROTATED_SIGNS, rot47),
    (candidates.SQUARES, squares.polybius),
    (candidates.SQUARES, squares.taps),
    (candidates.BACON, squares.bacon),
    (candidates.MORSE, morse),
    (candidates.URL, escaped("url", candidates.URL)),
    (candidates.HTML, escaped("html", candidates.HTML)),
    (candidates.ESCAPES, escaped("unicode_escape", candidates.ESCAPES)),
    (candidates.QUOTED, escaped("quoted_printable", candidates.QUOTED)),
    (candidates.STRINGS, concatenation),
    (candidates.ORDINALS, ordinals),
    (candidates.BRAILLE, braille),
    (candidates.UUENCODE, uuencode),
    (candidates.PUNYCODE, labelled),
    (candidates.PUNYCODE, punycode.whole),
    (candidates.SPREAD, spread),
    (candidates.ITEMS, rejoined.items),
    (candidates.CELLS, rejoined.cells),
    (candidates.LINES, rejoined.words),
)
"""Decoders of case-keeping text, with the bit of `aimds.detect.normalize.candidates` that calls for each."""
