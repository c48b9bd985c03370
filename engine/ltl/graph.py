"""An automaton as a graph: moves between the same states joined into one condition; DOT, and the same as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aimds.ltl.automaton import VERDICTS, Automaton
from aimds.ltl.formula import duration, plain, quoted

FILL: Final = dict(zip(VERDICTS, ("#f6c9c4", "#fbe8c8", "#d7ebd8", "#a9d8ad"), strict=True))
Cube = tuple[int, int]
"""Bits that must be set, and bits that must not."""


@dataclass(frozen=True, slots=True)
class Edge:
    """All moves from ``source`` to ``target``: any of ``conditions``."""

    source: int
    target: int
    conditions: tuple[str, ...]


def edges(made: Automaton) -> list[Edge]:
    """The edges of ``made`` by source and target; a clock that is over is written like an event."""
    names = [name if plain(name) else quoted(name) for name in made.atoms]
    names += [f"{duration(limit)} over" for limit in made.limits_us]
    out = []
    for source, row in enumerate(made.table.tolist()):
        for target in sorted(set(row)):
            cubes = _cover({letter for letter, after in enumerate(row) if after == target}, len(names))
            out.append(Edge(source, target, tuple(_text(cube, names) for cube in cubes)))
    return out


def _text(cube: Cube, names: list[str]) -> str:
    words = [("" if cube[0] >> k & 1 else "!") + name for k, name in enumerate(names) if (cube[0] | cube[1]) >> k & 1]
    return " & ".join(words) or "true"


def _cover(letters: set[int], bits: int) -> list[Cube]:
    # Quine and McCluskey, then greedily the implicants that hold most of what is left.
    whole = (1 << bits) - 1
    level: set[Cube] = {(letter, whole & ~letter) for letter in letters}
    prime: set[Cube] = set()
    while level:
        wider: set[Cube] = set()
        joined: set[Cube] = set()
        for yes, not_ in level:
            for k in range(bits):
                bit = 1 << k
                if yes & bit and (yes & ~bit, not_ | bit) in level:
                    wider.add((yes & ~bit, not_))
                    joined |= {(yes, not_), (yes & ~bit, not_ | bit)}
        prime |= level - joined
        level = wider
    left, out = set(letters), []
    while left:
        ranked = sorted(prime, key=lambda cube: (-len(_held(cube, left)), (cube[0] | cube[1]).bit_count(), cube))
        out.append(ranked[0])
        left -= _held(ranked[0], left)
    return out


def _held(cube: Cube, letters: Iterable[int]) -> set[int]:
    return {letter for letter in letters if letter & cube[0] == cube[0] and not letter & cube[1]}


def dot(made: Automaton, title: str) -> str:
    """The automaton in the language of Graphviz; states in which the formula holds have two rings."""
    lines = ["digraph {", f"  label={_string(title)}; rankdir=LR; node [style=filled];", "  start [shape=point];"]
    for state, code in enumerate(made.verdicts.tolist()):
        name = VERDICTS[code]
        shape = "doublecircle" if name.endswith("true") else "circle"
        lines.append(f'  {state} [shape={shape}, fillcolor="{FILL[name]}", tooltip="{name}"];')
    lines.append(f"  start -> {made.start};")
    lines += [
        f"  {edge.source} -> {edge.target} [label={_string(' | '.join(edge.conditions))}];" for edge in edges(made)
    ]
    return "\n".join([*lines, "}", ""])


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
