"""The response playbook as a system, and the rules that its runs must keep."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aimds import data
from aimds.errors import ArtefactError
from aimds.ltl.lasso import holds
from aimds.ltl.modelcheck import Kripke, Lasso, counterexample
from aimds.ltl.parser import parse

MODEL: Final = "playbook.toml"


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that some run breaks: the states of that run, once and then for ever."""

    rule: str
    says: str
    stem: tuple[str, ...]
    loop: tuple[str, ...]


def system(steps: Mapping[str, Sequence[str]]) -> Kripke:
    """The runs of a playbook, ``steps`` by action, in what surrounds it."""
    model = _model()
    names, events = ["received"], [frozenset({"received"})]
    for action, taken in steps.items():
        for number, step in enumerate(taken):
            names.append(f"{action} {number + 1}: {step}")
            events.append(frozenset({step, f"action.{action}"}))
    for name, state in model["states"].items():
        names.append(name)
        events.append(frozenset(state["events"]))
    place = {name: k for k, name in enumerate(names)}
    after = [tuple(place[f"{action} 1: {taken[0]}"] for action, taken in steps.items())]
    for action, taken in steps.items():
        for number, step in enumerate(taken):
            last = number + 1 == len(taken)
            targets = model["after"][step] if last else [f"{action} {number + 2}: {taken[number + 1]}"]
            after.append(tuple(place[target] for target in targets))
    after += [tuple(place[target] for target in state["next"]) for state in model["states"].values()]
    return Kripke(tuple(names), tuple(events), tuple(after))


def breaches(steps: Mapping[str, Sequence[str]]) -> tuple[int, list[Breach]]:
    """How many rules there are, and those that a run of the playbook breaks. Each run is checked by the definition."""
    made, out = system(steps), []
    rules = _model()["rules"]
    for name, rule in rules.items():
        formula = parse(rule["formula"])
        found = counterexample(formula, made)
        if found is not None:
            if not replays(found, made) or holds(formula, *(_events(part, made) for part in (found.stem, found.loop))):
                raise ArtefactError(MODEL, f"the run that breaks {name} does not stand up to its check")
            states = (tuple(made.names[k] for k in part) for part in (found.stem, found.loop))
            out.append(Breach(name, rule["says"], *states))
    return len(rules), out


def replays(found: Lasso, made: Kripke) -> bool:
    """Whether ``found`` is a run of ``made``: it begins at the start, and each state leads to the next."""
    run = (*found.stem, *found.loop, found.loop[0])
    return run[0] == 0 and all(b in made.after[a] for a, b in itertools.pairwise(run))


def _events(states: Sequence[int], made: Kripke) -> list[frozenset[str]]:
    return [made.events[k] for k in states]


def _model() -> dict[str, Any]:
    model: dict[str, Any] = tomllib.loads(data.read_bytes(MODEL).decode())
    return model
