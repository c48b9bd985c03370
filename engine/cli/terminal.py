"""Tables on terminals of any width, and in pipes, where nothing is known of a width: no cell loses its end."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table

PIPE_WIDTH: Final = 160
"""Columns where nothing is known of the terminal, as in a file."""


def console(*, highlight: bool = False, **options: Any) -> Console:
    """A console for stdout, PIPE_WIDTH wide where that is no terminal and COLUMNS does not say; options as rich's."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=highlight, width=None if known else PIPE_WIDTH, **options)


def uncut(table: Table) -> Table:
    """``table``, whose cells go on in a line below where there is no room, instead of being cut."""
    for column in table.columns:
        column.overflow = "fold"
    return table
