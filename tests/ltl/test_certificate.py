from __future__ import annotations

import ast
import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from naive_ltl import holds, random_formula, random_trace

from aimds.ltl import checker
from aimds.ltl.certificate import certificate
from aimds.ltl.checker import CertificateError, check, trace_hash, truth
from aimds.ltl.examples import read_steps
from aimds.ltl.parser import parse


def test_checker_imports_nothing_that_evaluates() -> None:
    tree = ast.parse(Path(checker.__file__).read_text("utf-8"))
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert {name for name in found if name.startswith("aimds")} == {
        "aimds.errors",
        "aimds.ltl.formula",
        "aimds.ltl.parser",
    }


def test_truth_of_the_checker_is_that_of_the_definition_and_certain_where_it_says_so() -> None:
    rng = random.Random(31)
    decided = 0
    for _ in range(600):
        formula = random_formula(rng, rng.randrange(4), past=True, timed=True, mixed=True)
        trace = random_trace(rng, 6)
        assert truth(formula, trace, ended=True) is holds(formula, trace)
        n = rng.randrange(1, len(trace) + 1)
        early = truth(formula, trace[:n], ended=False)
        assert early is None or early is holds(formula, trace)
        decided += early is not None and n < len(trace)
    assert decided > 100


def test_a_violation_names_obligation_turns_and_the_least_bad_prefix() -> None:
    trace = read_steps("a; -; b; -; c; b")
    found = certificate(parse("G (a -> !c W b) & G (b -> N G !c)"), trace, [3, 4, 7, 8, 9, 12])
    assert (found["bad_prefix"], found["open"], found["turns"]) == (5, False, [3, 9])
    assert found["obligation"] == {"formula": "!c", "step": 4, "turn": 9}
    assert found["escape"] == []
    assert found["trace"] == trace_hash(trace)


def test_a_deadline_that_passes_is_bad_with_the_step_that_shows_it() -> None:
    trace = read_steps("threat @0; - @5ms; - @11ms; done @12ms")
    found = certificate(parse("G (threat -> F[0,10ms] done)"), trace)
    assert (found["bad_prefix"], found["obligation"]["formula"]) == (3, "F[0,10ms] done")
    assert found["escape"] == [[5_000, ["done"]]]


def test_what_is_owed_when_the_trace_ends_is_open() -> None:
    found = certificate(parse("G (a -> F b)"), read_steps("b; a; -"))
    assert (found["bad_prefix"], found["open"], found["escape"]) == (3, True, None)
    assert found["obligation"] == {"formula": "F b", "step": 1, "turn": 1}


def test_satisfaction_carries_the_run() -> None:
    found = certificate(parse("G (a -> F b)"), read_steps("a; -; b; -"))
    assert found["run"] == [0, 1, 1, 0, 0]
    assert [0, ["a"], 1] in found["automaton"]["moves"]


def some(count: int, **kinds: bool) -> list[tuple[dict[str, Any], Any]]:
    rng = random.Random(32)
    out = []
    while len(out) < count:
        formula = random_formula(rng, rng.randrange(1, 4), past=True, **kinds)
        trace = random_trace(rng, 7)
        out.append((certificate(formula, trace), trace))
    return out


def test_every_certificate_passes_the_checker_after_json() -> None:
    kinds = set()
    for made, trace in some(150) + some(150, timed=True):
        check(json.loads(json.dumps(made)), trace)
        kinds.add((made["kind"], made.get("open"), made.get("escape") is None))
    assert len(kinds) == 4


def mutants(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    out: list[tuple[str, dict[str, Any]]] = []

    def put(name: str, path: tuple[Any, ...], value: Any) -> None:
        other = copy.deepcopy(made)
        place = other
        for key in path[:-1]:
            place = place[key]
        if place[path[-1]] != value or type(place[path[-1]]) is not type(value):
            place[path[-1]] = value
            out.append((name, other))

    put("kind", ("kind",), "satisfaction" if made["kind"] == "violation" else "violation")
    put("formula", ("formula",), f"!({made['formula']})")
    put("broken formula", ("formula",), made["formula"] + " &")
    put("trace", ("trace",), "0" * 64)
    put("steps", ("steps",), made["steps"] + 1)
    for key in made:
        other = copy.deepcopy(made)
        del other[key]
        out.append((f"no {key}", other))
    if made["kind"] == "violation":
        put("longer", ("bad_prefix",), made["bad_prefix"] + 1)
        put("shorter", ("bad_prefix",), made["bad_prefix"] - 1)
        put("open", ("open",), not made["open"])
        put("turns", ("turns",), [made["turns"][0], made["turns"][1] + 1])
        put("turn", ("obligation", "turn"), made["obligation"]["turn"] + 1)
        put("step", ("obligation", "step"), made["obligation"]["step"] + 1)
        put("owed", ("obligation", "formula"), "never_seen")
        if made["escape"] is not None:
            put("escape in the past", ("escape",), [*made["escape"], [-(10**9), []]])
            put("no steps", ("escape",), "x")
        else:
            put("escape", ("escape",), [[10**9, []]]) if made["open"] else None
    elif made["run"] is not None:
        put("start", ("automaton", "start"), made["automaton"]["start"] + 1)
        put("accepting", ("automaton", "accepting"), [made["run"][-1] + 1])
        put("events", ("automaton", "events"), None)
        put("shorter run", ("run",), made["run"][:-1])
        for k in range(len(made["run"])):
            put(f"run {k}", ("run", k), made["run"][k] + 7)
        for k, move in enumerate(made["automaton"]["moves"]):
            put(f"move {k}", ("automaton", "moves", k, 2), move[2] + 7)
            put(f"events {k}", ("automaton", "moves", k, 1), [*move[1], "never_seen"])
        put("one more move", ("automaton", "moves"), [*made["automaton"]["moves"], [99, [], 99]])
    return out


def refused(made: dict[str, Any], trace: Any) -> bool:
    try:
        check(made, trace)
    except CertificateError:
        return True
    return False


def test_every_mutant_of_a_certificate_is_refused() -> None:
    count = 0
    for made, trace in some(60) + some(60, timed=True):
        for name, mutant in mutants(made):
            assert refused(mutant, trace), f"{name} of {made} passed"
            count += 1
    assert count > 1_000


def test_a_long_trace_is_certified() -> None:
    trace = read_steps("a; b; " * 1_000 + "a; c")
    assert certificate(parse("G (a -> N (b & true))"), trace)["obligation"]["step"] == 2_001
    assert certificate(parse("G (a -> F (b | c))"), trace)["run"][-1] == 0


def test_a_certificate_of_another_trace_is_refused() -> None:
    trace = read_steps("a; b; c")
    made = certificate(parse("F b"), trace)
    for other in ("a; b; c; c", "a; b", "a; b c; c", "a; b; c @9s"):
        with pytest.raises(CertificateError):
            check(made, read_steps(other))
