from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_ltl import random_formula

from aimds.ltl.formula import Atom, Binary, Constant, Formula, FormulaError, Interval, Unary, atoms, is_timed
from aimds.ltl.parser import MAX_DEPTH, parse

A, B, C = Atom("a"), Atom("b"), Atom("c")


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("a & b | c", Binary("|", Binary("&", A, B), C)),
        ("a -> b -> c", Binary("->", A, Binary("->", B, C))),
        ("a & b & c", Binary("&", Binary("&", A, B), C)),
        ("a U b U c", Binary("U", A, Binary("U", B, C))),
        ("!a U b & c", Binary("&", Binary("U", Unary("!", A), B), C)),
        ("G a -> b", Binary("->", Unary("G", A), B)),
        ("X N Y Z a", Unary("X", Unary("N", Unary("Y", Unary("Z", A))))),
        ("F[0,10ms] a", Unary("F", A, Interval(0, 10_000))),
        ("a S[1s,inf] b", Binary("S", A, B, Interval(1_000_000, None))),
        ("O [ 2min , 1h ] a", Unary("O", A, Interval(120_000_000, 3_600_000_000))),
        ('"tool: rm -rf" | "U"', Binary("|", Atom("tool: rm -rf"), Atom("U"))),
        ("threat.jailbreak", Atom("threat.jailbreak")),
        ("true <-> false", Binary("<->", Constant(True), Constant(False))),
        (r'"a \"b\" \\"', Atom('a "b" \\')),
    ],
)
def test_precedence_and_grouping_are_those_of_the_table(text: str, formula: Formula) -> None:
    assert parse(text) == formula


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("", 0, "an event"),
        ("a &", 3, "an event"),
        ("a b", 2, "the end"),
        ("(a & b", 6, ") for the ( in column 1"),
        ("F[0,10] a", 6, "a unit after 10"),
        ("F[0 10ms] a", 4, ","),
        ("F[5ms,1ms] a", 6, "not before its beginning"),
        ("X[0,1s] a", 1, "X takes none"),
        ("G (a -> Q b)", 8, "an event"),
        ('G "a', 2, "closing"),
        ('""', 0, "between the quotes"),
        ("a # b", 2, "no formula holds '#'"),
        ("F[0,99999999999999999999s] a", 4, "at most"),
        ("F[x,1s] a", 2, "a time"),
    ],
)
def test_an_error_points_at_its_place_and_says_what_was_expected(text: str, place: int, words: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert caught.value.place == place
    assert words in caught.value.expected
    assert caught.value.shown.split("\n")[1] == " " * place + "^"


def test_the_caret_stands_under_its_place_in_a_formula_of_several_lines() -> None:
    with pytest.raises(FormulaError) as caught:
        parse("G (a ->\n   b c)")
    assert caught.value.shown == "   b c)\n     ^"


@pytest.mark.parametrize(
    "text", ["!" * 500 + "a", "(" * 500 + "a" + ")" * 500, "a" + " & a" * 500, "a" + " U a" * 500, "a" * 30_000]
)
def test_what_is_nested_too_deep_is_an_error(text: str) -> None:
    with pytest.raises(FormulaError, match=f"nested at most {MAX_DEPTH}|at most 20,000"):
        parse(text)


@given(st.integers(0, 1 << 30))
def test_printing_and_parsing_gives_the_formula_back(seed: int) -> None:
    rng = random.Random(seed)
    names = ("a", "b.c", "true", "F", "tool: x", 'q"\\', "ü", "inf", "ms")
    formula = random_formula(rng, rng.randrange(6), names=names, past=True, timed=True, mixed=True)
    assert parse(str(formula)) == formula


@given(st.text(alphabet='abUXFG!&|()[]<->,"0123ms \\', max_size=40))
def test_any_text_is_a_formula_or_an_error_with_a_place(text: str) -> None:
    try:
        formula = parse(text)
    except FormulaError as error:
        formula, place = None, error.place
    assert parse(str(formula)) == formula if formula is not None else 0 <= place <= len(text)


def test_atoms_are_named_once_in_their_order() -> None:
    formula = parse("G (b -> F[0,1s] (a & b))")
    assert atoms(formula) == ("b", "a")
    assert is_timed(formula)
    assert not is_timed(parse("G a"))
