"""Commands on the pages that people work from in a hurry are ones that aimds takes."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from aimds.cli import build

DOCS = Path(__file__).parents[1] / "docs"
LINE = re.compile(r"^ *(?:AIMDS_TOKEN=\S+ )?(aimds .+)$", re.MULTILINE)


@cache
def program() -> Any:
    return typer.main.get_command(build())


def take(line: str) -> None:
    """Parse ``line`` as the command line does; nothing is run."""
    words = shlex.split(line, comments=True)[1:]
    command = program()
    while getattr(command, "commands", None):
        command = command.commands[words.pop(0)]
    command.make_context(line, words)


@pytest.mark.parametrize("page", ["runbook.md", "kubernetes.md"])
def test_every_command_of_a_page_is_one_that_aimds_takes(page: str) -> None:
    shown = re.sub(r"<!--.*?-->", "", (DOCS / page).read_text("utf-8"), flags=re.DOTALL)
    lines = LINE.findall(shown)
    assert len(lines) >= 5
    for line in lines:
        take(line)


@pytest.mark.parametrize(
    "line", ["aimds audit show audit.log --lost 5", "aimds audit shew audit.log", "aimds patterns limit ID"]
)
def test_a_command_that_it_does_not_take_would_be_found(line: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        take(line)
