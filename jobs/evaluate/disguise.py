"""Ways to hide a text from a filter: encodings and character tricks, each a function from text to text."""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import string
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, zip_longest
from random import Random

Hide = Callable[[str, Random], str]


@dataclass(frozen=True, slots=True)
class Disguise:
    """``hide(text, random)`` gives the hidden text. ``group``: encoding, character, burying or splitting. ``latin``: it
    works on Latin letters only, so a text in another script would stay as it is or be lost."""

    name: str
    group: str
    hide: Hide
    latin: bool = False

    def fits(self, text: str) -> bool:
        """Whether ``text`` can be hidden this way: Latin disguises need letters, nine in ten of them ASCII."""
        if not self.latin:
            return bool(text.strip())
        letters = [char.isascii() for char in text if char.isalpha()]
        return bool(letters) and sum(letters) >= 0.9 * len(letters)


_SIGNALS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    "----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_WORDS = (
    "Alfa Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett Kilo Lima Mike November Oscar Papa Quebec Romeo "
    "Sierra Tango Uniform Victor Whiskey X-ray Yankee Zulu"
)
MORSE = dict(zip(string.ascii_lowercase + string.digits, _SIGNALS.split(" "), strict=True))
NATO = dict(zip(string.ascii_lowercase, _WORDS.split(" "), strict=True))
_SIGNS_OF_MORSE = (
    ".-.-.- --..-- ..--.. .----. -.-.-- -..-. ---... -....- -.--. -.--.- .-... -.-.-. -...- .-.-. ..--.- .-..-. "
    "...-..- .--.-."
)
_SIGNS_OF_NATO = (
    "Comma|Stop|Dash|Slash|Colon|Semicolon|Apostrophe|Quote|Underscore|Equals|Plus|Dollar|Percent|Ampersand|Asterisk|"
    "Hash|Backslash|Backtick|Bar|At|Question Mark|Exclamation Mark|Less Than|Greater Than"
)
_DIGITS = "Zero One Two Three Four Five Six Seven Eight Nine"
MORSE_SIGNED = MORSE | dict(zip(".,?'!/:-()&;=+_\"$@", _SIGNS_OF_MORSE.split(" "), strict=True))
NATO_SIGNED = (
    NATO
    | dict(zip(string.digits, _DIGITS.split(" "), strict=True))
    | dict(zip(",.-/:;'\"_=+$%&*#\\`|@?!<>", _SIGNS_OF_NATO.split("|"), strict=True))
)
_SQUARE = "abcdefghiklmnopqrstuvwxyz"
_CELLS = {letter: f"{at // 5 + 1}{at % 5 + 1}" for at, letter in enumerate(_SQUARE)}
POLYBIUS = _CELLS | {"j": _CELLS["i"]}
BACON = {letter: f"{at:05b}".replace("0", "A").replace("1", "B") for at, letter in enumerate(string.ascii_lowercase)}
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
CYRILLIC = str.maketrans("aceopxyijsABCEHKMOPTXY", "асеорхуіјѕАВСЕНКМОРТХУ")
_GREEK = str.maketrans("aoviunABEHIKMNOPTXYZ", "αονιυηΑΒΕΗΙΚΜΝΟΡΤΧΥΖ")
_MARKS = "\u0300\u0301\u0302\u0303\u0308\u030a\u0323\u0331"
_EMOJI = "😀😎🤖🔥✨🎉🚀💡🍀🌈"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _base64(text: str) -> str:
    return _base64_of(text.encode())


def _lines(text: str, width: int, end: str = "\n") -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def _each(text: str, form: str) -> str:
    return "".join(form.format(byte) for byte in text.encode())


def _number(text: str, digits: str) -> str:
    number, out = int.from_bytes(text.encode(), "big"), ""
    while number:
        number, digit = divmod(number, len(digits))
        out = digits[digit] + out
    return out


def _joined(text: str) -> str:
    return "".join(text.split())


def _capitalised(text: str) -> str:
    return "".join(word[0].upper() + word[1:].lower() for word in text.split())


def _two_by_two(text: str) -> str:
    words = text.split()
    return " ".join(first + second for first, second in zip_longest(words[::2], words[1::2], fillvalue=""))


