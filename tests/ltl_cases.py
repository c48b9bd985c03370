"""Arguments of the kernels ltl_batch and ltl_step: programs and tables of real formulas, on made traces."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np

from aimds.ltl.automaton import automaton
from aimds.ltl.bitslice import Program
from aimds.ltl.core import Pool
from aimds.ltl.parser import parse
from aimds.ltl.tables import Tables

NAMES = tuple(f"e{k}" for k in range(11))
UNTIMED = (
    *(
        "G (e0 -> F e1)",
        "F (e3 & X e4)",
        "G (e5 -> O e0)",
        "e0 U (e1 & !e2)",
        "(e3 R e4) | N e9",
        "true",
        "e1 & absent",
    ),
    *("G ((e1 S e2) -> (!e3 W e10))", "F (Y e8 & H !e7)", "!(e6 U e0) & (Z e1 | X X e2)"),
)
TIMED = ("G (e0 -> F[0,10us] e1)", "G (e4 -> O[0,30us] e5)", "G (e6 -> F[0,3us] e1)", "F e2", "G !e3", "e0 U e9")


def traces(sizes: tuple[int, ...], rng: Any) -> tuple[Any, Any]:
    """Rows of steps in which each event occurs now and then."""
    odds = rng.random((sum(sizes), len(NAMES))) < 0.25
    values = (odds.astype(np.uint64) << np.arange(len(NAMES), dtype=np.uint64)).sum(1, dtype=np.uint64)
    offsets = np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]).astype(np.int64)
    return values, offsets


def program(texts: tuple[str, ...] = UNTIMED) -> tuple[Any, ...]:
    """shifts, past, future, results and slots of ``texts``."""
    pool = Pool()
    roots = [pool.add(parse(text)) for text in texts]
    bits = {number: NAMES.index(name) for number, name in enumerate(pool.atoms) if name in NAMES}
    made = Program.of(pool, roots, bits)
    return made.shifts, made.past, made.future, made.results, made.slots


def tables(texts: tuple[str, ...] = TIMED) -> Tables:
    """The automata of ``texts`` side by side."""
    return Tables.of([automaton(parse(text)) for text in texts], NAMES)


def steps(sizes: tuple[int, ...], rng: Any, texts: tuple[str, ...] = TIMED) -> tuple[Any, ...]:
    """Steps of as many sessions as there are ``sizes``, mixed, with times that now and then go back."""
    made = tables(texts)
    values, offsets = traces(sizes, rng)
    sessions = rng.permutation(np.repeat(np.arange(len(sizes)), np.diff(offsets))).astype(np.int64)
    times = np.arange(len(values)) + rng.integers(-20, 21, len(values))
    records = np.tile(made.fresh(), (len(sizes), 1))
    return (*made.steps, sessions, values, times.astype(np.int64), records)


def held(words: Any, rows: int) -> list[list[bool]]:
    """The bits of ``words`` (R, W) as R lists of ``rows``."""
    return [[bool(int(line[row // 64]) >> row % 64 & 1) for row in range(rows)] for line in words]


def ragged(rows: list[list[int]]) -> tuple[Any, Any]:
    """Values and offsets of rows of masks."""
    return naive.ragged(rows, np.uint64)
