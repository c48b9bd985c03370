"""Ways to hide a sentence from a filter: encodings and character tricks, each a function from text to text."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from random import Random

_MORSE_TABLE = (
    "a.- b-... c-.-. d-.. e. f..-. g--. h.... i.. j.--- k-.- l.-.. m-- n-. o--- p.--. q--.- r.-. s... t- u..- v...- "
    "w.-- x-..- y-.-- z--.. 0----- 1.---- 2..--- 3...-- 4....- 5..... 6-.... 7--... 8---.. 9----."
)
_MORSE = {entry[0]: entry[1:] for entry in _MORSE_TABLE.split()}
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_HOMOGLYPHS = str.maketrans("aceopxyiAEOPCTX", "асеорхуіАЕОРСТХ")


def _morse(text: str) -> str:
    words = ("".join(c for c in word.lower() if c in _MORSE) for word in text.split())
    return " / ".join(" ".join(_MORSE[c] for c in word) for word in words if word)


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _tags(text: str) -> str:
    return "Hello! " + "".join(chr(0xE0000 + ord(c)) for c in text if " " <= c <= "~")


DISGUISES: dict[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "URL encoding": lambda text: "".join(f"%{b:02X}" for b in text.encode()),
    "HTML entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "ROT13": lambda text: codecs.encode(text, "rot13"),
    "reversed text": lambda text: text[::-1],
    "Morse code": _morse,
    "binary": lambda text: " ".join(f"{b:08b}" for b in text.encode()),
    "Unicode escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "leetspeak": lambda text: text.translate(_LEET),
    "spaced letters": lambda text: "  ".join(" ".join(word) for word in text.split()),
    "zero-width text": lambda text: "\u200b".join(text),
    "full-width text": _wide,
    "look-alike letters": lambda text: text.translate(_HOMOGLYPHS),
    "invisible tags": _tags,
}


def disguise(text: str, random: Random) -> tuple[str, str]:
    """``text`` in a random disguise, and its name."""
    name = random.choice(tuple(DISGUISES))
    return DISGUISES[name](text), name
