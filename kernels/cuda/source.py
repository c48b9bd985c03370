"""The text that is compiled: a `.cu` with its headers written in, so that its hash covers all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
_INCLUDE: Final = '#include "'


def preamble(defines: tuple[tuple[str, int], ...]) -> str:
    """The macros of a launch, to stand before the text."""
    return "".join(f"#define {name} {value}\n" for name, value in defines)


def text(stem: str, defines: tuple[tuple[str, int], ...] = ()) -> str:
    """``stem``.cu after the macros; each header stands where it is first included."""
    return preamble(defines) + _written_in(f"{stem}.cu", set())


def _written_in(name: str, seen: set[str]) -> str:
    seen.add(name)
    lines = []
    for line in (FOLDER / name).read_text("utf-8").splitlines(keepends=True):
        header = line.removeprefix(_INCLUDE).partition('"')[0] if line.startswith(_INCLUDE) else ""
        if header and header not in seen:
            lines.append(_written_in(header, seen))
        elif not header and line.strip() != "#pragma once":
            lines.append(line)
    return "".join(lines)
