"""Text from anywhere made safe to print: what would not show, or would steer a terminal, is written out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

# Letters and spaces that print as nothing although Unicode does not call them control or format characters.
_BLANK_LETTERS = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_KEPT_CONTROLS = frozenset("\n\t")
_EMOJI_SELECTOR = "\ufe0f"
_MAX_COMBINING = 3
_MAX_TAG_TEXT = 200
LINE = 2000
"""Most characters of a line on a terminal, for `visible`."""


def counted(n: int, one: str, many: str = "") -> str:
    """``n`` with its noun: 1 row, 2,000 rows. ``many`` is the plural where it is not ``one`` with an s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def hidden(character: str) -> bool:
    """Whether ``character`` prints as nothing, or changes how its neighbours print (bidi, joiners, tags, controls)."""
    if character in _KEPT_CONTROLS:
        return False
    return character in _BLANK_LETTERS or unicodedata.category(character) in _HIDDEN_CATEGORIES


def tokens(text: str) -> Iterator[tuple[str, bool]]:
    """``text`` as (run, is_marker): plain runs as they are, each hidden run as a short description of itself.

    Repeated characters are counted; Unicode tags are spelt out as the ASCII they carry; more than three combining
    marks in a row are counted instead of stacked. CRLF counts as a line end.
    """
    text = text.replace("\r\n", "\n")
    start = i = 0
    while i < len(text):
        marker, length = _marker(text, i)
        if not marker:
            i += 1
            continue
        if start < i:
            yield text[start:i], False
        yield marker, True
        i += length
        start = i
    if start < len(text):
        yield text[start:], False


def _marker(text: str, i: int) -> tuple[str, int]:
    """What to show for the hidden run at ``i`` and its length, or ("", 0)."""
    character = text[i]
    if " " <= character <= "~" or character in _KEPT_CONTROLS:
        return "", 0
    if "\U000e0020" <= character <= "\U000e007e":
        end = _run(text, i, lambda c: "\U000e0020" <= c <= "\U000e007f")
        carried = "".join(chr(ord(c) - 0xE0000) for c in text[i : min(end, i + _MAX_TAG_TEXT)] if c != "\U000e007f")
        return f"tags “{carried}{'…' if end - i > _MAX_TAG_TEXT else ''}”", end - i
    if _is_selector(character):
        alone = character == _EMOJI_SELECTOR and i > 0 and not text[i - 1].isalpha() and not _is_selector(text[i - 1])
        end = _run(text, i, _is_selector)
        if alone and end - i == 1:
            return "", 0
        return f"{end - i} × variation selector" if end - i > 1 else f"U+{ord(character):04X}", end - i
    if hidden(character):
        end = _run(text, i, lambda c: c == character)
        return (f"{end - i} × " if end - i > 1 else "") + f"U+{ord(character):04X}", end - i
    if unicodedata.combining(character):
        end = _run(text, i, lambda c: bool(unicodedata.combining(c)))
        before = i
        while before and unicodedata.combining(text[before - 1]):
            before -= 1
        if i - before >= _MAX_COMBINING:
            return f"+{end - i} marks", end - i
    return "", 0


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _run(text: str, i: int, same: Callable[[str], bool]) -> int:
    end = i + 1
    while end < len(text) and same(text[end]):
        end += 1
    return end


def visible(text: str, limit: int = 200) -> str:
    """``text`` on one line, at most about ``limit`` characters, hidden characters written as ⟨U+202E⟩."""
    shown = "".join(f"⟨{run}⟩" if marker else run for run, marker in tokens(text[: limit + 1]))
    shown = " ".join(shown.split())
    # What follows is looked at too: where the last character shown is a blank, nothing else tells of it.
    goes_on = len(shown) > limit or bool(text[limit + 1 :].strip())
    return shown[: limit - 1] + "…" if goes_on else shown
