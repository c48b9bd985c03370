"""The site: what is laid together, that nothing is left out of it, and that its checks find what is wrong."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs/site"
SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
# Filled in by a generator, or standing outside docs/.
MADE = ("reference/cli.md", "reference/api.md", "project/engine/data/model_card.md")


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(SITE))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(SITE))


site_pages, site_check, site_commands, site_modules = (load(name) for name in ("pages", "check", "commands", "modules"))


def named(entries: Any) -> Iterator[str]:
    """All pages in a navigation."""
    for entry in entries:
        for aim in entry.values():
            if isinstance(aim, str):
                yield aim
            else:
                yield from named(aim)


def test_every_page_stands_in_the_navigation_once() -> None:
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(named(SETTINGS["nav"])) == sorted((*pages, *MADE))


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "pages"
    site_pages.Pages(ROOT, out).build()
    return out


def test_links_that_leave_the_docs_lead_to_what_the_site_holds(laid: Path) -> None:
    text = (laid / "operations.md").read_text("utf-8")
    assert "](project/deploy/prometheus/aimds.rules.yml)" in text
    copied = (laid / "project/deploy/prometheus/aimds.rules.yml").read_bytes()
    assert copied == (ROOT / "deploy/prometheus/aimds.rules.yml").read_bytes()
    assert "](../audit.md" in (laid / "project/SECURITY.md").read_text("utf-8")


def test_a_link_to_a_file_that_is_not_there_stops_the_build(tmp_path: Path) -> None:
    for name, text in {"docs/a.md": "[b](../b.md)", "docs/site/style.css": "", "docs/index.md": "# Home"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    pages = site_pages.Pages(tmp_path, tmp_path / "out")
    pages.place("docs/a.md")
    with pytest.raises(SystemExit, match=r"no file b\.md"):
        pages.place("b.md")


def test_comments_go_figures_are_drawn_in_and_code_stays_as_it_is(laid: Path) -> None:
    text = (laid / "start/concepts.md").read_text("utf-8")
    assert '<figure class="drawn" role="img" aria-label="' in text
    assert "concept-pipeline.svg" not in text
    assert "<!--" not in (laid / "gateway.md").read_text("utf-8")
    code = (ROOT / "docs/backup.md").read_text("utf-8").split("```sh\n")[1].split("```")[0]
    assert code in (laid / "backup.md").read_text("utf-8")


def test_the_page_on_commands_has_every_command_and_option(laid: Path) -> None:
    import typer

    from aimds.cli import build

    page = (laid / "reference/cli.md").read_text("utf-8")
    root = typer.main.get_command(build())
    todo = [("aimds", root)]
    count = 0
    while todo:
        name, command = todo.pop()
        for below, one in getattr(command, "commands", {}).items():
            todo.append((f"{name} {below}", one))
            assert f" {name} {below}\n" in page
            for option in one.params:
                if option.param_type_name == "option" and not option.hidden and option.name != "help":
                    count += 1
                    assert all(f"`{spelling}`" in page for spelling in option.opts), (name, below, option.opts)
    assert count > 200


def test_the_page_on_python_has_signatures_fields_and_docstrings(laid: Path) -> None:
    page = (laid / "reference/api.md").read_text("utf-8")
    assert "### aimds.screener" in page
    assert "#### Screener\n" in page
    assert "Screener.default(" in page
    assert "A screener with the shipped signatures, patterns, model and policy." in page
    for name in (name for _, names in site_modules.PARTS for name in names):
        part = page.split(f"### aimds.{name}\n")[1].split("\n### ")[0].split("\n## ")[0]
        assert "#### " in part or name == "schema", name


PAGE = '<meta http-equiv="Content-Security-Policy" content="default-src \'self\'"><h1 id="top">T</h1>'


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('<a href="other.html#part">x</a><a href="#top">x</a><a href="https://example.com/">x</a>', ""),
        ('<a href="missing.html">x</a>', "missing.html leads nowhere"),
        ('<a href="other.html#no">x</a>', "other.html#no has no such anchor"),
        ('<a href="#no">x</a>', "#no has no such anchor"),
        ('<script src="https://cdn.example.com/a.js"></script>', "loads https://cdn.example.com/a.js"),
        ('<img src="//cdn.example.com/a.png">', "loads //cdn.example.com/a.png"),
    ],
)
def test_what_is_wrong_in_a_built_page_is_found(tmp_path: Path, body: str, wrong: str) -> None:
    (tmp_path / "a.html").write_text(PAGE + body, "utf-8")
    (tmp_path / "other.html").write_text(f'{PAGE}<p id="part">', "utf-8")
    assert site_check.problems(tmp_path) == ([f"a.html: {wrong}"] if wrong else [])


def test_a_page_without_a_content_policy_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>", "utf-8")
    assert site_check.problems(tmp_path) == ["a.html: no content policy"]
    assert site_check.problems(tmp_path / "none") == [f"{tmp_path / 'none'}: no pages"]


@pytest.mark.skipif(find_spec("zensical") is None, reason="Zensical is not installed: make docs builds the site")
@pytest.mark.skipif(find_spec("zensical") is None, reason="Zensical is not installed; make docs installs it")
def test_a_dead_link_or_anchor_in_a_page_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n\n[b](b.md) [c](index.md#no) [d](#home)\n", "utf-8")
    (tmp_path / "zensical.toml").write_text('[project]\nsite_name = "t"\n', "utf-8")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode != 0
    assert "page does not exist" in built.stdout + built.stderr
    assert (built.stdout + built.stderr).count("anchor") >= 1
