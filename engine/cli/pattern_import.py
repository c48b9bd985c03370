"""From the attack texts of another tool to patterns that add something to the bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aimds.detect.patterns import Bank, Pattern
    from aimds.detect.patterns.store import PatternStore
    from aimds.learn.probes import Probe


def standing(store: PatternStore | None, tool: str) -> tuple[str, ...]:
    """Ids of the patterns that earlier imports of ``tool`` have put in ``store``."""
    added = store.state.added if store else {}
    return tuple(sorted(name for name, entry in added.items() if entry.origin.partition(" ")[0] == tool))


def mined(probes: Sequence[Probe], base: Bank, *, per_text: int, most: int, known: float) -> list[Pattern]:
    """At most ``most`` patterns from ``probes``, of each threat type in turn the most telling one.

    What ``base`` already matches by the margin ``known`` is left out.

    Raises:
        DataError: there are no ``probes``.
    """
    from aimds.detect.patterns.closeness import near
    from aimds.errors import DataError
    from aimds.learn.mining import patterns_of

    if not probes:
        raise DataError("import", "the files of the tool hold no text that is long enough; name its folder with --from")
    tool = probes[0].tool
    found: list[list[Pattern]] = []
    for threat in sorted({probe.threat for probe in probes}):
        texts = [probe.text for probe in probes if probe.threat == threat]
        patterns = patterns_of(texts, threat=threat, prefix=f"{tool}.{threat}", per_text=per_text, lexicon=base.lexicon)
        items = near(base, [pattern.text.encode() for pattern in patterns], slack=0.0)
        old = {item.row for item in items if item.matched and item.margin >= known}
        found.append([pattern for row, pattern in enumerate(patterns) if row not in old])
    ordered = [pattern for turn in zip_longest(*found) for pattern in turn if pattern is not None]
    return [replace(pattern, note=f"from {tool}") for pattern in ordered[:most]]
