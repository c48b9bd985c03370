"""The causal memory graph: attack → response → outcome → variant, and which attacks of the last day are related.

A store answers a few small questions; `related` and `chain` are made of these alone, so every store gives the same. A
mark is what an attack shares with others: its session, its words, a pattern it met; stores see a number for it only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aimds.errors import ConfigError

ATTACK, RESPONSE, OUTCOME = KINDS = ("attack", "response", "outcome")
ANSWERED, LED_TO, VARIED = LINKS = ("answered", "led_to", "varied")
"""An attack is answered by a response, which led to an outcome, after which the attack came back as a variant."""
DAY_US = 24 * 3600 * 10**6
NEWEST = 64
"""Of the attacks in the time asked for that bear a mark the newest so many count: what all share tells little."""
ROOM = 500
"""Events of a chain that are looked at, unless asked for more."""


@dataclass(frozen=True, slots=True)
class Event:
    """``name`` unique; ``kind`` one of KINDS; ``label`` the threat type, the action or what came of it; ``ts``
    microseconds since 1970. ``marks``: (mark, weight) pairs, of attacks only."""

    name: str
    kind: str
    label: str
    ts: int
    session: str | None = None
    tenant: str | None = None
    score: float | None = None
    marks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """From the event ``source`` to the event ``target``; ``kind`` is one of LINKS."""

    source: str
    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class Related:
    """An attack and the summed weight of the marks it shares."""

    event: Event
    strength: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Events in the order of their times, and the links between them; ``cut``: there were more than asked for."""

    events: tuple[Event, ...]
    links: tuple[Link, ...]
    cut: bool


class Bearing(Protocol):
    """What knows which attacks bear a mark."""

    def bearers(self, mark: int, first: int, last: int, most: int) -> list[tuple[str, int, int]]:
        """Name, time and weight of the newest ``most`` attacks with ``mark`` from ``first`` to ``last``, inclusive."""
        ...


