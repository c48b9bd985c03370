"""Fills templates: words from texts/slots.toml, and generated values such as amounts, dates and (fake) card numbers."""

from __future__ import annotations

import base64
import codecs
import string
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

TEXTS = Path(__file__).parent / "texts"
_FORMATTER = string.Formatter()
_LETTERS = string.ascii_uppercase
_ALNUM = string.ascii_letters + string.digits

# Numbers that card schemes and banks document as samples; no account stands behind them.
_CARDS = (
    "4242 4242 4242 4242",
    "4111 1111 1111 1111",
    "5555 5555 5555 4444",
    "5105 1051 0510 5100",
    "4012 8888 8888 1881",
    "3782 822463 10005",
    "6011 1111 1111 1117",
)
_IBANS = (
    "DE89 3704 0044 0532 0130 00",
    "GB82 WEST 1234 5698 7654 32",
    "NL91 ABNA 0417 1643 00",
    "BE68 5390 0754 7034",
    "AT61 1904 3002 3457 3201",
    "CH93 0076 2011 6238 5295 7",
    "ES91 2100 0418 4502 0005 1332",
)
_NOTES = ("the key is under the red pot", "meet me at the fountain", "happy birthday", "build 42 passed", "tea at five")
_FRAGMENTS = (
    *("tion", "ize", "==", "}{", ")]", "Sure", "Wik", "\\n", "!--", "::", "begin", "ward", "$$", "respond", "step"),
    *(
        "ology",
        "{{",
        "</",
        "repr",
        "inverse",
        "Two",
        "now",
        "~~",
        "ummary",
        "@@",
        "quot",
        "similar",
        "[/",
        "plain",
        "=>",
    ),
    *("lish", "table", "%%", "oppos", "Write", "ably", "({", "tut", "ORIAL", "><", "format", "++", "zag", "mn", "with"),
)


def _card(random: Random) -> str:
    number = random.choice(_CARDS)
    return number.replace(" ", random.choice((" ", "", "-")))


def _iban(random: Random) -> str:
    number = random.choice(_IBANS)
    return number if random.random() < 0.6 else number.replace(" ", "")


def _phone(random: Random) -> str:
    last = random.randrange(100, 200)
    return random.choice((f"+1 202-555-0{last}", f"(415) 555-0{last}", f"+44 20 7946 0{last}", f"+44 7700 900{last}"))


def _token(random: Random) -> str:
    kind, n = random.choice((("ghp_", 36), ("sk_" + "test_", 24), ("glpat" + "-", 20)))
    return kind + "".join(random.choices(_ALNUM, k=n))


def _amount(random: Random) -> str:
    value = random.choice((random.uniform(3, 99), random.uniform(100, 999), float(random.randrange(1000, 25000, 50))))
    money = f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
    return random.choice((f"€{money}", f"${money}", f"£{money}", f"{money} EUR"))


def _date(random: Random) -> str:
    return f"2025-{random.randrange(1, 13):02d}-{random.randrange(1, 29):02d}"


def _hex(random: Random) -> str:
    return f"{random.getrandbits(32):08x}"


def _uuid(random: Random) -> str:
    raw = f"{random.getrandbits(128):032x}"
    return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))


def _suffix(random: Random) -> str:
    glue = random.choices((" ", "", "."), (6, 3, 1), k=24)
    return "".join(f + g for f, g in zip(random.choices(_FRAGMENTS, k=random.randrange(14, 24)), glue, strict=False))


_GENERATED: dict[str, Callable[[Random], str]] = {
    "int": lambda random: str(random.randrange(11, 100)),
    "small": lambda random: str(random.randrange(2, 10)),
    "percent": lambda random: f"{random.uniform(0.5, 60):.1f} %",
    "clock": lambda random: f"{random.randrange(7, 21):02d}:{random.choice(('00', '15', '30', '45'))}",
    "code": lambda random: f"{random.choice(_LETTERS)}{random.choice(_LETTERS)}-{random.randrange(10000, 99999)}",
    "version": lambda random: f"{random.randrange(1, 20)}.{random.randrange(30)}.{random.randrange(10)}",
    "amount": _amount,
    "date": _date,
    "hex": _hex,
    "uuid": _uuid,
    "card": _card,
    "iban": _iban,
    "phone": _phone,
    "token": _token,
    "suffix": _suffix,
    "aws_key": lambda random: "AKIA" + "IOSFODNN7EXAMPLE",
    "password": lambda random: (
        "".join(random.choices(_ALNUM, k=7)) + random.choice("!?#%") + str(random.randrange(10, 99))
    ),
    "base64_note": lambda random: base64.b64encode(_note(random).encode()).decode(),
    "rot13_note": lambda random: codecs.encode(_note(random), "rot13"),
    "hex_note": lambda random: _note(random).encode().hex(),
}


def _note(random: Random) -> str:
    return f"{random.choice(_NOTES)}, {random.randrange(10, 9999)}"


def load(name: str) -> dict[str, Any]:
    """The texts of ``texts/<name>.toml``."""
    return tomllib.loads((TEXTS / f"{name}.toml").read_text(encoding="utf-8"))


class Phrases:
    """Fills ``{slots}``. A template is split once and kept."""

    def __init__(self) -> None:
        self._words: dict[str, dict[str, list[str]]] = load("slots")
        self._split: dict[str, tuple[tuple[str, str | None], ...]] = {}

    def fill(self, template: str, random: Random, lang: str = "en", **given: str) -> str:
        """``template`` with every slot filled; words may hold slots themselves.

        Raises:
            KeyError: the template names a slot that does not exist.
        """
        parts = self._split.get(template)
        if parts is None:
            parts = self._split[template] = tuple((text, slot) for text, slot, _, _ in _FORMATTER.parse(template))
        out = []
        for text, slot in parts:
            out.append(text)
            if slot is not None:
                out.append(self._word(slot, random, lang, given))
        return "".join(out)

    def _word(self, slot: str, random: Random, lang: str, given: dict[str, str]) -> str:
        if slot in given:
            return given[slot]
        if slot in _GENERATED:
            return _GENERATED[slot](random)
        if slot == "email":
            first, second = (self._word(key, random, "en", {}).lower() for key in ("name", "word"))
            return (
                f"{first}.{second}{random.randrange(99)}@{random.choice(('example.com', 'example.org', 'example.net'))}"
            )
        if slot == "override_lower":
            words = self._word("override", random, "en", given)
            return words[0].lower() + words[1:]
        own = self._words.get(lang, {}).get(slot)
        return self.fill(random.choice(own or self._words["common"][slot]), random, lang, **given)
