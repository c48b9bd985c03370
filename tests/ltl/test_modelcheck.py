from __future__ import annotations

import itertools
import random

import pytest
from naive_ltl import holds as finite
from naive_ltl import random_formula

from aimds.ltl.core import FragmentError
from aimds.ltl.lasso import holds
from aimds.ltl.modelcheck import Kripke, Lasso, counterexample
from aimds.ltl.parser import parse
from aimds.ltl.playbook import breaches, replays, system
from aimds.ltl.traces import TraceError
from aimds.respond.policy import Policy

STEPS = Policy.load().playbook.steps
NAMES = ("a", "b")


def random_system(rng: random.Random) -> Kripke:
    n = rng.randrange(1, 5)
    events = tuple(frozenset(name for name in NAMES if rng.random() < 0.5) for _ in range(n))
    after = tuple(tuple(rng.sample(range(n), rng.randrange(1, min(n, 2) + 1))) for _ in range(n))
    return Kripke(tuple(f"s{k}" for k in range(n)), events, after)


def lassos(made: Kripke, longest: int) -> list[Lasso]:
    """Every lasso of at most ``longest`` states."""
    out = []
    paths = [(0,)]
    for _ in range(longest):
        out += [Lasso(p[:k], p[k:]) for p in paths for k in range(len(p)) if p[k] in made.after[p[-1]]]
        paths = [(*p, k) for p in paths for k in made.after[p[-1]]]
    return out


def events(made: Kripke, states: tuple[int, ...]) -> list[frozenset[str]]:
    return [made.events[k] for k in states]


def test_a_counterexample_is_a_run_that_breaks_the_formula_and_none_is_overlooked() -> None:
    rng = random.Random(61)
    broken = 0
    for _ in range(250):
        formula = random_formula(rng, rng.randrange(1, 4), names=NAMES, past=True)
        made = random_system(rng)
        found = counterexample(formula, made)
        if found is not None:
            broken += 1
            assert replays(found, made)
            assert not holds(formula, events(made, found.stem), events(made, found.loop)), str(formula)
        else:
            for one in lassos(made, 5):
                assert holds(formula, events(made, one.stem), events(made, one.loop)), f"{formula} on {one}"
    assert 60 < broken < 220


def test_a_lasso_is_judged_like_a_long_finite_run_where_its_end_does_not_matter() -> None:
    rng = random.Random(62)
    for _ in range(150):
        formula = random_formula(rng, 2, names=NAMES, past=True)
        made = random_system(rng)
        one = rng.choice(lassos(made, 4))
        run = itertools.chain(one.stem, *itertools.repeat(one.loop, 12))
        # Two levels of X look no further than two states; F and G have seen the whole circle by then.
        trace = [(0, made.events[k]) for k in run]
        near = [finite(formula, trace[:cut]) for cut in range(len(trace) - 2 * len(one.loop), len(trace))]
        if len(set(near)) == 1 and "U" not in str(formula):
            assert holds(formula, events(made, one.stem), events(made, one.loop)) == near[0], f"{formula} on {one}"


def test_the_shipped_playbook_keeps_its_rules() -> None:
    rules, broken = breaches(STEPS)
    assert rules >= 6
    assert broken == []


@pytest.mark.parametrize(
    ("action", "steps", "rules"),
    [
        ("escalate", ("audit", "review", "forward"), {"escalated_waits_for_a_person"}),
        ("block", ("audit", "forward"), {"blocked_stays_out"}),
        ("block", ("refuse",), {"refusal_is_audited"}),
        ("escalate", ("audit", "hold"), {"escalated_is_reviewed"}),
        ("redact", ("audit", "forward"), {"redacted_before_forwarded"}),
        ("sandwich", ("redact", "forward"), {"redacted_before_forwarded"}),
    ],
)
def test_a_playbook_that_breaks_a_rule_is_shown_with_a_run(
    action: str, steps: tuple[str, ...], rules: set[str]
) -> None:
    _, broken = breaches({**STEPS, action: steps})
    assert {one.rule for one in broken} == rules
    for one in broken:
        assert one.stem[:1] == ("received",) or one.loop[0] == "received"
        assert any(name.startswith(f"{action} 1: {steps[0]}") for name in (*one.stem, *one.loop))


def test_a_review_that_never_comes_leaves_a_request_unanswered() -> None:
    made = system(STEPS)
    waiting = made.names.index("waiting")
    after = tuple((*targets, waiting) if k == waiting else targets for k, targets in enumerate(made.after))
    found = counterexample(parse("G (received -> F (forward | refuse))"), Kripke(made.names, made.events, after))
    assert found is not None
    assert set(found.loop) == {waiting}


def test_intervals_and_dead_ends_are_refused() -> None:
    with pytest.raises(FragmentError, match="no times"):
        counterexample(parse("F[0,1s] a"), Kripke(("s",), (frozenset(),), ((0,),)))
    with pytest.raises(TraceError, match="leads to nothing"):
        Kripke(("s",), (frozenset(),), ((),))
