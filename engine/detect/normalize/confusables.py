"""Letters that look like other letters: our own table, by eye, for the folding of text.

`LATIN` is applied always: Latin letters that Unicode does not decompose, phonetic letters and small capitals.
`STRICT` holds letters of other scripts that most fonts draw like a Latin one, `LOOSE` those that only resemble one;
both are applied word by word (`fold`). `SYMBOLS` are letters in a frame that Unicode does not decompose,
`MARKS` are punctuation with a plain form.
"""

from __future__ import annotations


def _spread(looks: dict[str, str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for target, letters in looks.items():
        for letter in letters:
            if letter in out:
                raise ValueError(f"{letter!r} stands for {out[letter]!r} and {target!r}")
            out[letter] = target
    return out


LATIN = _spread(
    {
        "a": "ɑɐᴀ", "b": "ɓƀƃʙ", "c": "ƈɕɔᴄ", "d": "đɖɗƌᴅ", "e": "əɛɘǝɇᴇɜ", "f": "ƒꜰɟ", "g": "ɡɠǥɢ",
        "h": "ħɦɥʜ", "i": "ıɨɩɪᵻᴉ", "j": "ȷɉʝɾᴊ", "k": "ƙĸʞᴋ", "l": "łƚɫɬɭʟŀ", "m": "ɱɯᴍ", "n": "ŋƞɲɳɴ",
        "o": "øɵᴏ", "p": "ƥᴘ", "q": "ʠɋ", "r": "ɍɹɼɽʀʁ", "s": "ʂꜱ", "t": "ŧƫƭʈʇᴛ", "u": "ʉʊᴜ", "v": "ʋʌᴠ",
        "w": "ʍᴡ", "x": "ꭓ", "y": "ƴɏʎʏ", "z": "ƶʐʑȥᴢ", "ae": "æ", "oe": "œ", "ss": "ß", "th": "þ",
        "dh": "ð",
    }
)  # fmt: skip
"""Lower-case letter → ASCII."""

PHONETIC = frozenset("ɑɐᴀʙᴄɔᴅəɛɘǝᴇɜꜰɟɡɢʜɥɪᴉᴊʞᴋʟᴍɯɴᴏᴘɹʀʁꜱʇᴛᴜʌᴠʍᴡꭓʎʏᴢɾʝ")
"""Letters of `LATIN` that no living orthography of Europe needs: their use in prose is a disguise."""

STRICT = _spread(
    {
        "a": "аα", "c": "сϲⲥ", "d": "ԁ", "e": "еҽ", "g": "ԍց", "h": "һհ", "i": "іι", "j": "јϳ", "k": "κ",
        "l": "ӏⲓ", "n": "ոռ", "o": "оοօⲟ", "p": "рρⲣ", "q": "ԛգ", "s": "ѕ", "u": "սυ", "v": "ѵν",
        "w": "ԝա", "x": "хχⲭ", "y": "уγ", "A": "АΑᎪ", "B": "ВΒᏴ", "C": "СᏟϹ", "D": "Ꭰ", "E": "ЕΕᎬ",
        "F": "Ϝ", "G": "Ꮐ", "H": "НΗᎻ", "I": "ІΙӀ", "J": "ЈᎫ", "K": "КΚᏦ", "L": "Ꮮ", "M": "МΜᎷ", "N": "Ν",
        "O": "ОΟՕ", "P": "РΡᏢ", "Q": "Ԛ", "R": "ᎡᏒ", "S": "ЅᏚՏ", "T": "ТΤᎢ", "U": "Ս", "V": "ѴᏙ",
        "W": "ԜᎳ", "X": "ХΧ", "Y": "УΥҮ", "Z": "ΖᏃ",
    }
)  # fmt: skip
"""Letter of another script, case kept → ASCII letter, case kept."""

LOOSE = _spread(
    {
        "a": "ά", "b": "вьъβ", "d": "δժ", "e": "ёєэεέ", "f": "ғ", "h": "нңђћ", "i": "їίϊ", "k": "кқҝ",
        "m": "м", "n": "пηήиի", "o": "өσόθф", "p": "ҏ", "r": "гяґ", "t": "тҭτ", "u": "цμύϋ", "w": "шщωώ",
        "x": "жҳ", "y": "ўүұ", "z": "ζ",
    }
)  # fmt: skip
"""Lower-case letter of another script → ASCII letter."""

SYMBOLS = (
    {chr(first + k): chr(ord("a") + k) for first in (0x1F150, 0x1F170, 0x1F1E6) for k in range(26)}
    | {chr(0x24EB + k): str(11 + k) for k in range(10)}
    | {chr(0x2776 + k): str(1 + k) for k in range(10)}
)
"""Framed letters and digits that Unicode does not decompose: negative circled and squared, regional indicators."""

MARKS = _spread(
    {
        "'": "‘’‚‛′‵ʼʹ", '"': "“”„‟″‶", "-": "‐‑‒–—―−", "/": "⁄∕", ":": "∶ː", "|": "∣ǀ", "~": "∼",
        "*": "∗", "!": "ǃ", "<": "‹", ">": "›",
    }
)  # fmt: skip
"""Punctuation → ASCII."""
