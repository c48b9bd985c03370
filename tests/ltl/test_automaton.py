from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from naive_ltl import Step, holds, random_formula, random_trace

from aimds.ltl.automaton import MAX_ATOMS, NO, VERDICTS, YES, Automaton, automaton
from aimds.ltl.core import FragmentError, LimitError
from aimds.ltl.parser import parse


def run(made: Automaton, trace: Sequence[Step]) -> int:
    """The state after ``trace``, clocks kept by hand."""
    state, clocks = made.start, [0] * len(made.limits_us)
    for time, events in trace:
        late = sum(1 << k for k, limit in enumerate(made.limits_us) if time - clocks[k] > limit)
        letter = made.letter(events) | late << len(made.atoms)
        resets = int(made.resets[state, letter])
        state = int(made.table[state, letter])
        clocks = [time if resets >> k & 1 else clock for k, clock in enumerate(clocks)]
    return state


def disagreements(count: int, seed: int, **kinds: bool) -> tuple[list[str], int]:
    rng = random.Random(seed)
    wrong, judged = [], 0
    while judged < count:
        formula = random_formula(rng, rng.randrange(1, 4), **kinds)
        try:
            made = automaton(formula)
        except FragmentError:
            assert kinds.get("timed")
            continue
        for _ in range(10):
            trace = random_trace(rng, 8)
            judged += 1
            if bool(made.accepting[run(made, trace)]) != holds(formula, trace):
                wrong.append(f"{formula} on {trace}")
    return wrong, judged


def test_automaton_accepts_what_the_definition_says() -> None:
    assert disagreements(1000, 1)[0] == []


def test_automaton_remembers_the_past_as_the_definition_says() -> None:
    assert disagreements(1000, 2, past=True)[0] == []


def test_clocks_keep_deadlines_as_the_definition_says() -> None:
    assert disagreements(1000, 3, past=True, timed=True, zero=True)[0] == []


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("true", 1),
        ("G (a -> F b)", 2),
        ("G !a", 2),
        ("F a", 2),
        ("a U b", 3),
        ("X X X a", 6),
        ("G (a -> N N b)", 5),
        ("(F a) & (F b) & (F c)", 8),
        ("G (a -> F b) & G (a -> F b)", 2),
        ("F (a & !a)", 1),
        ("(F a) & (G !a)", 1),
        ("G (a -> O b)", 3),
        ("G (a -> F[0,10ms] b)", 3),
    ],
)
def test_automaton_is_the_smallest(text: str, states: int) -> None:
    assert len(automaton(parse(text)).table) == states


def test_no_two_states_of_an_automaton_mean_the_same() -> None:
    rng = random.Random(4)
    for _ in range(100):
        made = automaton(random_formula(rng, 3, past=True))
        apart = made.accepting[:, None] != made.accepting[None, :]
        for _ in range(len(made.table)):
            apart = apart | apart[made.table[:, None, :], made.table[None, :, :]].any(2)
        assert np.array_equal(~apart, np.eye(len(made.table), dtype=np.bool_))


def test_true_and_false_are_final() -> None:
    rng = random.Random(5)
    seen = set()
    for k in range(120):
        made = automaton(random_formula(rng, 3, past=True, timed=True, zero=True) if k % 2 else random_formula(rng, 3))
        for code in (NO, YES):
            states = np.flatnonzero(made.verdicts == code)
            assert (made.verdicts[made.table[states]] == code).all()
        seen |= {VERDICTS[code] for code in made.verdicts.tolist()}
    assert seen == set(VERDICTS)


def test_limits_are_errors_that_say_what_is_too_much() -> None:
    with pytest.raises(LimitError, match="9 different events") as caught:
        automaton(parse(" | ".join("abcdefghi")))
    assert caught.value.limit == MAX_ATOMS
    with pytest.raises(LimitError, match=r"states of the automaton|alternatives"):
        automaton(parse("G (a | X X X X X X X X X X X X X (b & X X X X X X X X X X X X (a & X X X b)))"))


def test_what_a_table_cannot_keep_is_an_error_that_names_the_part() -> None:
    with pytest.raises(FragmentError, match="past may not hold one of the future") as caught:
        automaton(parse("G (a -> O F b)"))
    assert caught.value.part == "O F b"
    with pytest.raises(FragmentError, match="does not begin at 0"):
        automaton(parse("G (a -> F[1ms,2ms] b)"))
    with pytest.raises(FragmentError, match="several moments"):
        automaton(parse("F (a & F[0,5ms] b & X G[0,5ms] c)"))
