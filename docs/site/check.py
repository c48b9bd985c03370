"""Checks a built site: every link and anchor inside it leads somewhere, and no page loads anything from elsewhere."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "link": "href",
    "source": "src",
    "video": "src",
    "object": "data",
}
POLICY = "default-src 'self'"


class Page(HTMLParser):
    """Ids of a page, where its links lead, what it loads, and the content policy that it sets."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = {""}
        self.links: list[str] = []
        self.loads: list[str] = []
        self.policy = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and LOADS[tag] in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given[LOADS[tag]])
        if tag == "meta" and given.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = given.get("content", "")


def problems(site: Path) -> list[str]:
    """What is wrong in the pages of the folder ``site``, one line each; 404.html, whose links are absolute, is left out."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    found = [] if pages else [f"{site}: no pages"]
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        if not page.policy.startswith(POLICY):
            found.append(f"{name}: no content policy")
        for target in (*page.links, *page.loads):
            url = urlsplit(target)
            if url.scheme in ("http", "https") or url.netloc:
                if target in page.loads:
                    found.append(f"{name}: loads {target}")
                continue
            if url.scheme:
                continue
            aim = (path.parent / unquote(url.path)).resolve() if url.path else path
            aim = aim / "index.html" if aim.is_dir() else aim
            if not aim.is_file():
                found.append(f"{name}: {target} leads nowhere")
            elif aim in pages and unquote(url.fragment) not in pages[aim].ids:
                found.append(f"{name}: {target} has no such anchor")
    return found


def main() -> None:
    """Command line: the folder of the site."""
    found = problems(Path(sys.argv[1]))
    print("\n".join(found) or f"{sys.argv[1]}: every link and anchor leads somewhere, nothing is loaded from elsewhere")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
