"""Patterns, matches and versions in words and colours for the terminal, or as plain data for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aimds.cli import terminal
from aimds.excerpts import EVIDENCE, GAP, Mark, excerpt
from aimds.printable import counted, tokens, visible

if TYPE_CHECKING:
    from aimds.detect.patterns import Bank
    from aimds.detect.patterns.closeness import Closeness
    from aimds.detect.patterns.store import PatternStore
    from aimds.detect.patterns.version import Change

SHIPPED = "shipped"
BUDGET_BYTES = 1200


def console() -> Console:
    """Where tables go."""
    return terminal.console(markup=False, emoji=False)


def rows(bank: Bank, store: PatternStore | None, base: Bank) -> list[dict[str, Any]]:
    """Every pattern of ``bank``, then those of ``base`` that the store has taken out."""
    state = store.state if store else None
    added = state.added if state else {}
    out = [
        {
            "id": pattern.id,
            "threat": pattern.threat,
            "lang": pattern.lang,
            "severity": pattern.severity,
            "threshold": round(limit, 4),
            "origin": added[pattern.id].origin if pattern.id in added else SHIPPED,
            "note": pattern.note,
            "text": pattern.text,
            "removed": False,
        }
        for pattern, limit in zip(bank.patterns, bank.limits.tolist(), strict=True)
    ]
    there = {row["id"] for row in out}
    out += [
        {**row, "removed": True}
        for row in (rows(base, None, base) if state and state.removed else ())
        if row["id"] not in there
    ]
    return out


def print_patterns(listed: Sequence[dict[str, Any]], version: str) -> None:
    """A table of ``listed``, as `rows` gives them."""
    table = _table("id", "threat", "lang", "severity", "threshold", "origin", "text")
    for row in listed:
        style = "dim strike" if row["removed"] else ""
        cells = (row["id"], row["threat"], row["lang"], f"{row['severity']:g}", f"{row['threshold']:.3g}")
        table.add_row(*map(_line, (*cells, row["origin"], row["text"])), style=style)
    out = console()
    out.print(table)
    gone = sum(row["removed"] for row in listed)
    out.print(_line(f"{counted(len(listed) - gone, 'pattern')}" + (f", {gone} taken out" if gone else "") + version))


def print_history(store: PatternStore) -> None:
    """A table of the versions of ``store``, newest first."""
    table = _table("version", "time", "author", "change", "message")
    for version in reversed(store.versions):
        table.add_row(*map(_line, (version.name, version.time, version.author, told(version.change), version.note)))
    console().print(table)


def told(change: Change) -> str:
    """``change`` in a few words."""
    parts = [] if change.restores is None else [f"back to version {change.restores}"]
    parts += [f"+{len(change.added)}"] if change.added else []
    parts += [f"−{len(change.removed)}"] if change.removed else []
    added = {entry.pattern.id for entry in change.added}
    others = [name for name in change.limits if name not in added]
    parts += [f"{len(others)} thresholds"] if others else []
    return ", ".join(parts) or "empty store"


def plain(item: Closeness, bank: Bank) -> dict[str, Any]:
    """``item`` in JSON types, with what the pattern is."""
    pattern = bank.patterns[item.pattern]
    fields = item._asdict() | {"matched": item.matched, "pattern": pattern.id}
    return {**fields, "threat": pattern.threat, "lang": pattern.lang, "text": pattern.text}


def print_matches(text: bytes, items: Sequence[Closeness], bank: Bank) -> None:
    """What matches ``text`` and what nearly does, nearest first, and where."""
    out = console()
    marks = [Mark(item.start, item.end, EVIDENCE, bank.patterns[item.pattern].id) for item in items if item.matched]
    out.print(_marked(text, marks or [Mark(item.start, item.end, EVIDENCE, "") for item in items[:1]]))
    if not items:
        out.print("no pattern is near")
        return
    table = _table("", "pattern", "threat", "distance", "threshold", "margin", "words matched", "pattern text")
    for item in items:
        pattern = bank.patterns[item.pattern]
        mark = "✓" if item.matched else "order" if item.margin > 0 else "far"
        numbers = (f"{item.distance:.3f}", f"{item.limit:.3f}", f"{item.margin:+.0%}")
        words = text[item.start : item.end].decode("utf-8", "replace") + (" (decoded)" if item.decoded else "")
        cells = (mark, pattern.id, pattern.threat, *numbers, words, pattern.text)
        table.add_row(*map(_line, cells), style="" if item.matched else "dim")
    out.print(table)


def print_counts(texts: Sequence[bytes], items: Iterable[Closeness], bank: Bank) -> None:
    """How many of ``texts`` each pattern matches, most first, with the nearest of them."""
    by_pattern: dict[int, list[Closeness]] = {}
    for item in items:
        by_pattern.setdefault(item.pattern, []).append(item)
    table = _table("pattern", "threat", "texts", "nearest", "threshold", "nearest words")
    for number, hits in sorted(by_pattern.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        pattern, best = bank.patterns[number], min(hits, key=lambda hit: (hit.distance, hit.row))
        words = texts[best.row][best.start : best.end].decode("utf-8", "replace")
        cells = (pattern.id, pattern.threat, str(len(hits)), f"{best.distance:.3f}", f"{best.limit:.3f}", words)
        table.add_row(*map(_line, cells))
    out = console()
    matched = len({hit.row for hits in by_pattern.values() for hit in hits})
    if by_pattern:
        out.print(table)
    out.print(f"{matched:,} of {counted(len(texts), 'text')} match")


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        narrow = title not in ("text", "pattern text", "words matched", "nearest words", "message", "origin")
        table.add_column(title, no_wrap=narrow, overflow="fold")
    return table


def _line(content: str) -> Text:
    return Text(visible(content, 400))


def _marked(text: bytes, marks: list[Mark]) -> Text:
    line = Text()
    for piece in excerpt(text, marks, budget=BUDGET_BYTES):
        if piece.kind == GAP:
            line.append(f" … {piece.label} … ", style="dim italic")
            continue
        for run, marker in tokens(piece.text):
            style = "bold white on red3" if marker else "bold black on gold1" if piece.kind == EVIDENCE else ""
            line.append(f"⟨{run}⟩" if marker else run.expandtabs(4), style=style)
    return line
