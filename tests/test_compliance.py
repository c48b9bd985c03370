"""The map of controls: what it points at is there, and every id of the taxonomy is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aimds import taxonomy

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "compliance.md"
TEXT = PAGE.read_text("utf-8")
FACTS = re.findall(r'<a id="(\w+)"></a>(\w+) ', TEXT)
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def test_every_test_it_names_exists() -> None:
    missing = [
        f"{file}::{name}"
        for file, name in TESTS
        if not (ROOT / file).is_file()
        or not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []
    assert len(TESTS) > 50
    assert TEXT.count("`tests/") == len(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT))


def test_every_fact_has_a_test_and_is_pointed_at() -> None:
    keys = [anchor for anchor, _ in FACTS]
    assert len(keys) == len(set(keys)) > 20
    assert [key for anchor, key in FACTS if anchor != key.lower()] == []
    lines = {anchor: line for line in TEXT.splitlines() for anchor in re.findall(r'<a id="(\w+)">', line)}
    assert [key for key, line in lines.items() if "::test_" not in line or "](" not in line] == []
    assert set(re.findall(r"\]\(#(\w+)\)", TEXT)) == set(keys)


@pytest.mark.parametrize("scheme", ["owasp_llm", "owasp_aitg", "atlas"])
def test_every_id_of_the_taxonomy_is_on_it(scheme: str) -> None:
    ids = {found for threat in taxonomy.load() for found in getattr(threat, scheme)}
    assert sorted(one for one in ids if f"\n| {one} " not in TEXT) == []


def test_no_list_is_cut_short() -> None:
    assert re.findall(r"^\| LLM(\d\d):2025 ", TEXT, re.MULTILINE) == [f"{n:02d}" for n in range(1, 11)]
    assert re.findall(r"^\| AITG-APP-(\d\d) ", TEXT, re.MULTILINE) == [f"{n:02d}" for n in range(1, 15)]
    assert re.findall(r"^\| (\d) ", TEXT, re.MULTILINE) == list("1234567")


def test_every_page_it_links_to_is_there_with_its_heading() -> None:
    missing = []
    for target, _, heading in (link.partition("#") for link in re.findall(r"\]\(([^)#][^)]*)\)", TEXT)):
        page = PAGE.parent / target
        if not page.is_file():
            missing.append(target)
        elif heading:
            lines = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
            if heading not in {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}:
                missing.append(f"{target}#{heading}")
    assert missing == []


def test_every_row_says_to_what_degree() -> None:
    degrees = [line.split("|")[2].strip() for line in TEXT.splitlines() if line.count("|") == 6]
    known = {"degree", "---", "yes", "part", "nothing", "nothing for your model", "nothing for the store"}
    assert set(degrees) == known
