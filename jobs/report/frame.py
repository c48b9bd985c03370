"""The frame of every page made here: head, style, brand and footer; no script, no outside reference."""

from __future__ import annotations

from aimds import data
from aimds.jobs.report.markup import Child, Html, h
from aimds.printable import visible

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_SHIELD = "M8 0l7 2.5v5C15 12 12 15 8 16 4 15 1 12 1 7.5v-5z"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23c5362e' "
    f"d='{_SHIELD}'/%3E%3C/svg%3E"
)
CALM = "This page opens no connection and runs no script."


def document(title: str, *sections: Child, styles: tuple[str, ...] = ("report.css",)) -> str:
    """A whole page.

    Args:
        title: name of the page in the browser.
        sections: what it holds, in order.
        styles: the style sheets it carries, names of shipped artefacts.
    """
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="referrer", content="no-referrer"),
        h("meta", name="color-scheme", content="light dark"),
        h("title", visible(title)),
        h("link", rel="icon", href=_ICON),
        h("style", Html("".join(data.read_bytes(name).decode() for name in styles))),
    )
    return "<!doctype html>\n" + h("html", head, h("body", h("main", *sections)), lang="en") + "\n"


def heading(title: str, under: str) -> Html:
    """The brand, the title of the page and a line under it."""
    shield = h("svg", h("path", d=_SHIELD), class_="shield", viewBox="0 0 16 16", aria_hidden="true")
    brand = h("p", shield, "AIMDS", class_="brand")
    return h("header", brand, h("h1", title), h("p", under, class_="period"), class_="top")


def footer(*lines: str) -> Html:
    """Small print, a paragraph a line."""
    return h("footer", *(h("p", line) for line in lines))
