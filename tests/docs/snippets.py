"""The fenced blocks of a page, with what the comments before them order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

SHELL = ("sh", "console")
CODE = (*SHELL, "python")
DATA = ("toml", "yaml", "json", "promql")
# Between these benchmarks/page.py writes.
FIGURES = ("<!-- figures -->", "<!-- end of figures -->")
KINDS = (*CODE, *DATA, "text")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``line`` is that of its fence; ``reason`` says why it is not run, if it is not."""

    kind: str
    text: str
    line: int
    first: str = ""
    """Code that runs before it and is not shown: shell, but Python before a block of Python."""
    reason: str = ""
    status: int = 0
    """Exit status that its last command has."""
    prints: bool = True
    """Whether what a console block shows is what its commands print."""
    saved: str = ""
    """File that the block is written to, for what follows, instead of being run."""
    stays: int = 0
    """Port at which a server answers once the block is up; it stays until the page ends."""

    @property
    def commands(self) -> str:
        """The commands of a shell block."""
        if self.kind == "sh":
            return self.text
        return "\n".join(command for command, _ in self.shown())

    def shown(self) -> list[tuple[str, str]]:
        """Each command of a console block, and what it shows for it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and found[-1][0].endswith("\\") and not found[-1][1]:
                found[-1] = (f"{found[-1][0]}\n{line.removeprefix('> ')}", [])
            elif found:
                found[-1][1].append(line)
        return [(command, "\n".join(lines)) for command, lines in found]


class BadPage(Exception):
    """A comment or fence that says nothing this module knows."""


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of the page ``path``, in order."""
    return list(_blocks(path.read_text("utf-8"), path.name))


_FENCE = re.compile(r"^( *)(`{3,})(.*)$")


def _blocks(text: str, name: str) -> Iterator[Block]:
    lines = text.splitlines()
    orders: dict[str, str] = {}
    i = 0
    while i < len(lines):
        line, at = lines[i], i + 1
        i += 1
        if line.strip() in FIGURES:
            continue
        if line.lstrip().startswith("<!--"):
            body = line.lstrip()
            while "-->" not in body:
                body += "\n" + lines[i]
                i += 1
            orders.update(_order(body.removeprefix("<!--").partition("-->")[0].strip(), name, at, orders))
        elif found := _FENCE.match(line):
            indent, marks, kind = found.groups()
            inside = []
            while lines[i].strip() != marks:
                inside.append(lines[i].removeprefix(indent))
                i += 1
            i += 1
            if kind.split(" ")[0] not in KINDS:
                raise BadPage(f"{name}:{at}: a block needs one of these kinds: {', '.join(KINDS)}; this has {kind!r}")
            yield Block(
                kind.split(" ")[0],
                "\n".join(inside),
                at,
                orders.get("first", ""),
                orders.get("not run", ""),
                int(orders.get("status", "0")),
                "output differs" not in orders,
                orders.get("saved", ""),
                int(orders.get("stays", "0")),
            )
            orders = {}


def _order(text: str, name: str, at: int, known: dict[str, str]) -> dict[str, str]:
    for kind in ("not run", "status", "output differs", "saved", "stays"):
        if text.startswith(f"{kind}:") and text.partition(":")[2].strip():
            return {kind: text.partition(":")[2].strip()}
    if text.startswith("first\n"):
        return {"first": (known.get("first", "") + "\n" + text.partition("\n")[2]).strip("\n")}
    raise BadPage(
        f"{name}:{at}: unknown comment {text[:40]!r}; first, not run:, status:, output differs:, saved:, stays:"
    )


def bare_commands(path: Path) -> list[str]:
    """Lines of blocks that are indented and not fenced, which nothing would run."""
    found, fence, before = [], False, ""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if _FENCE.match(line):
            fence = not fence
        elif not fence and line.startswith("    ") and not before.strip():
            found.append(f"{path.name}:{number}: {line.strip()}")
        before = line if not fence else ""
    return found


def folders(text: str) -> set[str]:
    """The folders, as seen from the checkout, that the commands of a block write results into."""
    found = re.findall(r"""(?:(?<!\S)(?:-o|--signatures|--screen-to) |output=Path\(["'])([\w./-]+)""", text)
    paths = [PurePath(path) for path in found]
    return {path.parts[0] for path in paths if len(path.parts) > 1 or not path.suffix}


def fits(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: … stands for anything in a line, a line of it alone for any lines."""
    pattern = "\n".join(
        ".*" if line.strip() == "…" else "[^\n]*".join(re.escape(part.rstrip()) for part in line.split("…"))
        for line in shown.rstrip().splitlines()
    )
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.rstrip().splitlines()), re.S) is not None