def _cut(text: str, mark: str) -> str:
    words = text.split(" ")
    return " ".join(word if len(word) < 4 else word[: len(word) // 2] + mark + word[len(word) // 2 :] for word in words)


def _quoted_printable(text: str) -> str:
    return "=\n".join(_each(text[at : at + 24], "={:02X}") for at in range(0, len(text), 24))


def _rot47(text: str) -> str:
    return "".join(chr(33 + (ord(char) + 14) % 94) if "!" <= char <= "~" else char for char in text)


def _uuencode(text: str) -> str:
    raw = text.encode()
    return "".join(binascii.b2a_uu(raw[at : at + 45]).decode() for at in range(0, len(raw), 45))


def _punycode(text: str) -> str:
    words = ("".join(word) for _, word in groupby(text, str.isalnum))
    return "".join(word if word.isascii() else f"xn--{word.encode('punycode').decode()}" for word in words)


def _escapes(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _spelt(text: str, table: dict[str, str], gap: str) -> str:
    words = ([table[char] for char in word.lower() if char in table] for word in text.split())
    return gap.join(" ".join(word) for word in words if word)


def _tags(text: str) -> str:
    return "Hello! " + "".join(chr(0xE0000 + ord(char)) for char in text if " " <= char <= "~")


def _selectors(text: str, random: Random) -> str:
    hidden = (chr(0xFE00 + byte) if byte < 16 else chr(0xE0100 + byte - 16) for byte in text.encode())
    return random.choice(_EMOJI) + "".join(hidden)


def _shifted(text: str, upper: int, lower: int) -> str:
    return "".join(
        chr(upper + ord(c) - 65) if "A" <= c <= "Z" else chr(lower + ord(c) - 97) if "a" <= c <= "z" else c
        for c in text
    )


def _between(text: str, random: Random) -> str:
    return "".join(char + random.choice(_EMOJI) if char.isalnum() else char for char in text)


def _between_words(text: str, random: Random) -> str:
    return "".join(char + random.choice(_EMOJI) + char if char == " " else char for char in text)


def _marked(text: str, random: Random) -> str:
    return "".join(
        char + "".join(random.choices(_MARKS, k=random.randrange(1, 3))) if char.isalpha() else char for char in text
    )


def typos(text: str, random: Random) -> str:
    """``text`` with a slip in one word of six, at least one: two letters swapped, one left out, or a wrong key."""
    words = text.split(" ")
    long = [at for at, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    for at in random.sample(long, min(len(long), max(1, len(words) // 6))):
        word = words[at]
        place = random.randrange(1, len(word) - 2)
        slip = random.randrange(3)
        if slip == 0:
            middle = word[place + 1] + word[place]
        elif slip == 1:
            middle = word[place]
        else:
            row = next((keys for keys in _KEYS if word[place].lower() in keys), word[place])
            middle = row[(row.find(word[place].lower()) + 1) % len(row)] + word[place + 1]
        words[at] = word[:place] + middle + word[place + 2 :]
    return " ".join(words)


def _random_case(text: str, random: Random) -> str:
    return "".join(char.upper() if random.random() < 0.5 else char.lower() for char in text)


ENCODINGS = (
    Disguise("base64", "encoding", lambda text, _: _base64(text)),
    Disguise("base64 in lines", "encoding", lambda text, _: _lines(_base64(text), 76)),
    Disguise("base64 twice", "encoding", lambda text, _: _base64(_base64(text))),
    Disguise("base64 of ROT13", "encoding", lambda text, _: _base64(codecs.encode(text, "rot13")), latin=True),
    Disguise("base64 of gzip", "encoding", lambda text, _: _base64_of(gzip.compress(text.encode(), mtime=0))),
    Disguise("base32", "encoding", lambda text, _: base64.b32encode(text.encode()).decode()),
    Disguise("base32hex", "encoding", lambda text, _: base64.b32hexencode(text.encode()).decode()),
    Disguise("base58", "encoding", lambda text, _: _number(text, BASE58)),
    Disguise("base62", "encoding", lambda text, _: _number(text, BASE62)),
    Disguise("uuencode", "encoding", lambda text, _: f"begin 644 text\n{_uuencode(text)} \nend\n"),
    Disguise("uuencode without its frame", "encoding", lambda text, _: _uuencode(text)),
    Disguise("Punycode of Cyrillic letters", "encoding", lambda t, _: _punycode(t.translate(CYRILLIC)), latin=True),
    Disguise(
        "bare Punycode of Cyrillic letters",
        "encoding",
        lambda text, _: text.translate(CYRILLIC).encode("punycode").decode(),
        latin=True,
    ),
    Disguise("hex", "encoding", lambda text, _: text.encode().hex()),
    Disguise("binary", "encoding", lambda text, _: " ".join(f"{byte:08b}" for byte in text.encode())),
    Disguise("URL encoding", "encoding", lambda text, _: _each(text, "%{:02X}")),
    Disguise("HTML entities", "encoding", lambda text, _: "".join(f"&#{ord(char)};" for char in text)),
    Disguise("quoted-printable", "encoding", lambda text, _: _quoted_printable(text)),
    Disguise("Unicode escapes", "encoding", lambda text, _: _escapes(text)),
    Disguise("ROT13", "encoding", lambda text, _: codecs.encode(text, "rot13"), latin=True),
    Disguise("ROT47", "encoding", lambda text, _: _rot47(text), latin=True),
    Disguise("octal", "encoding", lambda text, _: " ".join(f"{byte:03o}" for byte in text.encode())),
    Disguise("hex in lines", "encoding", lambda text, _: _lines(text.encode().hex(), 64)),
    Disguise("base32 in lines", "encoding", lambda text, _: _lines(base64.b32encode(text.encode()).decode(), 64)),
    Disguise("reversed text", "encoding", lambda text, _: text[::-1]),
    Disguise("reversed words", "encoding", lambda text, _: " ".join(word[::-1] for word in text.split(" "))),
    Disguise("Morse code", "encoding", lambda text, _: _spelt(text, MORSE, " / "), latin=True),
    Disguise("Morse code with signs", "encoding", lambda text, _: _spelt(text, MORSE_SIGNED, " / "), latin=True),
    Disguise("NATO alphabet", "encoding", lambda text, _: _spelt(text, NATO, " / "), latin=True),
    Disguise("NATO alphabet with signs", "encoding", lambda text, _: _spelt(text, NATO_SIGNED, " / "), latin=True),
    Disguise("Polybius square", "encoding", lambda text, _: _spelt(text, POLYBIUS, " / "), latin=True),
    Disguise("Bacon's cipher", "encoding", lambda text, _: _spelt(text, BACON, " / "), latin=True),
    Disguise("invisible tags", "encoding", lambda text, _: _tags(text), latin=True),
    Disguise("variation selectors behind an emoji", "encoding", _selectors),
)
"""The text is another sequence of signs, which a reader has to decode."""

CHARACTERS = (
    Disguise("leetspeak", "character", lambda text, _: text.translate(_LEET), latin=True),
    Disguise("Cyrillic letters", "character", lambda text, _: text.translate(CYRILLIC), latin=True),
    Disguise("Greek letters", "character", lambda text, _: text.translate(_GREEK), latin=True),
    Disguise(
        "full-width letters",
        "character",
        lambda text, _: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text),
        latin=True,
    ),
    Disguise("mathematical letters", "character", lambda text, _: _shifted(text, 0x1D400, 0x1D41A), latin=True),
    Disguise("zero-width characters", "character", lambda text, _: "\u200b".join(text)),
    Disguise("soft hyphens", "character", lambda text, _: "\u00ad".join(text)),
    Disguise("emoji between letters", "character", _between),
    Disguise("emoji between words", "character", _between_words),
    Disguise("bidi override", "character", lambda text, _: f"\u202e{text[::-1]}\u202c"),
    Disguise("spaced letters", "character", lambda text, _: "   ".join(" ".join(word) for word in text.split())),
    Disguise("words without blanks", "character", lambda text, _: _joined(text), latin=True),
    Disguise("words joined by capitals", "character", lambda text, _: _capitalised(text), latin=True),
    Disguise("two words in one", "character", lambda text, _: _two_by_two(text), latin=True),
    Disguise("blanks in words", "character", lambda text, _: _cut(text, " "), latin=True),
    Disguise("hyphens in words", "character", lambda text, _: _cut(text, "-"), latin=True),
    Disguise("comments in words", "character", lambda text, _: _cut(text, "<!-- -->"), latin=True),
    Disguise("combining marks", "character", _marked, latin=True),
    Disguise("typos", "character", typos, latin=True),
    Disguise("random case", "character", _random_case, latin=True),
)
"""The text still reads the same to a person."""
