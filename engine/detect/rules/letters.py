"""Letters as they may stand in folded text: with their marks or without, in signatures as in anchors."""

from __future__ import annotations

import unicodedata
from functools import cache

_NO_MARK = str.maketrans({"đ": "d", "ł": "l", "ø": "o", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe"})


@cache
def folds(c: str) -> bool:
    """Whether folding may write the letter ``c`` in another way."""
    return plain(c) != c


def plain(text: str) -> str:
    """``text`` as folding writes its letters: case folded, compatibility forms resolved, no marks on Latin letters."""
    out = []
    for c in unicodedata.normalize("NFC", text):
        if not c.isalpha() or c.isascii():
            out.append(c)
            continue
        base = unicodedata.normalize("NFD", c)
        out.append(base[0] if base[0].isascii() else unicodedata.normalize("NFKC", c.casefold()))
    return "".join(out).translate(_NO_MARK)


def forms(literal: str) -> set[str]:
    """``literal`` as it may stand in folded text: letters as written or folded, one space perhaps a line break."""
    if literal.isascii():
        return {literal, literal.replace(" ", "\n")}
    both = {literal, plain(literal)}
    return both | {form.replace(" ", "\n") for form in both}


def loose(regex: str) -> str:
    """``regex`` with every letter that folding may change also matching its folded form."""
    changed = {c: plain(c) for c in set(regex) if not c.isascii() and folds(c)}
    if not changed:
        return regex
    out = []
    in_class = escaped = False
    for c in regex:
        if c in changed and not escaped:
            out.append(c + changed[c] if in_class else f"(?:{c}|{changed[c]})")
        else:
            out.append(c)
        if not escaped:
            in_class = (in_class or c == "[") and c != "]"
        escaped = c == "\\" and not escaped
    return "".join(out)
