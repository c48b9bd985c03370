"""The memory graph: `python -m benchmarks.memory_graph [--smoke] [NAME…]`.

A million events of a week, a third of them attacks, in SQLite on disk; the attacks of 24 hours before and after one
that share marks with it, and its whole chain. The peer is the embedded Cypher database ladybug with the same questions
where it is installed (on fewer events: it loads slowly), else networkx, else plain dictionaries in memory. `p99` is the
reciprocal of the 99th percentile over single questions.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aimds.record.graph import (
    ANSWERED,
    ATTACK,
    DAY_US,
    LED_TO,
    NEWEST,
    OUTCOME,
    RESPONSE,
    VARIED,
    Event,
    GraphStore,
    Link,
    chain,
    related,
)
from aimds.record.graph_cypher import ladybug
from aimds.record.graph_sqlite import SqliteGraph
from benchmarks.harness import Case, Result, available, main

WEEK_US = 7 * DAY_US
EVENTS, SMOKE_EVENTS = 1_000_000, 30_000
PEER_EVENTS = 3_000
BATCH = 10_000
QUESTIONS = 400
PATTERNS = 40


@functools.cache
def folder() -> Path:
    """Where the databases lie until the run ends."""
    held = tempfile.TemporaryDirectory(prefix="aimds-graph-")
    _HELD.append(held)
    return Path(held.name)


_HELD: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def made(count: int) -> tuple[list[Event], list[Link]]:
    """``count`` events: attacks of a week with session, two of forty patterns each, and the wording of campaigns whose
    sizes differ widely; a third of the attacks vary an earlier one of their session."""
    rng = np.random.default_rng(3)
    attacks = count // 3
    times = np.sort(rng.integers(0, WEEK_US, attacks)).tolist()
    session = rng.integers(0, max(attacks // 3, 1), attacks).tolist()
    campaign = np.minimum(rng.zipf(1.4, attacks), attacks).tolist()
    pattern = np.minimum(rng.geometric(0.12, (attacks, 2)), PATTERNS).tolist()
    events: list[Event] = []
    links: list[Link] = []
    last: dict[int, str] = {}
    for k in range(attacks):
        marks = {10_000_000 + session[k]: 3}
        marks |= {20_000_000 + 8 * campaign[k] + band: 1 for band in range(8)}
        marks |= {30_000_000 + one: 1 for one in pattern[k]}
        name, who = f"r{k:07}", f"s{session[k]:06}"
        attack = Event(name, ATTACK, "jailbreak", times[k], who, "acme", 0.9, tuple(sorted(marks.items())))
        response = Event(f"{name}/response", RESPONSE, "block", times[k], who, "acme")
        outcome = Event(f"{name}/outcome", OUTCOME, "open", times[k], who, "acme")
        events += [attack, response, outcome]
        links += [Link(name, response.name, ANSWERED), Link(response.name, outcome.name, LED_TO)]
        if session[k] in last:
            links.append(Link(f"{last[session[k]]}/outcome", name, VARIED))
        last[session[k]] = name
    return events, links


def filled(store: GraphStore, count: int) -> GraphStore:
    """``store`` with the events."""
    events, links = made(count)
    started = time.perf_counter()
    for first in range(0, len(events), BATCH):
        store.put(events[first : first + BATCH], [])
    for first in range(0, len(links), BATCH):
        store.put([], links[first : first + BATCH])
    took = time.perf_counter() - started
    print(f"{len(events):,} events put into {type(store).__name__} in {took:.1f} s", file=sys.stderr)
    return store


@functools.cache
def ours(count: int) -> GraphStore:
    return filled(SqliteGraph(folder() / f"{count}.sqlite"), count)


class Plain:
    """The same in dictionaries, or in a networkx graph where it is installed: every bearer of a mark is looked at."""

    def __init__(self, count: int) -> None:
        events, _ = made(count)
        self.events = {event.name: event for event in events if event.kind == ATTACK}
        networkx = available("networkx")
        self.graph: Any = None
        self.bearers: dict[int, list[str]] = {}
        if networkx is not None:
            self.graph = networkx.Graph()
            self.graph.add_edges_from((name, mark) for name, one in self.events.items() for mark, _ in one.marks)
        else:
            for name, one in self.events.items():
                for mark, _ in one.marks:
                    self.bearers.setdefault(mark, []).append(name)

    def related(self, name: str, most: int = 20) -> list[tuple[str, int]]:
        asked = self.events[name]
        strength: dict[str, int] = {}
        for mark, weight in asked.marks:
            near = [
                other
                for other in (self.graph[mark] if self.graph is not None else self.bearers[mark])
                if abs(self.events[other].ts - asked.ts) <= DAY_US
            ]
            for other in sorted(near, key=lambda one: (-self.events[one].ts, -int(one[1:])))[:NEWEST]:
                strength[other] = strength.get(other, 0) + weight
        strength.pop(name, None)
        best = sorted(strength.items(), key=lambda item: (-item[1], -self.events[item[0]].ts, item[0]))[:most]
        return [(other, value) for other, value in best]


def pairs(store: GraphStore, names: list[str]) -> list[list[tuple[str, int]]]:
    return [[(item.event.name, item.strength) for item in related(store, name)] for name in names]


@functools.cache
def peer(count: int) -> tuple[str, int, Callable[[list[str]], Any]]:
    """Name of the peer, on how many events, and its answers."""
    few = PEER_EVENTS
    if available("ladybug") is not None:
        store = filled(ladybug(folder() / f"{few}.lbug"), few)
        return f"ladybug, {few:,} events", few, lambda names: pairs(store, names)
    plain = Plain(count)
    name = "networkx" if plain.graph is not None else "dictionaries"
    return f"{name} in memory", count, lambda names: [plain.related(one) for one in names]


def asked(count: int, most: int) -> list[str]:
    """Attacks all over the week, by chance."""
    rng = np.random.default_rng(8)
    return [f"r{k:07}" for k in rng.integers(0, count // 3, most).tolist()]


def related_case(smoke: bool) -> Iterator[Case]:
    """Attacks of the day that share marks with one; both sides on as many events as the peer has."""
    count = SMOKE_EVENTS if smoke else EVENTS
    name, there, theirs = peer(count)
    store = ours(there)
    names = asked(there, 20 if smoke else 60)
    yield Case(
        "related",
        "question",
        len(names),
        lambda: pairs(store, names),
        lambda: theirs(names),
        name,
        lambda one, two: one == two,
    )


def p99(smoke: bool) -> Iterator[Result]:
    """The slowest of a hundred: ours on all events, the peer on its own, each question once, in turn."""
    count = SMOKE_EVENTS if smoke else EVENTS
    name, there, theirs = peer(count)
    store = ours(count)
    took: list[list[float]] = [[], []]
    busy: list[float] = []
    questions = 60 if smoke else QUESTIONS
    for one, other in zip(asked(count, questions), asked(there, questions), strict=True):
        for side, call in enumerate((lambda: related(store, one), lambda: theirs([other]))):  # noqa: B023
            started, worked = time.perf_counter(), time.thread_time()
            call()
            took[side].append(time.perf_counter() - started)
            if not side:
                busy.append(time.thread_time() - worked)
    mine, peers = (float(np.quantile(one, 0.99)) for one in took)
    print(
        f"{count:,} events: p50 {np.median(took[0]) * 1e3:.2f} ms, p99 {mine * 1e3:.2f} ms "
        f"(of the processor {np.median(busy) * 1e3:.2f} and {np.quantile(busy, 0.99) * 1e3:.2f}); "
        f"{name}: p50 {np.median(took[1]) * 1e3:.2f} ms, p99 {peers * 1e3:.2f} ms",
        file=sys.stderr,
    )
    few = asked(there, 10)
    same = pairs(ours(there), few) == theirs(few)
    yield Result("related_p99", 1 / mine, 1 / peers, name, peers / mine, "question", same)


def chain_case(smoke: bool) -> Iterator[Case]:
    """Whole chains, beside a walk through dictionaries in memory."""
    count = SMOKE_EVENTS if smoke else EVENTS
    store = ours(count)
    _, links = made(count)
    after: dict[str, list[str]] = {}
    before: dict[str, str] = {}
    for link in links:
        after.setdefault(link.source, []).append(link.target)
        before[link.target] = link.source
    names = asked(count, 30)

    def walk(name: str) -> set[str]:
        while name in before:
            name = before[name]
        found, waiting = {name}, [name]
        while waiting:
            for target in after.get(waiting.pop(), ()):
                found.add(target)
                waiting.append(target)
        return found

    yield Case(
        "chain",
        "chain",
        len(names),
        lambda: [{event.name for event in chain(store, name).events} for name in names],
        lambda: [walk(name) for name in names],
        "dictionaries in memory",
        lambda one, two: one == two,
    )


MAKERS = {"related": related_case, "related_p99": p99, "chain": chain_case}

if __name__ == "__main__":
    sys.exit(main(MAKERS))
