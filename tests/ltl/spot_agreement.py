"""Our automata against Spot's on random formulas: `python tests/ltl/spot_agreement.py [SECONDS]`.

Spot (the package spottl, GPL) is needed by this script alone; without it, the script says so and ends well. For each
formula both automata read the same random traces.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from naive_ltl import random_formula, random_trace

from aimds.ltl.automaton import automaton
from aimds.ltl.formula import Atom, Constant, Formula, Unary


def theirs(formula: Formula) -> str:
    """``formula`` in Spot's syntax: strong next is X[!], weak next X."""
    if isinstance(formula, Constant):
        return "1" if formula.value else "0"
    if isinstance(formula, Atom):
        return formula.name
    if isinstance(formula, Unary):
        operator = {"X": "X[!]", "N": "X"}.get(formula.operator, formula.operator)
        return f"{operator}({theirs(formula.operand)})"
    return f"({theirs(formula.left)}) {formula.operator} ({theirs(formula.right)})"


def main(seconds: float) -> int:
    """Exit code 1 where the two disagree."""
    try:
        import spot
    except ImportError:
        print("SKIPPED spot: not installed (pip install spottl, in an environment of its own)")
        return 0
    rng = random.Random(51)
    formulas = words = wrong = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        formula = random_formula(rng, rng.randrange(1, 5))
        ours = automaton(formula)
        made = spot.translate(spot.from_ltlf(theirs(formula)), "small")
        formulas += 1
        for _ in range(8):
            trace = random_trace(rng, 7)
            state = ours.start
            for _, events in trace:
                state = int(ours.table[state, ours.letter(events)])
            letters = ("&".join([*(n if n in e else f"!{n}" for n in "abcd"), "alive"]) for _, e in trace)
            word = spot.parse_word(";".join(letters) + ";cycle{!alive}", made.get_dict())
            wrong += made.intersects(word.as_automaton()) != bool(ours.accepting[state])
            words += 1
    print(f"{formulas} formulas, {words} traces: {wrong} disagreements")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0))
