from __future__ import annotations

import random
from xml.etree import ElementTree

from naive_ltl import random_formula

from aimds.ltl.automaton import automaton
from aimds.ltl.drawing import svg
from aimds.ltl.formula import Formula
from aimds.ltl.graph import dot, edges
from aimds.ltl.monitor import Monitor
from aimds.ltl.parser import parse


def test_conditions_say_the_same_as_the_table() -> None:
    rng = random.Random(41)
    for _ in range(60):
        made = automaton(random_formula(rng, 3, past=True))
        for edge in edges(made):
            condition: Formula = parse(" | ".join(f"({one})" for one in edge.conditions))
            for letter, target in enumerate(made.table[edge.source].tolist()):
                events = {name for bit, name in enumerate(made.atoms) if letter >> bit & 1}
                assert (Monitor(condition).step(events) == "true") == (target == edge.target)


def test_a_name_with_markup_stays_text() -> None:
    made = automaton(parse('F "<b>&\\"x"'))
    drawn = svg(made, 'F "<b>"')
    assert "<b>" not in drawn
    assert ElementTree.fromstring(drawn) is not None
    assert '\\"<b>&' in dot(made, "x")


def test_the_same_automaton_is_drawn_alike() -> None:
    assert svg(automaton(parse("G (a -> F b)")), "x") == svg(automaton(parse("G (a -> F b)")), "x")
