from __future__ import annotations

import random

import numpy as np
import pytest
from naive_ltl import NAMES, holds, random_formula, random_trace

from aimds.ltl.automaton import NO, PRESUMABLY_NO, PRESUMABLY_YES, Automaton, automaton
from aimds.ltl.core import FragmentError, LimitError
from aimds.ltl.evaluate import evaluate
from aimds.ltl.formula import Formula
from aimds.ltl.monitor import MAX_WAITING, Monitor, Monitors
from aimds.ltl.parser import parse
from aimds.ltl.tables import Tables
from aimds.ltl.traces import TraceError, Traces

GOOD = ("presumably_true", "true")


def compiled(seed: int, count: int) -> tuple[list[Formula], list[Automaton]]:
    rng = random.Random(seed)
    formulas, automata = [], []
    while len(formulas) < count:
        formula = random_formula(rng, rng.randrange(1, 4), past=True, timed=True, zero=True)
        try:
            automata.append(automaton(formula))
        except FragmentError:
            continue
        formulas.append(formula)
    return formulas, automata


def test_one_session_is_judged_after_each_step_as_a_finished_trace_would_be() -> None:
    rng = random.Random(21)
    for _ in range(400):
        formula = random_formula(rng, rng.randrange(4), past=True, timed=True)
        trace = random_trace(rng, 7)
        monitor = Monitor(formula)
        final = ""
        for n, (time, events) in enumerate(trace, 1):
            verdict = monitor.step(events, time)
            assert (verdict in GOOD) == holds(formula, trace[:n]), f"{formula} on {trace[:n]}"
            assert not final or verdict == final
            final = verdict if verdict in ("true", "false") else ""


def test_many_live_sessions_are_judged_as_their_finished_traces() -> None:
    rng = random.Random(22)
    formulas, automata = compiled(22, 40)
    given = [random_trace(rng, 12) for _ in range(200)]
    monitors = Monitors(automata, NAMES, len(given))
    waiting = [(b, n) for b, trace in enumerate(given) for n in range(len(trace))]
    turns = sorted(waiting, key=lambda one: (one[1] + rng.random() * 0.1, one[0]))
    masks = [sum(1 << NAMES.index(name) for name in given[b][n][1]) for b, n in turns]
    for begin in range(0, len(turns), 97):
        part = turns[begin : begin + 97]
        sessions = np.array([b for b, _ in part], np.int64)
        times = np.array([given[b][n][0] for b, n in part], np.int64)
        monitors.step(sessions, np.array(masks[begin : begin + 97], np.uint64), times)
    steps = [[events for _, events in trace] for trace in given]
    traces = Traces.of(steps, [[time for time, _ in trace] for trace in given], NAMES)
    expected = evaluate(formulas, traces)
    assert np.array_equal(monitors.verdicts() >= PRESUMABLY_YES, expected)
    ends, fails = Tables.of(automata, NAMES).trail(traces.values, traces.times, traces.offsets)
    assert np.array_equal(ends >= PRESUMABLY_YES, expected)
    assert np.array_equal(fails >= 0, ends == NO)
    for b, p in zip(*np.nonzero(fails >= 0), strict=True):
        monitor = Monitor(formulas[p])
        for time, events in given[b][: fails[b, p] + 1]:
            assert monitor.verdict != "false" or monitor.failed_at is not None
            monitor.step(events, time)
        assert monitor.verdict not in GOOD


DEADLINE = parse("G (threat_detected -> F[0,10ms] threat_mitigated)")


def test_a_deadline_is_pending_until_the_clock_passes_it() -> None:
    monitor = Monitor(DEADLINE)
    assert monitor.step({"threat_detected"}, 1_000) == "presumably_false"
    assert monitor.tick(11_000) == "presumably_false"
    assert monitor.tick(11_001) == "false"
    assert monitor.failed_at == 1


@pytest.mark.parametrize(("answer", "verdict"), [(11_000, PRESUMABLY_YES), (11_001, NO)])
def test_a_table_keeps_the_deadline_of_each_session(answer: int, verdict: int) -> None:
    monitors = Monitors([automaton(DEADLINE)], ["threat_detected", "threat_mitigated"], 2)
    one = np.array([0], np.int64)
    assert monitors.step(one, np.array([1], np.uint64), np.array([1_000])).tolist() == [[PRESUMABLY_NO]]
    assert monitors.step(one, np.array([1], np.uint64), np.array([3_000])).tolist() == [[PRESUMABLY_NO]]
    assert monitors.step(one, np.array([2], np.uint64), np.array([answer])).tolist() == [[verdict]]
    assert monitors.verdicts()[1, 0] == PRESUMABLY_YES


def test_a_tick_fails_what_is_overdue_in_every_session() -> None:
    monitors = Monitors([automaton(DEADLINE), automaton(parse("F threat_mitigated"))], ["threat_detected"], 3)
    monitors.step(np.array([0, 2]), np.array([1, 1], np.uint64), np.array([0, 5_000]))
    monitors.tick(10_001)
    assert monitors.verdicts()[:, 0].tolist() == [NO, PRESUMABLY_YES, PRESUMABLY_NO]
    monitors.forget(np.array([0]))
    assert monitors.verdicts()[0, 0] == PRESUMABLY_YES


