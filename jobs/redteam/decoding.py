"""How the stub model reads what is hidden: every stretch that decodes to something a person could read."""

from __future__ import annotations

import base64
import binascii
import codecs
import quopri
import string
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import unquote

from aimds.jobs.evaluate.disguise import BACON, BASE58, BASE62, CYRILLIC, MORSE, NATO, POLYBIUS

Decode = Callable[[str], str]

MOST_CHARS = 60_000
"""Of a longer text the rest is not read."""
DEPTH = 2
"""Codes within codes that are undone."""
_TOGETHER = 400
_MOST_DIGITS = 4000


@dataclass(frozen=True, slots=True)
class Code:
    """One code. ``alphabet``: the characters it writes, gaps included; stretches of at least ``least`` of them are
    tried. ``decode`` raises ValueError on what it cannot read."""

    name: str
    alphabet: frozenset[str]
    least: int
    decode: Decode

    def stretches(self, text: str) -> Iterator[str]:
        """Maximal runs of the alphabet, trimmed."""
        first = 0
        for at in range(len(text) + 1):
            if at == len(text) or text[at] not in self.alphabet:
                if at - first >= self.least:
                    yield text[first:at].strip()
                first = at + 1


def readings(text: str, depth: int = DEPTH) -> list[str]:
    """What ``text`` says to one who knows the codes, each reading once, without itself."""
    found: dict[str, None] = {}
    todo = [text[:MOST_CHARS]]
    for _ in range(depth):
        decoded = [reading for one in todo for reading in _decoded(one)]
        rewritten = [rewrite(one) for one in todo for rewrite in REWRITES]
        for reading in (*decoded, *rewritten):
            if reading != text and len(found) < _TOGETHER:
                found[reading] = None
        todo = [one for one in dict.fromkeys(decoded) if one != text]
    return list(found)


def _decoded(text: str) -> Iterator[str]:
    for code in CODES:
        for stretch in code.stretches(text):
            try:
                reading = code.decode(stretch)
            except ValueError:
                continue
            if _is_readable(reading) and reading.strip() != stretch:
                yield reading.strip()


def _is_readable(text: str) -> bool:
    body = text.strip()
    if len(body) < 2:
        return False
    plain = sum(char.isalnum() or char in " .,;:!?'\"()-_/<>=#\n" for char in body)
    return plain >= 0.85 * len(body) and any(char.isalpha() for char in body)


def _utf8(raw: bytes) -> str:
    try:
        return zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(raw, MOST_CHARS).decode("utf-8", "ignore")
    except zlib.error:
        return raw.decode("utf-8")


def _bare(stretch: str) -> str:
    return "".join(stretch.split())


def _base64(stretch: str) -> str:
    body = _bare(stretch).rstrip("=").translate(str.maketrans("-_", "+/"))
    return _utf8(base64.b64decode(body + "=" * (-len(body) % 4), validate=True))


def _base32(stretch: str) -> str:
    body = _bare(stretch).rstrip("=").upper()
    return _utf8(base64.b32decode(body + "=" * (-len(body) % 8)))


def _base32hex(stretch: str) -> str:
    body = stretch.rstrip("=")
    return _utf8(base64.b32hexdecode(body + "=" * (-len(body) % 8)))


def _number(digits: str) -> Decode:
    def decode(stretch: str) -> str:
        if len(stretch) > _MOST_DIGITS:
            raise ValueError("too long a number")
        value = 0
        for digit in stretch:
            value = value * len(digits) + digits.index(digit)
        return _utf8(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    return decode


def _hex(stretch: str) -> str:
    return _utf8(bytes.fromhex(_bare(stretch.replace("\\x", " ").replace("0x", " "))))


def _binary(stretch: str) -> str:
    bits = _bare(stretch)
    if len(bits) % 8:
        raise ValueError("no whole bytes")
    return _utf8(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)))


def _ascii85(stretch: str) -> str:
    body = stretch.removeprefix("<~").removesuffix("~>")
    return _utf8(base64.a85decode(body))


def _uu(stretch: str) -> str:
    # A line before it may hold signs of its alphabet too.
    lines = [line for line in stretch.splitlines() if len(line) > 4]
    return _utf8(b"".join(binascii.a2b_uu(line) for line in lines))


def _octal(stretch: str) -> str:
    return _utf8(bytes(int(part, 8) for part in stretch.split()))


def _morse(stretch: str) -> str:
    back = {sign: char for char, sign in MORSE.items()}
    words = stretch.replace("\n", " / ").replace("|", "/").split("/")
    return " ".join("".join(back.get(sign, "") for sign in word.split()) for word in words)


def _table(signs: dict[str, str]) -> Decode:
    back = {sign: char for char, sign in reversed(signs.items())}
    return lambda stretch: " ".join(
        "".join(back.get(sign, "") for sign in word.split()) for word in stretch.replace("\n", " ").split("/")
    )


def _tags(stretch: str) -> str:
    return "".join(chr(ord(char) - 0xE0000) for char in stretch)


def _selectors(stretch: str) -> str:
    points = [ord(char) for char in stretch]
    return _utf8(bytes(point - 0xFE00 if point < 0xFE10 else point - 0xE0100 + 16 for point in points))