class GraphStore(Bearing, Protocol):
    """What a store must answer. Events come back without their marks."""

    def put(self, events: Sequence[Event], links: Sequence[Link]) -> None:
        """Add or replace ``events`` and add ``links``, all or none."""
        ...

    def events(self, names: Iterable[str]) -> dict[str, Event]:
        """The events of these names that there are."""
        ...

    def marks(self, name: str) -> list[tuple[int, int]]:
        """Marks of the attack ``name`` with their weights."""
        ...

    def strongest(
        self, marks: Sequence[tuple[int, int]], first: int, last: int, most: int, without: str
    ) -> list[tuple[str, int, int]]:
        """As the function `strongest`, in whatever way is quickest here."""
        ...

    def after(self, names: Iterable[str]) -> list[Link]:
        """Links that lead away from these events."""
        ...

    def before(self, names: Iterable[str]) -> list[Link]:
        """Links that lead to these events."""
        ...

    def of_subject(self, session: str | None, tenant: str | None) -> list[str]:
        """Names of a session's or tenant's events, of both where both are given; tenant "": of events without one."""
        ...

    def older(self, ts: int, most: int) -> list[str]:
        """Names of at most ``most`` events before ``ts``."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Take events out with their marks and links; nothing of them can be read from the disk afterwards."""
        ...

    def together(self, work: Callable[[], None]) -> None:
        """Do ``work``, which reads and writes this store: all of it or none, and nobody writes in between."""
        ...

    def counts(self) -> dict[str, int]:
        """How many events of each kind, links and marks there are."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


def related(store: GraphStore, name: str, *, within_us: int = DAY_US, most: int = 20) -> list[Related]:
    """Attacks within ``within_us`` before or after attack ``name`` that share marks with it: strongest, then newest.

    Raises:
        ConfigError: there is no such attack.
    """
    asked = _asked(store, name)
    if asked.kind != ATTACK:
        raise ConfigError("name", name, f"an attack, not the {asked.kind} of one")
    first, last = asked.ts - within_us, asked.ts + within_us
    best = store.strongest(store.marks(name), first, last, most, name)
    found = store.events([one for one, _, _ in best])
    return [Related(found[one], strength) for one, strength, _ in best]


def strongest(
    store: Bearing, marks: Iterable[tuple[int, int]], first: int, last: int, most: int, without: str
) -> list[tuple[str, int, int]]:
    """Name, strength and time of the ``most`` attacks from ``first`` to ``last`` that share most weight of
    ``marks``, but ``without`` itself: the strongest first, then the newest."""
    strength: dict[str, int] = {}
    times: dict[str, int] = {}
    for mark, weight in marks:
        for name, ts, other in store.bearers(mark, first, last, NEWEST):
            strength[name] = strength.get(name, 0) + min(weight, other)
            times[name] = ts
    strength.pop(without, None)
    best = sorted(strength.items(), key=lambda item: (-item[1], -times[item[0]], item[0]))[:most]
    return [(name, value, times[name]) for name, value in best]


def chain(store: GraphStore, name: str, *, most: int = ROOM) -> Chain:
    """All that leads to the event ``name`` and all that followed from where that began, nearest first where it is cut.

    Raises:
        ConfigError: there is no such event.
    """
    root = name
    _asked(store, name)
    for _ in range(most):
        into = store.before([root])
        if not into:
            break
        root = min(into, key=lambda link: (link.source, link.kind)).source
    names, links, level = [root], [], [root]
    seen, cut = {root}, False
    while level and not cut:
        found = sorted(store.after(level), key=lambda link: (link.source, link.target))
        level = []
        for link in found:
            if len(names) >= most and link.target not in seen:
                cut = True
                continue
            links.append(link)
            if link.target not in seen:
                seen.add(link.target)
                names.append(link.target)
                level.append(link.target)
    there = store.events(names)
    events = sorted(there.values(), key=lambda event: (event.ts, KINDS.index(event.kind), event.name))
    return Chain(tuple(events), tuple(links), cut)


def erase(store: GraphStore, names: Sequence[str], fresh: Sequence[str]) -> int:
    """Take out the events ``names`` of one subject, all or none; how many there were.

    Where the way from somebody else's event to somebody else's leads through some, stubs stay in their place so that
    the chain holds: kind, label and time, under ``fresh`` random names, of which there must be as many as names.
    """
    gone = set(names)
    store.together(lambda: _erase(store, gone, fresh))
    return len(gone)


def _erase(store: GraphStore, gone: set[str], fresh: Sequence[str]) -> None:
    names = sorted(gone)
    links = {*store.before(names), *store.after(names)}
    entries = {link.target for link in links if link.source not in gone}
    exits = {link.source for link in links if link.target not in gone}
    inner = [(link.source, link.target) for link in links if link.source in gone and link.target in gone]
    between = _reached(entries, inner) & _reached(exits, [(target, source) for source, target in inner])
    stubs = dict(zip(sorted(between), fresh, strict=False))
    there = store.events(stubs)
    events = [Event(stubs[name], one.kind, one.label, one.ts) for name, one in sorted(there.items())]
    kept = [
        Link(stubs.get(link.source, link.source), stubs.get(link.target, link.target), link.kind)
        for link in sorted(links, key=lambda link: (link.source, link.target))
        if not {link.source, link.target} & (gone - between)
    ]
    if events:
        store.put(events, kept)
    store.remove(names)


def _reached(first: set[str], steps: Sequence[tuple[str, str]]) -> set[str]:
    after: dict[str, list[str]] = {}
    for source, target in steps:
        after.setdefault(source, []).append(target)
    found, waiting = set(first), list(first)
    while waiting:
        for name in after.get(waiting.pop(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _asked(store: GraphStore, name: str) -> Event:
    found = store.events([name])
    if name not in found:
        raise ConfigError("name", name, "the id of an attack in the graph; aimds graph add puts them there")
    return found[name]