def test_a_step_that_comes_late_counts_when_the_clock_already_stood() -> None:
    for monitor in (Monitor(DEADLINE), Monitor(DEADLINE)):
        monitor.step({"threat_detected"}, 50_000)
        assert monitor.step({"threat_mitigated"}, 10_000) == "presumably_true"
    monitor = Monitor(parse("G (a -> O[0,1ms] b)"))
    monitor.step({"b"}, 9_000)
    assert monitor.step({"a"}, 1_000) == "presumably_true"


def test_a_late_step_does_not_set_back_the_clock_of_a_table() -> None:
    monitors = Monitors([automaton(DEADLINE)], ["threat_detected", "threat_mitigated"], 1)
    one = np.array([0], np.int64)
    for mask, time in ((1, 50_000), (0, 10_000), (0, 60_001)):
        verdict = monitors.step(one, np.array([mask], np.uint64), np.array([time]))
    assert verdict.tolist() == [[NO]]
    monitors = Monitors([automaton(DEADLINE)], ["threat_detected", "threat_mitigated"], 1)
    for mask, time in ((0, 50_000), (1, 10_000), (2, 60_000)):
        verdict = monitors.step(one, np.array([mask], np.uint64), np.array([time]))
    assert verdict.tolist() == [[PRESUMABLY_YES]]


def test_the_step_of_a_failure_is_the_first_one_in_long_traces_too() -> None:
    rng = random.Random(23)
    lengths = [rng.randrange(150, 400) for _ in range(40)] + [3, 70, 5]
    steps = [[{"a"} if rng.random() < 0.01 else {"b"} for _ in range(n)] for n in lengths]
    traces = Traces.of(steps, names="ab")
    formulas = [parse("G !a"), parse("G (a -> G !b)"), parse("G (a -> F b)")]
    fails = Tables.of([automaton(one) for one in formulas], "ab").trail(traces.values, None, traces.offsets)[1]
    for b, trace in enumerate(steps):
        first = next((k for k, step in enumerate(trace) if "a" in step), -1)
        after = next((k for k, step in enumerate(trace) if 0 <= first < k and "b" in step), -1)
        assert fails[b].tolist() == [first, after, -1]


@pytest.mark.parametrize(
    ("text", "steps", "verdict"),
    [
        ("F (a & F[5us,10us] b)", (("a", 0), ("a", 4), ("b", 6)), "true"),
        ("F (a & F[5us,10us] b)", (("a", 0), ("a", 4), ("b", 12)), "true"),
        ("G (a -> F[5us,10us] b)", (("a", 0), ("a", 4), ("b", 6)), "presumably_false"),
        ("G (a -> F[5us,10us] b)", (("a", 0), ("a", 4), ("b", 9)), "presumably_true"),
        ("F (c & O[3us,5us] b)", (("b", 0), ("b", 2), ("b", 5), ("c", 7)), "true"),
        ("F (c & O[3us,5us] b)", (("b", 0), ("b", 1), ("b", 5), ("c", 7)), "presumably_false"),
    ],
)
def test_intervals_that_begin_later_keep_every_moment_that_counts(
    text: str, steps: tuple[tuple[str, int], ...], verdict: str
) -> None:
    monitor = Monitor(parse(text))
    assert [monitor.step({name}, time) for name, time in steps][-1] == verdict


def test_steps_at_the_same_time_keep_their_order() -> None:
    first, second = Monitor(parse("F (a & F[0,0] b)")), Monitor(parse("F (a & F[0,0] b)"))
    assert [first.step({"a"}, 5), first.step({"b"}, 5)] == ["presumably_false", "true"]
    assert [second.step({"b"}, 5), second.step({"a"}, 5)] == ["presumably_false", "presumably_false"]


def test_four_verdicts_are_what_they_say() -> None:
    monitor = Monitor(parse("!stop W go"))
    assert [monitor.step(events) for events in ([], ["go"], ["stop"])] == ["presumably_true", "true", "true"]
    monitor = Monitor(parse("!stop U go"))
    assert [monitor.step(events) for events in ([], ["stop"], ["go"])] == ["presumably_false", "false", "false"]


def test_memory_of_a_million_sessions_is_bounded() -> None:
    monitors = Monitors([automaton(DEADLINE)] * 10, ["threat_detected", "threat_mitigated"], 1_000_000)
    assert monitors.nbytes == 1_000_000 * (8 + 10 * 8 + 3 * 8)


def test_what_would_grow_without_end_is_refused() -> None:
    monitor = Monitor(parse("G (a -> F[1h,2h] b)"))
    for time in range(MAX_WAITING - 1):
        monitor.step({"a"}, time)
    with pytest.raises(LimitError, match=f"at most {MAX_WAITING}"):
        monitor.step({"a"}, MAX_WAITING)


def test_places_outside_the_capacity_are_refused() -> None:
    monitors = Monitors([automaton(DEADLINE)], [], 2)
    with pytest.raises(TraceError, match="outside 0"):
        monitors.step(np.array([2]), np.array([0], np.uint64), np.array([0]))
    with pytest.raises(TraceError, match="1 sessions, 0 masks"):
        monitors.step(np.array([0]), np.array([], np.uint64), np.array([0]))
