from __future__ import annotations

import random
from xml.etree import ElementTree

from naive_ltl import random_formula

from aimds.ltl.automaton import automaton
from aimds.ltl.drawing import CHAR, svg
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


def test_a_label_stands_clear_of_the_line_and_of_the_loop_at_its_state() -> None:
    long = "G (injection_detected & !blocked & !escalated -> N (!tool_called W released))"
    drawn = ElementTree.fromstring(svg(automaton(parse(long)), "x"))
    name = "{http://www.w3.org/2000/svg}"
    texts = [(float(one.get("x", 0)), float(one.get("y", 0)), one.text or "") for one in drawn.iter(f"{name}text")]
    first = next(one for one in texts if one[2].startswith("injection_detected"))
    loop = next(x for x, _, text in texts if text == "0")
    assert first[0] - CHAR * len(first[2]) / 2 >= loop + 30
    steep = next(one for one in texts if one[2] == "tool_called & !released")
    assert steep[1] < next(y for _, y, text in texts if text == "2")


def test_a_drawing_follows_dark_mode_and_states_keep_dark_numbers_on_light_ground() -> None:
    drawn = svg(automaton(parse("G (a -> F b)")), "x")
    assert "prefers-color-scheme:dark" in drawn
    _, _, body = drawn.partition("</style>")
    assert "#fff" not in body
    found = ElementTree.fromstring(drawn)
    name = "{http://www.w3.org/2000/svg}text"
    numbers = [one.get("class") for one in found.iter(name) if (one.text or "").isdigit()]
    assert numbers
    assert set(numbers) == {"n"}
