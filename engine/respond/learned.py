"""Actions that are drawn instead of fixed: for findings of chosen threat types, what the policy says or a stronger one.

What the policy itself says of a row is the floor: nothing weaker is ever drawn, so a block stays a block. Any action
that may be drawn has the probability ``explore`` or more. A draw depends on the scores of the row and on ``seed`` only:
the same text gets the same action, and a recorded verdict shows the same draw again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.config import Section
from aimds.errors import ConfigError
from aimds.respond.scored import F64, P_BLOCK, P_FLAG, RANK, Codes, Flags, Scored
from aimds.respond.settings import CATEGORIES
from aimds.schema import ACTIONS
from aimds.taxonomy import CODES, THREATS

FLOORS = ("allow", "flag", "sandwich", "escalate", "block")
"""Actions that may be drawn. Not redact: without spans it changes nothing, and rows with spans are never drawn."""
MOST_EXPLORE = 0.1
KEPT = ("audit", "notify", "review")
"""Steps that a drawn action must have where the policy's own has them."""
EVEN = 1e-6
"""Probabilities of a file may be this far from a sum of 1."""


@dataclass(frozen=True, slots=True)
class Learned:
    """``threats`` bool (T,): types that it is for · ``chances`` float64 (T, A, A): by type and by the policy's own
    action the probability of each action, 0 for what may not be drawn · ``strongest``: nothing above it is drawn,
    unless the policy says so itself · ``explore``, ``seed``: as above."""

    threats: Flags
    chances: F64
    strongest: str
    explore: float
    seed: int

    def draw(self, intended: Codes, reason: Codes, rows: Scored) -> tuple[Codes, F64]:
        """Actions int8 (B,) for B rows whose policy says ``intended`` because of ``reason``, and the probability of
        each, float64 (B,), NaN for rows where nothing is drawn.

        Drawn are findings by p-value. Not drawn are rows with personal data or a secret, which have to lose it, and
        those where a rule, the allowlist, the content policy or a failure had the word.
        """
        action, chance = intended.copy(), np.full(len(intended), np.nan)
        found = np.isin(reason, (P_BLOCK, P_FLAG)) & self.threats[rows.threat] & ~(rows.has_pii | rows.has_secret)
        chosen = np.flatnonzero(found)
        if not len(chosen):
            return action, chance
        table = self.chances[rows.threat[chosen], intended[chosen]]
        drawn = (_uniform(rows, chosen, self.seed)[:, None] >= table.cumsum(1)).sum(1)
        # Rounding may leave the last sum a little under 1.
        last = table.shape[1] - 1 - (table[:, ::-1] > 0).argmax(1)
        drawn = np.minimum(drawn, last)
        # Whatever a table holds: the policy's own action is the weakest.
        kept = RANK[drawn] < RANK[intended[chosen]]
        action[chosen] = np.where(kept, intended[chosen], drawn).astype(np.int8)
        chance[chosen] = np.where(kept, np.nan, table[np.arange(len(chosen)), drawn])
        return action, chance

    def check(self, floors: Sequence[int], steps: Mapping[str, Sequence[str]]) -> None:
        """Whether no draw leaves out a step that the policy's own action has. ``floors``: codes of such actions ·
        ``steps`` per action.

        Raises:
            ConfigError: one does.
        """
        for floor in floors:
            own = ACTIONS[floor]
            for name in (ACTIONS[code] for code in allowed(floor, ACTIONS.index(self.strongest)) if own in FLOORS):
                lost = [step for step in KEPT if step in steps[own] and step not in steps[name]]
                if lost:
                    expected = f"a list with {', '.join(lost)}, as {own} has, which it may be drawn in place of"
                    raise ConfigError(f"playbook.{name}.steps", list(steps[name]), f"{expected}; see actions.strongest")


def allowed(floor: int, strongest: int) -> list[int]:
    """Codes that may be drawn where the policy says ``floor``: it and what is stronger, up to ``strongest``."""
    codes = [ACTIONS.index(name) for name in FLOORS]
    return [code for code in codes if code == floor or RANK[floor] < RANK[code] <= RANK[strongest]]


def read_learned(top: Section) -> Learned | None:
    """The optional table ``actions`` of ``top``; None where it is missing or does not learn.

    Raises:
        ConfigError: a value that cannot be used.
    """
    if not top.has("actions"):
        return None
    part = top.section("actions")
    on = part.flag("learn")
    names = part.names("threats", CATEGORIES)
    most = part.choice("strongest", FLOORS[1:]) if part.has("strongest") else "block"
    strongest = ACTIONS.index(most)
    explore = part.number("explore", 0.0, MOST_EXPLORE, open_low=True) if part.has("explore") else 0.02
    seed = part.any("seed", "a whole number")
    if type(seed) is not int or not 0 <= seed < 1 << 63:
        raise ConfigError(part.key("seed"), seed, "a whole number from 0 up, of 63 bits")
    chances = np.zeros((len(THREATS), len(ACTIONS), len(ACTIONS)))
    for floor in range(len(ACTIONS)):
        chances[:, floor] = _first(floor, strongest, explore)
    given = part.sections("chances", names) if part.has("chances") else {}
    for name, cells in given.items():
        for at, values in cells.values.items():
            if at not in FLOORS:
                raise ConfigError(cells.key(at), values, "no such key; known here: " + ", ".join(FLOORS))
            cell, floor = Section(values, cells.key(at)), ACTIONS.index(at)
            chances[CODES[name], floor] = _cell(cell, floor, strongest, explore)
    part.end()
    if not on:
        return None
    learns = np.isin(np.arange(len(THREATS)), [CODES[name] for name in names])
    return Learned(learns, chances, most, explore, seed)


def _first(floor: int, strongest: int, explore: float) -> F64:
    """Before anything is learnt: the policy's own action, and each other with the least probability."""
    out, others = np.zeros(len(ACTIONS)), allowed(floor, strongest)
    if floor in others:
        out[others] = explore
        out[floor] = 1.0 - explore * (len(others) - 1)
    else:
        out[floor] = 1.0
    return out


def _cell(cell: Section, floor: int, strongest: int, explore: float) -> F64:
    names = [ACTIONS[code] for code in allowed(floor, strongest)]
    out = np.zeros(len(ACTIONS))
    for name in names:
        out[ACTIONS.index(name)] = cell.number(name, explore * (1 - EVEN), 1.0)
    cell.end()
    if abs(float(out.sum()) - 1.0) > EVEN:
        raise ConfigError(cell.path, float(out.sum()), "probabilities of " + ", ".join(names) + " with a sum of 1")
    return np.asarray(out / out.sum(), np.float64)


def _uniform(rows: Scored, chosen: npt.NDArray[np.intp], seed: int) -> F64:
    """A number in [0, 1) from the scores of each row that a verdict keeps exactly (splitmix64 by Steele, Lea and Flood
    2014, doi:10.1145/2660193.2660195)."""
    state = np.full(len(chosen), seed, np.uint64)
    parts = (
        rows.p_value[chosen].astype(np.float64).view(np.uint64),
        rows.harmful[chosen].astype(np.float32).view(np.uint32).astype(np.uint64),
        rows.severity[chosen].astype(np.float32).view(np.uint32).astype(np.uint64),
        (rows.threat[chosen].astype(np.uint64) << np.uint64(8)) | rows.channel[chosen].astype(np.uint64),
    )
    for part in parts:
        state = _mixed(state ^ part)
    return (state >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
