"""The examples of the page on adapters do what the page says, where their library is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text("utf-8")
LIBRARIES = ("numpy", "litellm", "langchain_core", "nemoguardrails", "guardrails")


def blocks(kind: str) -> list[str]:
    return [part.partition("\n```")[0] for part in PAGE.split(f"```{kind}\n")[1:]]


@pytest.mark.parametrize(("number", "library"), list(enumerate(LIBRARIES)))
def test_an_example_prints_what_the_page_says(number: int, library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    done = subprocess.run([sys.executable, "-c", blocks("python")[number]], capture_output=True, text=True, check=True)
    printed = done.stdout.strip().splitlines()
    if number == 0:
        assert "\n".join(printed) in PAGE
    assert printed[0] in ("My card is [CREDIT_CARD].", "It is [CREDIT_CARD].")
    assert "4111" not in done.stdout
