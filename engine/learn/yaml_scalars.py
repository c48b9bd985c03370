"""The texts under one key of a YAML file: scalars in all five styles, nothing else of YAML (1.2, chapters 7 and 8).

Enough to read prompts out of data files whose layout is known; no tag, anchor or merge is looked at, so none can do
anything. Line breaks within a text are kept only as far as words need them.
"""

from __future__ import annotations

from collections.abc import Iterator

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "_": "\xa0", "N": "\x85", "L": "\n", "P": "\n", "e": "\x1b"}
_CODES = {"x": 2, "u": 4, "U": 8}


def scalars(content: str, key: str) -> list[str]:
    """Every text that stands under ``key``, at any depth, in order; lists and tables under it are passed over."""
    lines = content.splitlines()
    out = []
    place = 0
    while place < len(lines):
        column, rest = _entry(lines[place], key)
        place += 1
        if column < 0:
            continue
        first = place
        while place < len(lines) and (not lines[place].strip() or _indent(lines[place]) > column):
            place += 1
        text = _text(rest, lines[first:place])
        if text.strip():
            out.append(text)
        elif not rest:
            # A table or a list: the key may stand in it again.
            place = first
    return out


def _entry(line: str, key: str) -> tuple[int, str]:
    """Column of ``key`` and what follows it; -1 where the line does not begin with it."""
    column = _indent(line)
    rest = line[column:]
    while rest.startswith("- "):
        dashed = 2 + _indent(rest[2:])
        column, rest = column + dashed, rest[dashed:]
    if not rest.startswith(key + ":") or (len(rest) > len(key) + 1 and rest[len(key) + 1] != " "):
        return -1, ""
    return column, rest[len(key) + 1 :].strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _text(rest: str, more: list[str]) -> str:
    if rest.startswith(("|", ">")):
        return "\n".join(line.strip() for line in more)
    if rest.startswith('"'):
        return _double(_joined(rest[1:], more))
    if rest.startswith("'"):
        return _single(_joined(rest[1:], more))
    if rest.startswith(("{", "[", "&", "*", "!")) or not rest:
        return ""
    return " ".join(_uncommented(line) for line in (rest, *(line.strip() for line in more))).strip()


def _joined(rest: str, more: list[str]) -> str:
    # A backslash at the end of a line joins it to the next without a space.
    out = rest
    for line in more:
        piece = line.strip()
        joined = out.endswith("\\") and not out.endswith("\\\\")
        out = out[:-1] + piece if joined else f"{out} {piece}" if piece else out + "\n"
    return out


def _single(text: str) -> str:
    out = []
    place = 0
    while place < len(text):
        if text[place] == "'":
            if text[place + 1 : place + 2] != "'":
                break
            place += 1
        out.append(text[place])
        place += 1
    return "".join(out)


def _double(text: str) -> str:
    return "".join(_unescaped(text))


def _unescaped(text: str) -> Iterator[str]:
    place = 0
    while place < len(text) and text[place] != '"':
        letter = text[place]
        place += 1
        if letter != "\\":
            yield letter
            continue
        escape = text[place : place + 1]
        place += 1
        digits = text[place : place + _CODES.get(escape, 0)]
        if digits and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            place += len(digits)
            code = int(digits, 16)
            yield chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
        else:
            yield _ESCAPES.get(escape, escape)


def _uncommented(line: str) -> str:
    if line.startswith("#"):
        return ""
    at = line.find(" #")
    return line if at < 0 else line[:at]
