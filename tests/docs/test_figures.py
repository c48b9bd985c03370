"""A figure that is told twice is told alike: what README and detection.md claim stands in the page it was measured on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Not the pages of decisions: these tell what models of before reached.
MEASURED = ("docs/benchmarks.md", "engine/data/model_card.md")
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w.,]*\d)")


def numbers(text: str) -> set[str]:
    return {found.rstrip(",") for found in NUMBER.findall(text)}


def claims(page: str, heading: str, column: int) -> list[tuple[str, str]]:
    """What stands in ``column`` of the first table under ``heading``, with the first column, or that of a row above."""
    lines = (ROOT / page).read_text("utf-8").split("\n")
    at = next(k for k, line in enumerate(lines) if line.startswith(heading))
    first = next(k for k in range(at, len(lines)) if lines[k].startswith("|"))
    out: list[tuple[str, str]] = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            return out
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        out.append((cells[0] or out[-1][0], cells[column]))
    return out


def told() -> list[tuple[str, str, str]]:
    pages = (("README.md", "## What it reaches", 1), ("docs/detection.md", "# What it finds", 3))
    return [(page, *claim) for page, heading, column in pages for claim in claims(page, heading, column)]


@pytest.mark.parametrize(("page", "what", "figure"), told())
def test_a_figure_that_is_claimed_is_one_that_was_measured(page: str, what: str, figure: str) -> None:
    measured = set().union(*(numbers((ROOT / name).read_text("utf-8")) for name in MEASURED))
    # A whole percent is a rounded one.
    rounded = {str(round(float(one.replace(",", "")))) for one in measured}
    assert numbers(figure)
    assert not numbers(figure) - measured - rounded, f"{page}, {what}: {figure}"
