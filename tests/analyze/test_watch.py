"""What is said live of sessions is what is said of the finished log, in any batches; what cannot be said is told."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from naive_ltl import holds, random_formula
from verdict_factory import START, attack, random_rows, row, table

from aimds.analyze.watch import Watch
from aimds.errors import ConfigError
from aimds.ltl.automaton import automaton
from aimds.ltl.core import FragmentError
from aimds.ltl.formula import Formula
from aimds.ltl.judge import Judge
from aimds.ltl.monitor import Monitor, rests
from aimds.ltl.parser import parse
from aimds.ltl.policies import TracePolicies, TracePolicy
from aimds.ltl.sessions import sessions
from aimds.respond.violations import FORGOTTEN, TOO_MUCH
from aimds.schema import VERDICTS

NAMES = ("threat_detected", "tool_called", "blocked", "released")


def policies(*formulas: Formula | str) -> TracePolicies:
    made = []
    for number, given in enumerate(formulas):
        formula = parse(given) if isinstance(given, str) else given
        try:
            table = automaton(formula)
        except FragmentError:
            table = None
        made.append(TracePolicy(f"p{number}", "", str(formula), formula, table, ()))
    return TracePolicies(tuple(made), "1")


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    whole = table(rows).select(VERDICTS.names).cast(VERDICTS).combine_chunks()
    return whole.to_batches()[0]


def nothing(n: int) -> pa.Array:
    return pa.nulls(n, pa.list_(pa.string()))


def live(watch: Watch, rows: list[dict[str, Any]], events: pa.Array, cuts: list[int]) -> list[list[str]]:
    whole, out = batch(rows), [[] for _ in rows]  # type: ignore[var-annotated]
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        found = watch.observe(whole.slice(begin, end - begin), events.slice(begin, end - begin), begin, 0)
        assert found.unjudged == {}
        for step, place in sorted(found.broken):
            out[begin + step].append(watch.names[place])
    return out


def offline(given: TracePolicies, rows: list[dict[str, Any]], events: pa.Array) -> list[list[str]]:
    judge, out = Judge(given), [[] for _ in rows]  # type: ignore[var-annotated]
    found = sessions(batch(rows), judge.names, events)
    places = {policy.name: place for place, policy in enumerate(given.policies)}
    told = []
    for one in judge.judge(found)[0]:
        at = int(found.rows[found.traces.offsets[one.session] + one.step])
        if not one.open or found.ids[one.session] is None:
            told.append((at, places[one.policy], one.policy))
    for at, _, name in sorted(told):
        out[at].append(name)
    return out


def talk(seed: int, n: int, who: int) -> tuple[list[dict[str, Any]], pa.Array]:
    """Rows in the order in which they came, and what their requests name."""
    rng, rows = random.Random(seed), random_rows(n, seed)
    for k, one in enumerate(rows):
        session = rng.randrange(who)
        seconds = 20 * k + rng.choice([0, 0, -300])
        one |= {
            "session_id": f"s{session}" if session else None,
            "turn": None,
            "ts": START + timedelta(seconds=seconds),
        }
        one |= {"tenant": rng.choice(["a", "b"]) if session < 3 else "a"}
    rows.sort(key=lambda one: one["ts"])
    return rows, pa.array([rng.choice([None, [], ["released"], ["x"]]) for _ in rows], pa.list_(pa.string()))


def cut(seed: int, n: int) -> list[int]:
    rng = random.Random(seed)
    return sorted(rng.sample(range(1, n), min(9, n - 1)))


@pytest.mark.parametrize("seed", range(3))
def test_live_says_what_the_finished_log_says(seed: int) -> None:
    rows, events = talk(seed, 700, 60)
    shipped = TracePolicies.load()
    found = live(Watch(shipped), rows, events, cut(seed, len(rows)))
    assert found == offline(shipped, rows, events)
    assert len({name for names in found for name in names}) > 3


def test_live_says_so_of_any_formulas() -> None:
    rng = random.Random(5)
    for seed in range(40):
        given = policies(
            *(random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True, timed=True) for _ in range(6))
        )
        rows, events = talk(seed, 60, 6)
        assert live(Watch(given), rows, events, cut(seed, len(rows))) == offline(given, rows, events), seed


def test_rows_without_a_time_are_the_next_steps_live_and_in_the_log() -> None:
    rng = random.Random(6)
    for seed in range(20):
        given = policies(*(random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True) for _ in range(6)))
        rows, events = talk(seed, 80, 6)
        for one in rows:
            one["ts"] = None if rng.random() < 0.3 else one["ts"]
        assert live(Watch(given), rows, events, cut(seed, len(rows))) == offline(given, rows, events), seed


def test_what_rests_is_not_changed_by_time_or_by_steps_without_events() -> None:
    assert rests(parse("G (a -> F b)"))
    assert rests(parse("G (a & O[1us,1min] a -> F[0,1s] b)"))
    assert not rests(parse("G[1h,inf] a"))
    assert not rests(parse("F[0,1h] a"))
    assert not rests(parse("X a"))
    rng = random.Random(7)
    resting = 0
    while resting < 150:
        formula = random_formula(rng, rng.randrange(1, 4), past=True, timed=True)
        if not rests(formula):
            continue
        resting += 1
        quiet = [(10 ** rng.randrange(9), frozenset[str]()) for _ in range(rng.randrange(1, 5))]
        quiet.sort()
        loud = [
            (quiet[-1][0] + 10 ** rng.randrange(9), frozenset(rng.sample("abc", rng.randrange(4)))) for _ in range(3)
        ]
        loud.sort(key=lambda one: one[0])
        monitor = Monitor(formula)
        monitor.step((), -(1 << 61))
        for n, (time, events) in enumerate(loud, 1):
            verdict = monitor.step(events, time)
            assert (verdict in ("true", "presumably_true")) == holds(formula, quiet + loud[:n]), formula


def test_a_violation_is_told_once_and_at_its_row() -> None:
    rows = [attack(k, "jailbreak", "flag", session_id="s", turn=k, channel="tool") for k in range(6)]
    given = policies("G (tool_called -> X X X true)", "G !tool_called")
    assert live(Watch(given), rows, nothing(6), [2, 3]) == [["p1"], [], [], [], [], []]


def test_sessions_make_room_and_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(
        policies("G (tool_called -> H !tool_called | !O tool_called)", "G (tool_called -> Z H !tool_called)"),
        capacity=2,
    )
    rows = [row(k, session_id=name, channel="tool") for k, name in enumerate("abca")]
    assert live(watch, rows, nothing(4), [1, 2, 3])[3] == ["p0"]
    assert len(watch) == 2
    assert live(watch, [row(9, session_id="a", channel="tool")], nothing(1), [])[0] == ["p1"]
    size = watch.nbytes
    live(watch, [row(k, session_id=f"n{k}") for k in range(50)], nothing(50), [])
    assert (len(watch), watch.nbytes) == (2, size)


def test_a_session_that_was_not_seen_for_long_is_forgotten() -> None:
    watch = Watch(policies("G (tool_called -> Z H !tool_called)"), max_age_s=10.0)
    for now, broken in ((0.0, []), (5.0, [(0, 0)]), (30.0, [])):
        one = batch([row(0, session_id="s", channel="tool")])
        assert watch.observe(one, nothing(1), now, 0).broken == broken
    with pytest.raises(ConfigError, match="max_age_s"):
        Watch(policies("G a"), max_age_s=0)


def test_monitors_of_forgotten_sessions_go_though_nothing_comes_in() -> None:
    watch = Watch(policies(TIMED), max_age_s=10.0)
    watch.observe(batch([attack(0, "jailbreak", "flag", session_id="s")]), nothing(1), 0.0, 0)
    watch.forget(5.0)
    assert len(watch._running) == len(watch) == 1
    watch.forget(20.0)
    assert len(watch._running) == len(watch) == 0


TIMED = "G (threat_detected & O[1us,1min] threat_detected -> rate_limited)"


def test_what_had_to_be_forgotten_is_told_at_its_next_row() -> None:
    watch = Watch(policies(TIMED), most_monitors=2)
    rows = [attack(k, "jailbreak", "flag", session_id=f"s{k % 3}", ts=START + timedelta(seconds=k)) for k in range(6)]
    found = watch.observe(batch(rows), nothing(6), 0.0, 0)
    assert found.unjudged == {FORGOTTEN: [(3, 0)]}
    assert found.broken == [(4, 0), (5, 0)]
    assert watch.observe(batch(rows[:1]), nothing(1), 0.0, 0).unjudged == {}
    assert watch.unjudged == {"p0": 1}
    assert watch.broken == {"p0": 2}


def test_a_session_with_too_much_to_remember_is_told_so() -> None:
    watch = Watch(policies("G (threat_detected -> F[1h,2h] released)"))
    rows = [attack(0, "jailbreak", "flag", session_id="s", ts=START + timedelta(seconds=k)) for k in range(250)]
    found = watch.observe(batch(rows), nothing(250), 0.0, 0)
    assert list(found.unjudged) == [TOO_MUCH]
    assert len(found.unjudged[TOO_MUCH]) == 1
    assert found.broken == []


def test_sessions_in_which_nothing_happens_have_no_monitor() -> None:
    watch = Watch(policies(TIMED))
    live(watch, [row(k, session_id=f"s{k}") for k in range(500)], nothing(500), [])
    assert len(watch._running) == 0


def test_rows_without_a_time_happen_when_they_come() -> None:
    watch = Watch(policies(TIMED))
    for minute, broken in ((0, []), (2, []), (2.5, [(0, 0)])):
        one = batch([attack(0, "jailbreak", "flag", session_id="s", ts=None)])
        assert watch.observe(one, nothing(1), 0.0, int(minute * 60e6)).broken == broken


def test_many_sessions_fit_into_few_bytes() -> None:
    assert Watch(TracePolicies.load(), capacity=10_000).nbytes / 10_000 < 120
    assert np.isfinite(Watch(TracePolicies.load(), capacity=10).nbytes)


def ended(watch: Watch, *, over: bool = False) -> list[tuple[str | None, str, str | None, tuple[str, ...]]]:
    return [(one.tenant, one.session_id, one.request_id, one.policies) for one in watch.owed(over=over)]


def open_ends(given: TracePolicies, rows: list[dict[str, Any]], events: pa.Array) -> set[tuple[str, str, str]]:
    """Of sessions, what only their end breaks: tenant, session, policy."""
    judge = Judge(given)
    found = sessions(batch(rows), judge.names, events)
    out = set()
    for one in judge.judge(found)[0]:
        at = rows[int(found.rows[found.traces.offsets[one.session] + one.step])]
        if one.open and found.ids[one.session] is not None:
            out.add((at["tenant"], at["session_id"], one.policy))
    return out


@pytest.mark.parametrize("seed", range(4))
def test_what_is_owed_at_the_end_is_what_the_finished_log_says_is_broken_by_it(seed: int) -> None:
    rng = random.Random(seed)
    formulas = [random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True, timed=True) for _ in range(8)]
    given = policies(*formulas, "G (threat_detected -> F released)", "F[1us,1h] blocked")
    rows, events = talk(seed, 200, 20)
    watch = Watch(given)
    live(watch, rows, events, cut(seed, len(rows)))
    assert ended(watch) == []
    found = ended(watch, over=True)
    told = {(tenant, session, name) for tenant, session, _, names in found for name in names}
    assert told == open_ends(given, rows, events)
    assert len(told) > 5
    assert sum(watch.owing.counts.values()) == len(told)
    last = {(one["tenant"], one["session_id"]): one["request_id"] for one in rows}
    assert all(last[tenant, session] == request for tenant, session, request, _ in found)
    assert ended(watch, over=True) == []


def test_a_session_that_is_not_seen_for_long_or_makes_room_is_said_to_end() -> None:
    given = policies("G (threat_detected -> F tool_called)", "G (threat_detected -> F[1us,1h] tool_called)")
    watch = Watch(given, capacity=2, max_age_s=10)
    for place, name in enumerate(["s", "t", "u"]):
        one = attack(session_id=name, tenant=None, turn=None, request_id=f"r{name}", channel="user")
        watch.observe(batch([one]), nothing(1), place, 0)
    assert ended(watch) == [(None, "s", "rs", ("p0", "p1"))]
    later = row(1, session_id="t", tenant=None, turn=None, channel="tool")
    watch.observe(batch([later]), nothing(1), 3, 0)
    watch.forget(12.5)
    assert ended(watch) == [(None, "u", "ru", ("p0", "p1"))]
    assert ended(watch, over=True) == []
