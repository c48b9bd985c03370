"""Times ours against a peer in one run, turn by turn, on one thread, and checks that both gave the same result.

A ratio holds where an absolute figure does not: both sides meet the same machine in the same second.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

TRIES = 3
"""A smoke case may fail on a busy machine so often, less one."""


@dataclass(frozen=True, slots=True)
class Case:
    """``ours`` and ``peer`` do ``work`` units of ``unit`` a call; ``same`` says whether their results agree.

    ``floor`` is the ratio below which a smoke run fails: far under what is measured, so that only a fault trips it.
    """

    name: str
    unit: str
    work: float
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    peer_name: str
    same: Callable[[Any, Any], bool]
    floor: float


@dataclass(frozen=True, slots=True)
class Result:
    """Rates in ``unit`` a second, best of all rounds; ``ratio`` is ours by peer."""

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str
    same: bool


def measure(case: Case, *, rounds: int, budget_s: float) -> Result:
    """At least three rounds of both sides in turn, then more up to ``rounds`` while ``budget_s`` lasts."""
    with threadpool_limits(1):
        same = case.same(case.ours(), case.peer())
        best = [float("inf"), float("inf")]
        begun = time.perf_counter()
        for done in range(rounds):
            if done >= 3 and time.perf_counter() - begun > budget_s:
                break
            for side, call in enumerate((case.ours, case.peer)):
                start = time.perf_counter()
                call()
                best[side] = min(best[side], time.perf_counter() - start)
    ours, peer = case.work / best[0], case.work / best[1]
    return Result(case.name, ours, peer, case.peer_name, ours / peer, case.unit, same)


def fault(case: Case, result: Result) -> str:
    """Why ``result`` does not pass, or nothing."""
    if not result.same:
        return f"{case.name}: the result is not that of {case.peer_name}"
    if result.ratio < case.floor:
        return f"{case.name}: {result.ratio:.2f} times {case.peer_name}, the smoke floor is {case.floor}"
    return ""


def main(makers: Mapping[str, Callable[[bool], Case]], arguments: Sequence[str] | None = None) -> int:
    """Command line of a benchmark module: one JSON line a case on stdout, a table on stderr.

    ``makers`` build each case, small where they are given True. Exit code 1 where results differ or, with ``--smoke``,
    where a ratio stays under its floor in three tries; the case is named on stderr.
    """
    parser = argparse.ArgumentParser(description="ours against a peer, in one run, on one thread")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"cases to run (default all): {', '.join(makers)}")
    parser.add_argument("--smoke", action="store_true", help="small sizes, and fail under the floors")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in makers]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(makers)}")
    faults = []
    print(f"{'case':<20}{'ours':>12}{'peer':>12}{'ratio':>8}  unit, peer", file=sys.stderr)
    for name in options.names or makers:
        case = makers[name](options.smoke)
        for _ in range(TRIES if options.smoke else 1):
            result = measure(case, rounds=5 if options.smoke else 15, budget_s=1.0 if options.smoke else 6.0)
            problem = fault(case, result)
            if not problem:
                break
        print(json.dumps(asdict(result)), flush=True)
        row = f"{name:<20}{result.ours:>12.4g}{result.peer:>12.4g}{result.ratio:>8.2f}"
        print(f"{row}  {result.unit}/s, {result.peer_name}", file=sys.stderr, flush=True)
        if problem and (options.smoke or not result.same):
            faults.append(problem)
    for problem in faults:
        print(f"FAILED {problem}", file=sys.stderr)
    return 1 if faults else 0
