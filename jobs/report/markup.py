"""HTML that cannot be broken out of: what is not already `Html` is escaped, its hidden characters shown."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from aimds.printable import tokens, visible

_VOID = frozenset({"meta", "input", "link", "br"})
_QUOTED = frozenset({"blockquote", "mark", "code", "style"})
"""Elements whose text is somebody else's and stands as it is."""


class Html(str):
    """Markup we wrote. Only `h`, `text` and `join` make it."""

    __slots__ = ()


Child = Html | str | int | None


def text(value: str) -> Html:
    """``value`` as visible text: escaped, each hidden run (controls, bidi, zero width, tags) as a small label."""
    return Html(
        "".join(
            f'<span class="hid" title="hidden characters">{escape(run)}</span>' if marker else escape(run)
            for run, marker in tokens(value)
        )
    )


def join(children: Iterable[Child]) -> Html:
    """``children`` one after the other."""
    return Html(
        "".join(child if isinstance(child, Html) else text(str(child)) for child in children if child is not None)
    )


def h(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element. Attribute names: ``class_`` for class, ``_`` becomes ``-``; None and False leave an attribute out.

    Attribute values are escaped and put on one line, at most 400 characters. No line ends between a figure and its %.
    """
    parts = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        plain = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(plain)
            continue
        content = visible(_number(value), 400)
        parts.append(f'{plain}="{escape(content, quote=True)}"')
    opening = "<" + " ".join(parts) + ">"
    if tag in _VOID:
        return Html(opening)
    inside = children if tag in _QUOTED else map(_kept, children)
    return Html(f"{opening}{join(inside)}</{tag}>")


def _kept(child: Child) -> Child:
    return child.replace(" %", "\u00a0%") if type(child) is str else child


def _number(value: str | int | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