def _invisible_bits(stretch: str) -> str:
    return _binary("".join("1" if char in "\u2064" else "0" for char in stretch))


def _braille(stretch: str) -> str:
    return "".join(_BRAILLE.get(char, " ") for char in stretch)


def _letters(points: range) -> frozenset[str]:
    return frozenset(map(chr, points))


_DIGITS, _LETTERS, _GAP = set(string.digits), set(string.ascii_letters), set(" \n\r")
_DOTS = "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵"
_BRAILLE = dict(zip(_DOTS, string.ascii_lowercase, strict=True))
_HEX = frozenset(_DIGITS | set("abcdefABCDEFx\\") | _GAP)
_UU = frozenset(map(chr, range(0x20, 0x61))) | {"\n"}

CODES = (
    Code("base64", frozenset(_LETTERS | _DIGITS | set("+/=-_\n\r")), 8, _base64),
    Code("base32", frozenset(set(string.ascii_uppercase) | set("234567=\n")), 8, _base32),
    Code("base32hex", frozenset(base64.b32hexencode(bytes(range(256))).decode()), 8, _base32hex),
    Code("base58", frozenset(BASE58), 16, _number(BASE58)),
    Code("base62", frozenset(BASE62), 16, _number(BASE62)),
    Code("hex", _HEX, 6, _hex),
    Code("binary", frozenset("01 \n"), 16, _binary),
    Code("ascii85", frozenset(map(chr, range(0x21, 0x76))) | {"z", "~"}, 8, _ascii85),
    Code("uuencode", _UU, 5, _uu),
    Code("morse", frozenset(".-/| \n"), 4, _morse),
    Code("octal", frozenset("01234567 \n"), 12, _octal),
    Code("square", frozenset("12345 /\n"), 12, _table(POLYBIUS)),
    Code("bacon", frozenset("AB /\n"), 20, _table(BACON)),
    Code("tags", _letters(range(0xE0020, 0xE007F)), 2, _tags),
    Code("variation selectors", _letters(range(0xFE00, 0xFE10)) | _letters(range(0xE0100, 0xE01F0)), 2, _selectors),
    Code("invisible bits", frozenset("\u2062\u2064"), 16, _invisible_bits),
    Code("braille", _letters(range(0x2800, 0x2900)) | {" "}, 2, _braille),
)


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def _rot47(text: str) -> str:
    return "".join(chr(33 + (ord(char) + 14) % 94) if "!" <= char <= "~" else char for char in text)


def _plain_punycode(text: str) -> str:
    try:
        return text.encode("ascii").decode("punycode").translate(_LATIN)
    except UnicodeError:
        return text


def _punycode(text: str) -> str:
    """Each word behind ``xn--``, or else each line that could be one."""
    if "xn--" not in text:
        return "\n".join(_plain_punycode(line) if "-" in line else line for line in text.split("\n"))
    first, *parts = text.split("xn--")
    out = [first]
    for part in parts:
        size = next((at for at, char in enumerate(part) if not (char.isalnum() or char == "-")), len(part))
        out.append(_plain_punycode(part[:size]) + part[size:])
    return "".join(out).translate(_LATIN)


_LATIN = {look: latin for latin, look in reversed(CYRILLIC.items())}
_ATBASH = str.maketrans(string.ascii_letters, string.ascii_lowercase[::-1] + string.ascii_uppercase[::-1], "")
_LEET = str.maketrans("4310570", "aeiosto")


def _atbash(text: str) -> str:
    return text.translate(_ATBASH)


def _leet(text: str) -> str:
    return text.translate(_LEET)


def _quoted(text: str) -> str:
    if "=" not in text:
        return text
    return quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _percent(text: str) -> str:
    return unquote(text) if "%" in text else text


def _entities(text: str) -> str:
    return unescape(text) if "&" in text else text


def _escapes(text: str) -> str:
    parts = text.split("\\u")
    out = parts[0].encode("utf-16-be", "surrogatepass")
    for part in parts[1:]:
        try:
            out += int(part[:4], 16).to_bytes(2, "big") + part[4:].encode("utf-16-be", "surrogatepass")
        except ValueError:
            out += ("\\u" + part).encode("utf-16-be", "surrogatepass")
    return out.decode("utf-16-be", "replace")


def _nato(text: str) -> str:
    back = {word.lower().replace("-", ""): char for char, word in NATO.items()} | {"alpha": "a", "juliet": "j"}
    spelt = [back.get("".join(filter(str.isalpha, word)).lower()) for word in text.split()]
    return "".join(char for char in spelt if char) if sum(map(bool, spelt)) >= 4 else text


def _unmarked(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if unicodedata.category(char) not in ("Mn", "Cf"))


def _reversed(text: str) -> str:
    return text[::-1]


def _unspaced(text: str) -> str:
    """Words whose letters stand apart, closed up."""
    return " ".join("".join(word.split(" ")) for word in text.split("  ")) if "  " in text else text


REWRITES: tuple[Decode, ...] = (
    _rot13,
    _atbash,
    _leet,
    _quoted,
    _percent,
    _entities,
    _escapes,
    _nato,
    _rot47,
    _punycode,
    _unmarked,
    _reversed,
    _unspaced,
)
"""Readings of a whole text, taken whether or not they make sense: the stub answers with all of them."""
