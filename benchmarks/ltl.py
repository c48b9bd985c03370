"""Policies over traces: `python -m benchmarks.ltl [--smoke] [NAME…]`.

Ten formulas on 1,000 traces of 1,000 steps; the table on the same; steps of a million live sessions; a deadline. The
peer of finished traces is rtamt (offline, discrete time), where `benchmarks/peers/ltl.txt` is installed, else
`aimds.ltl.checker`, the definition in plain Python. A peer does few traces.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aimds.ltl.automaton import PRESUMABLY_YES, automaton
from aimds.ltl.checker import truth
from aimds.ltl.evaluate import Evaluator
from aimds.ltl.formula import Formula
from aimds.ltl.monitor import Monitor, Monitors
from aimds.ltl.parser import parse
from aimds.ltl.tables import Tables
from aimds.ltl.traces import Traces
from benchmarks.harness import Case, Maker, available, main

NAMES = tuple(f"e{k}" for k in range(8))
SHARES = (0.05, 0.3, 0.05, 0.3, 0.02, 0.1, 0.05, 0.0005)
TEXTS = (
    ("G (e0 -> F e1)", "always((e0 >= 0.5) implies (eventually (e1 >= 0.5)))"),
    ("G (e2 -> F e3)", "always((e2 >= 0.5) implies (eventually (e3 >= 0.5)))"),
    ("G !e7", "always(not (e7 >= 0.5))"),
    ("G (e2 & e7 -> G !e4)", "always(((e2 >= 0.5) and (e7 >= 0.5)) implies (always (not (e4 >= 0.5))))"),
    ("F e6", "eventually(e6 >= 0.5)"),
    ("!e7 U (e6 | e5)", "(not (e7 >= 0.5)) until ((e6 >= 0.5) or (e5 >= 0.5))"),
    ("G (e0 -> F (e1 & F e3))", "always((e0 >= 0.5) implies (eventually ((e1 >= 0.5) and (eventually (e3 >= 0.5)))))"),
    ("G (e4 -> O e5)", "always((e4 >= 0.5) implies (once (e5 >= 0.5)))"),
    ("G (e6 -> !e7 S e5)", "always((e6 >= 0.5) implies ((not (e7 >= 0.5)) since (e5 >= 0.5)))"),
    ("F (e5 & F (e6 & F e5))", "eventually((e5 >= 0.5) and (eventually ((e6 >= 0.5) and (eventually (e5 >= 0.5)))))"),
)
DEADLINE = ("G (e0 -> F[0,10us] e1)", "always((e0 >= 0.5) implies (eventually[0:10] (e1 >= 0.5)))")


@functools.cache
def traces(count: int, steps: int) -> Traces:
    """Random traces; step k is at k microseconds."""
    rng = np.random.default_rng(0)
    values = np.zeros(count * steps, np.uint64)
    for bit, share in enumerate(SHARES):
        values |= (rng.random(len(values)) < share).astype(np.uint64) << np.uint64(bit)
    offsets = np.arange(0, len(values) + 1, steps, dtype=np.int64)
    return Traces(NAMES, values, offsets, np.tile(np.arange(steps, dtype=np.int64), count))


def first(given: Traces, count: int) -> list[list[tuple[int, frozenset[str]]]]:
    """The first ``count`` traces as sets of names."""
    return [[(time or 0, events) for time, events in given.steps(b)] for b in range(count)]


def rtamt_on(texts: list[str], given: Traces, count: int) -> Callable[[], Any] | None:
    """Judges the first traces with rtamt, if it is there: whether each formula holds, bool (count, formulas)."""
    rtamt = available("rtamt")
    if rtamt is None:
        return None
    specs = []
    for text in texts:
        spec = rtamt.StlDiscreteTimeOfflineSpecification()
        for name in NAMES:
            spec.declare_var(name, "float")
        spec.spec = text
        spec.parse()
        specs.append(spec)
    sets = []
    for trace in first(given, count):
        data: dict[str, list[float]] = {name: [float(name in events) for _, events in trace] for name in NAMES}
        sets.append({"time": list(range(len(trace))), **data})
    return lambda: np.array([[spec.evaluate(data)[0][1] > 0 for spec in specs] for data in sets])


def plain(formulas: list[Formula], given: Traces, count: int) -> Callable[[], Any]:
    """Judges the first traces by the definition, in plain Python."""
    sets = first(given, count)
    return lambda: np.array([[truth(formula, trace, ended=True) for formula in formulas] for trace in sets])


def peer_of(texts: list[tuple[str, str]], given: Traces, smoke: bool) -> tuple[Callable[[], Any], str, int]:
    count = 1 if smoke else 2
    found = rtamt_on([theirs for _, theirs in texts], given, count)
    if found is not None:
        return found, "rtamt, offline, discrete time", count
    return plain([parse(ours) for ours, _ in texts], given, count), "aimds.ltl.checker, plain Python", count


def batch(name: str, texts: list[tuple[str, str]], floor: float) -> Maker:
    """Whole traces against formulas."""

    def make(smoke: bool) -> Iterator[Case]:
        given = traces(1000, 200 if smoke else 1000)
        judge = Evaluator([parse(ours) for ours, _ in texts], NAMES)
        peer, peer_name, count = peer_of(texts, given, smoke)
        work, small = len(given.values) * len(texts), len(given.values) // len(given) * count * len(texts)
        yield Case(
            name,
            "step × formula",
            work,
            lambda: judge.run(given),
            peer,
            peer_name,
            lambda ours, theirs: np.array_equal(ours[: len(theirs)], theirs),
            floor,
            small,
        )

    return make


def table(smoke: bool) -> Iterator[Case]:
    """The same formulas step by step on their tables, on traces that never settle the matter early."""
    given = traces(1000, 200 if smoke else 1000)
    formulas = [parse(ours) for ours, _ in TEXTS if "e7" not in ours]
    tables = Tables.of([automaton(formula) for formula in formulas], NAMES)
    judge = Evaluator(formulas, NAMES)
    yield Case(
        "ltl_table",
        "step × formula",
        len(given.values) * len(formulas),
        lambda: tables.trail(given.values, given.times, given.offsets)[0] >= PRESUMABLY_YES,
        lambda: judge.run(given),
        "ours, bits of 1,024 traces at a time",
        np.array_equal,
    )


def live(smoke: bool) -> Iterator[Case]:
    """Steps of live sessions in random order, ten formulas, four of them with a deadline."""
    sessions, steps = (10_000, 20_000) if smoke else (1_000_000, 400_000)
    texts = [ours for ours, _ in TEXTS[:6]] + ["G (e0 -> F[0,10us] e1)", "G (e2 -> F[0,9us] e3)"]
    texts += ["G (e4 -> O[0,30us] e5)", "G (e6 -> F[0,1ms] e1)"]
    formulas = [parse(text) for text in texts]
    rng = np.random.default_rng(1)
    who = rng.integers(0, sessions, steps)
    values = traces(1000, 1000).values[:steps].copy()
    times = np.arange(steps, dtype=np.int64)
    monitors = Monitors([automaton(formula) for formula in formulas], NAMES, sessions)
    print(f"{sessions:,} sessions take {monitors.nbytes / 1e6:.0f} MB", file=sys.stderr)

    some = 2_000

    def peer() -> Any:
        kept: dict[int, list[Monitor]] = {}
        out = []
        for session, value, time in zip(
            who[:some].tolist(), values[:some].tolist(), times[:some].tolist(), strict=True
        ):
            own = kept.setdefault(session, []) or [Monitor(formula) for formula in formulas]
            kept[session] = own
            events = [name for bit, name in enumerate(NAMES) if value >> bit & 1]
            out.append([one.step(events, time).endswith("true") for one in own])
        return np.array(out)

    yield Case(
        "ltl_live",
        "step × formula",
        steps * len(formulas),
        lambda: monitors.step(who, values, times),
        peer,
        "ours, progression, one object a session",
        lambda mine, theirs: np.array_equal(mine[:some] >= PRESUMABLY_YES, theirs),
        peer_work=some * len(formulas),
    )


CASES: dict[str, Maker] = {
    "ltl_batch": batch("ltl_batch", list(TEXTS), 300.0),
    "ltl_deadline": batch("ltl_deadline", [DEADLINE], 30.0),
    "ltl_table": table,
    "ltl_live": live,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
