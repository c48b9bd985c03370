"""Specification patterns of Dwyer, Avrunin & Corbett (1999), doi:10.1145/302405.302672, and families of formulas."""

from __future__ import annotations

import itertools

import pytest

from aimds.ltl.automaton import Automaton, automaton
from aimds.ltl.evaluate import evaluate
from aimds.ltl.parser import parse
from aimds.ltl.traces import Traces

WORDS = ["".join(word) for n in range(1, 6) for word in itertools.product("pqrs-", repeat=n)]
"""Every trace of up to five steps with one of the events, or none, in each."""


def between(word: str, *, closed: bool) -> list[str]:
    """The stretches of ``word`` from each q up to the next r; with ``closed``, only those that an r ends."""
    out = []
    for i, letter in enumerate(word):
        if letter == "q":
            end = word.find("r", i)
            if end >= 0 or not closed:
                out.append(word[i : end if end >= 0 else len(word)])
    return out


def after(word: str) -> str:
    return word[word.index("q") :] if "q" in word else ""


def before(word: str) -> str:
    return word[: word.index("r")] if "r" in word else ""


def responds(word: str) -> bool:
    return all("s" in word[i:] for i, letter in enumerate(word) if letter == "p")


def precedes(word: str) -> bool:
    return "p" not in word or "s" in word[: word.index("p")]


PATTERNS = [
    ("absence, globally", "G !p", lambda w: "p" not in w),
    ("absence, before r", "F r -> (!p U r)", lambda w: "p" not in before(w)),
    ("absence, after q", "G (q -> G !p)", lambda w: "p" not in after(w)),
    (
        "absence, between",
        "G ((q & !r & F r) -> (!p U r))",
        lambda w: not any("p" in x for x in between(w, closed=True)),
    ),
    ("absence, until", "G (q & !r -> (!p W r))", lambda w: not any("p" in x for x in between(w, closed=False))),
    ("existence, globally", "F p", lambda w: "p" in w),
    ("existence, before r", "!r W (p & !r)", lambda w: "r" not in w or "p" in before(w)),
    ("existence, after q", "G !q | F (q & F p)", lambda w: "q" not in w or "p" in after(w)),
    (
        "existence, between",
        "G (q & !r & F r -> (!r U (p & !r)))",
        lambda w: all("p" in x for x in between(w, closed=True)),
    ),
    (
        "at most twice",
        "!p W (p W (!p W (p W G !p)))",
        lambda w: len([k for k, _ in itertools.groupby(w) if k == "p"]) < 3,
    ),
    ("universality, before r", "F r -> (p U r)", lambda w: set(before(w)) <= {"p"}),
    ("universality, after q", "G (q -> N G p)", lambda w: set(after(w)[1:]) <= {"p"}),
    ("precedence, globally", "!p W s", precedes),
    ("precedence, before r", "F r -> (!p U (s | r))", lambda w: precedes(before(w))),
    ("precedence, after q", "G !q | F (q & (!p W s))", lambda w: "q" not in w or any(precedes(x) for x in suffixes(w))),
    ("response, globally", "G (p -> F s)", responds),
    ("response, before r", "F r -> ((p -> (!r U (s & !r))) U r)", lambda w: responds(before(w))),
    ("response, after q", "G (q -> G (p -> F s))", lambda w: responds(after(w))),
    (
        "response, until",
        "G (q & !r -> ((p -> (!r U (s & !r))) W r))",
        lambda w: all(responds(x) for x in between(w, closed=False)),
    ),
    (
        "chain, s and t answer p",
        "G (p -> F (s & X F q))",
        lambda w: all(chain(w[i:]) for i, k in enumerate(w) if k == "p"),
    ),
]


def suffixes(word: str) -> list[str]:
    return [word[i:] for i, letter in enumerate(word) if letter == "q"]


def chain(word: str) -> bool:
    return "s" in word and "q" in word[word.index("s") :]


def test_patterns_mean_what_they_are_called() -> None:
    traces = Traces.of([[set(letter) - {"-"} for letter in word] for word in WORDS], names="pqrs")
    found = evaluate([parse(text) for _, text, _ in PATTERNS], traces)
    for k, (name, _, meant) in enumerate(PATTERNS):
        wrong = [word for word, holds in zip(WORDS, found[:, k].tolist(), strict=True) if holds != meant(word)]
        assert wrong == [], name


@pytest.mark.parametrize(
    ("text", "states"),
    [
        *((" & ".join(f"F p{k}" for k in range(n)), 2**n) for n in range(1, 7)),
        *((" & ".join(f"G p{k}" for k in range(n)), 2) for n in range(1, 7)),
        *((" U ".join(f"p{k}" for k in range(n)), n + 1) for n in range(2, 7)),
        *((f"G (p -> {'X ' * n}q)", 2**n + 1) for n in range(1, 6)),
        *((f"F (p & {'X ' * n}q)", 2**n + 1) for n in range(1, 6)),
        *((" & ".join(f"G F p{k}" for k in range(n)), 2) for n in range(1, 4)),
    ],
)
def test_families_of_formulas_have_automata_of_the_known_size(text: str, states: int) -> None:
    made: Automaton = automaton(parse(text))
    assert len(made.table) == states
