from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from naive_ltl import NAMES, Step, holds, random_formula, random_trace

from aimds.ltl import evaluate as module
from aimds.ltl.evaluate import Evaluator, evaluate
from aimds.ltl.formula import Formula
from aimds.ltl.parser import parse
from aimds.ltl.traces import TraceError, Traces


def traces_of(traces: Sequence[Sequence[Step]]) -> Traces:
    steps = [[events for _, events in trace] for trace in traces]
    return Traces.of(steps, [[time for time, _ in trace] for trace in traces], NAMES)


def wrong(seed: int, formulas: int, traces: int, **kinds: bool) -> list[str]:
    rng = random.Random(seed)
    asked = [random_formula(rng, rng.randrange(4), **kinds) for _ in range(formulas)]
    given = [random_trace(rng, 7) for _ in range(traces)]
    found = evaluate(asked, traces_of(given))
    return [
        f"{formula} on {trace}"
        for p, formula in enumerate(asked)
        for b, trace in enumerate(given)
        if bool(found[b, p]) != holds(formula, trace)
    ]


def test_batches_agree_with_the_definition_without_times() -> None:
    assert wrong(11, 120, 150, past=True) == []


def test_batches_agree_with_the_definition_with_intervals_and_any_nesting() -> None:
    assert wrong(12, 150, 80, past=True, timed=True, mixed=True) == []


def test_a_trace_is_judged_alike_alone_and_among_thousands() -> None:
    rng = random.Random(13)
    formulas = [random_formula(rng, 3, past=True) for _ in range(10)]
    given = [random_trace(rng, rng.choice([1, 3, 60])) for _ in range(2100)]
    many = evaluate(formulas, traces_of(given), threads=2)
    for b in rng.sample(range(2100), 40):
        assert np.array_equal(evaluate(formulas, traces_of([given[b]]))[0], many[b])


def test_very_long_traces_are_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(14)
    formulas = [random_formula(rng, 3, past=True, timed=k % 2 == 0) for k in range(20)]
    given = traces_of([random_trace(rng, 30) for _ in range(50)])
    before = evaluate(formulas, given)
    monkeypatch.setattr(module, "MAX_SLICED", 5)
    assert np.array_equal(evaluate(formulas, given), before)


def test_an_event_that_no_trace_knows_never_occurs() -> None:
    traces = Traces.of([[{"a"}]])
    asked: list[Formula] = [parse("F strange"), parse("G !strange"), parse("a"), parse("H !strange")]
    assert evaluate(asked, traces).tolist() == [[False, True, True, True]]


def test_time_that_goes_back_stands_still() -> None:
    traces = Traces.of([[{"a"}, {"b"}, {"c"}], [{"a"}, {"b"}]], [[10, 4, 12], [0, 3]])
    assert traces.times is not None
    assert traces.times.tolist() == [10, 10, 12, 0, 3]
    assert evaluate([parse("F[0,0] b"), parse("F[1us,2us] c")], traces).tolist() == [[True, True], [False, False]]


def test_steps_at_the_same_time_keep_their_order() -> None:
    traces = Traces.of([[{"a"}, {"b"}]], [[5, 5]])
    assert evaluate([parse("a & F[0,0] b"), parse("F (b & O[0,0] a)"), parse("F (b & F[0,0] a)")], traces).tolist() == [
        [True, True, False]
    ]


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(TraceError, match="trace 1: has no step"):
        Traces.of([[{"a"}], []])
    with pytest.raises(TraceError, match="no times"):
        evaluate([parse("F[0,1s] a")], Traces.of([[{"a"}]]))
    with pytest.raises(TraceError, match="name the events"):
        Evaluator([parse("a")], ["b"]).run(Traces.of([[{"a"}]]))
    with pytest.raises(TraceError, match="65 names"):
        Traces.of([[{f"e{k}" for k in range(65)}]])


def test_deadlines_over_many_steps_are_judged_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 1)
    rng, by_table = random.Random(14), 0
    given = [trace for trace in (random_trace(rng, 9) for _ in range(40)) if trace]
    for _ in range(60):
        formula = random_formula(rng, rng.randrange(1, 4), past=True, timed=True)
        evaluator = Evaluator([formula, parse("G (a -> F[0,3us] b)")], NAMES)
        found = evaluator.run(traces_of(given))
        assert found[:, 0].tolist() == [holds(formula, trace) for trace in given], str(formula)
        assert found[:, 1].tolist() == [holds(parse("G (a -> F[0,3us] b)"), trace) for trace in given]
        by_table += evaluator._tables is not None and evaluator._tables[0] is not None
    assert by_table > 10
