"""Text cut into parts that a layout holds apart, read in one: items of a list, cells of a table, one word a line.

The signs of the layout are blanks in what is given, so that a sentence that runs over several parts is one again. What
a bound leaves out is not said to be cut, as it stands in the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import re2

from aimds.detect.normalize.concatenation import content
from aimds.detect.normalize.proposals import Proposal, Text, Trust, joined

MIN_ITEMS = 3
"""Strings of a list, or rows of a table, that are read in one."""
MAX_PARTS = 1024
"""Items, or rows, of one text that are looked at."""

_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_ITEM = re2.compile(_QUOTED.encode())
_ITEMS = re2.compile(rf"{_QUOTED}(?:\s{{0,16}},\s{{0,16}}{_QUOTED})+".encode())
_ROW = re2.compile(rb"(?m)^[ \t]{0,8}\|[^\n]*\|[ \t]{0,8}$")
_RULE = re2.compile(rb"[|:\- \t]*")
_BLANK, _BAR, _BREAK = 32, 124, 10


def items(source: Text, limit: int) -> Iterator[Proposal]:
    """The strings of each list of at least `MIN_ITEMS`, as one text."""
    raw = source.values.tobytes()
    left = MAX_PARTS
    for found in _ITEMS.finditer(raw):
        parts = []
        for item in islice(_ITEM.finditer(found.group()), left):
            start = found.start() + item.start() + 1
            part = content(source, start, found.start() + item.end() - 1)
            if len(part):
                parts.append(part)
        left -= len(parts)
        # A list of single words says nothing as a sentence.
        if len(parts) >= MIN_ITEMS and sum(int((part.values == _BLANK).sum()) for part in parts) >= len(parts):
            whole = joined(parts, _BLANK)
            yield Proposal("rejoined", whole.slice(0, limit), Trust.PROSE)
        if left <= 0:
            return


def cells(source: Text, limit: int) -> Iterator[Proposal]:
    """The rows of a table between bars as one text; rows of dashes are left out."""
    raw = source.values.tobytes()
    written = (row.span() for row in _ROW.finditer(raw) if not _RULE.fullmatch(row.group()))
    rows = [source.slice(*span) for span in islice(written, MAX_PARTS)]
    if len(rows) >= MIN_ITEMS:
        yield _blanked(joined(rows, _BLANK), limit)


def words(source: Text, limit: int) -> Iterator[Proposal]:
    """Text with one word a line, as one line."""
    yield _blanked(source, limit)


def _blanked(text: Text, limit: int) -> Proposal:
    values = text.values[:limit]
    part = text.slice(0, limit)
    plain = Text(
        np.where((values == _BAR) | (values == _BREAK), _BLANK, values).astype(np.uint8), part.starts, part.ends
    )
    return Proposal("rejoined", plain, Trust.PROSE)
