"""Lays the pages of the documentation site together: docs/, what its links lead to, and the two generated references."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import commands  # noqa: E402
import modules  # noqa: E402

HOME = "docs/index.md"
_FENCE = re.compile(r"^ *(```+|~~~+)")
_LINK = re.compile(r"(\]\()([^)\s]+)((?:\s+\"[^\"]*\")?\))")
_FIGURE = re.compile(r"^!\[([^\]]*)\]\(([^)\s]+\.svg)\)\s*$")
_ELSEWHERE = re.compile(r"^([a-z][a-z+.-]*:|#|/)")


class Pages:
    """The pages of the site. ``place`` says where a file of the tree stands in it; what it is asked for gets staged."""

    def __init__(self, root: Path, out: Path) -> None:
        self._root, self._out = root, out
        self._todo: list[str] = []
        self._placed: dict[str, str] = {}

    def build(self) -> list[str]:
        """Write the site's pages; returns their paths in the site."""
        shutil.rmtree(self._out, ignore_errors=True)
        for path in sorted((self._root / "docs").rglob("*.md")):
            self.place(path.relative_to(self._root).as_posix())
        self._write("reference/cli.md", commands.page())
        self._write("reference/api.md", modules.page(self._root))
        self._write("site/style.css", (self._root / "docs/site/style.css").read_text("utf-8"))
        while self._todo:
            name = self._todo.pop()
            path, to = self._root / name, self._placed[name]
            if name.endswith(".md"):
                self._write(to, "\n".join(self._lines(name, path.read_text("utf-8"))) + "\n")
            else:
                (self._out / to).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self._out / to)
        return sorted(self._placed.values())

    def place(self, name: str) -> str:
        """Path in the site of the file ``name`` of the tree."""
        if name == "README.md":
            name = HOME
        if name not in self._placed:
            if not (self._root / name).is_file():
                raise SystemExit(f"error: no file {name}")
            inside = name.removeprefix("docs/") if name.startswith("docs/") else f"project/{name}"
            self._placed[name] = inside
            self._todo.append(name)
        return self._placed[name]

    def _lines(self, name: str, text: str) -> Iterator[str]:
        fence = None
        comment = False
        for line in text.splitlines():
            # What a page's comments order belongs to the test that runs the page.
            if fence is None and (comment or line.lstrip().startswith("<!--")):
                comment = "-->" not in line
                continue
            if found := _FENCE.match(line):
                mark = found.group(1)
                fence = mark if fence is None else (None if line.strip() == fence else fence)
                yield line
            elif fence is not None:
                yield line
            elif figure := _FIGURE.match(line):
                yield self._figure(name, figure.group(1), figure.group(2))
            else:
                yield _LINK.sub(lambda found: found.group(1) + self._link(name, found.group(2)) + found.group(3), line)

    def _link(self, name: str, target: str) -> str:
        if _ELSEWHERE.match(target):
            return target
        path, hash_, anchor = target.partition("#")
        aim = os.path.normpath(PurePosixPath(name).parent / path)
        if name.startswith("docs/") and (self._out / aim.removeprefix("docs/")).is_file():
            to = aim.removeprefix("docs/")
        else:
            to = self.place(aim)
        return os.path.relpath(to, PurePosixPath(self.place(name)).parent) + hash_ + anchor

    def _figure(self, name: str, title: str, target: str) -> str:
        """The drawing itself, so that its colours follow the page's."""
        path = self._root / os.path.normpath(PurePosixPath(name).parent / target)
        drawing = " ".join(path.read_text("utf-8").split("\n"))
        drawing = re.sub(r"<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE.*?>", "", drawing).strip()
        # Drawings with a ground of their own keep it: their colours were chosen for it.
        kind = "drawn" if "var(--" in drawing else "plotted"
        label = title.replace("&", "&amp;").replace('"', "&quot;")
        return f'<figure class="{kind}" role="img" aria-label="{label}">{drawing}</figure>'

    def _write(self, to: str, text: str) -> None:
        path = self._out / to
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / ".work/site-pages")
    given = parser.parse_args()
    print(f"{len(Pages(ROOT, given.out).build())} files in {given.out}")


if __name__ == "__main__":
    main()
