"""The promotion gate: a candidate passes if held-out attacks are caught more often and benign texts not bothered more.

Both are judged by bounds, not by point estimates, so little evidence never passes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.learn import bounds
from aimds.learn.bounds import CONFIDENCE, Value

F64 = npt.NDArray[np.float64]
LEAST_EFFECTIVE = 100.0
"""Under so many effective rows the normal approximation of a policy's value is no ground for anything."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest shares of benign texts that may be flagged or blocked anew, at 95 % confidence."""

    flag: float = 0.01
    block: float = 0.002

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < 1:
                raise ConfigError(f"limit.{name}", value, "a share above 0 and below 1")


@dataclass(frozen=True, slots=True)
class Levels:
    """p-values at which a text is flagged and blocked."""

    flag: float = 0.01
    block: float = 0.001


@dataclass(frozen=True, slots=True)
class Check:
    """One condition and, in words, what was found."""

    name: str
    passed: bool
    says: str


def held_out(before: F64, after: F64, old: Levels, new: Levels) -> dict[str, Any]:
    """What p-values of N attacks that were not taught say, float64 (N,), NaN for one that could not be judged.

    ``better``: of the attacks whose outcome changes, the share that is newly caught is at least this at 95 %.
    """
    was, now = before <= old.flag, after <= new.flag
    gained, lost = int((now & ~was).sum()), int((was & ~now).sum())
    n = len(was)
    return {
        "attacks": n,
        "before": int(was.sum()),
        "after": int(now.sum()),
        "blocked_before": int((before <= old.block).sum()),
        "blocked_after": int((after <= new.block).sum()),
        "gained": gained,
        "lost": lost,
        "gain": (gained - lost) / n if n else 0.0,
        "better": bounds.lower(gained, gained + lost),
    }


def canary(before: F64, after: F64, old: Levels, new: Levels) -> dict[str, Any]:
    """What p-values of N benign texts that were not taught say, as for `held_out`; bounds at 95 %."""
    n = len(before)
    out: dict[str, Any] = {"texts": n}
    for name in ("flag", "block"):
        was, now = before <= getattr(old, name), after <= getattr(new, name)
        added, there = int((now & ~was).sum()), int(now.sum())
        out[name] = {
            "before": int(was.sum()),
            "after": there,
            "added": added,
            "added_bound": bounds.upper(added, n),
            "bound": bounds.upper(there, n),
        }
    return out


def checks(held: dict[str, Any], benign: dict[str, Any], limits: Limits) -> tuple[Check, ...]:
    """The conditions for a detector: better on held-out attacks, and few benign texts flagged or blocked anew."""
    changed = held["gained"] + held["lost"]
    words = (
        f"of {held['attacks']:,} held-out attacks {held['before']:,} were caught before, {held['after']:,} after: "
        f"{held['gained']:,} gained, {held['lost']:,} lost"
    )
    if held["better"] <= 0.5:
        words += "; too few to say that it is better" if held["gained"] > held["lost"] else "; it is no better"
        if held["gained"] > held["lost"] and changed < 5:
            words += " (with none lost, at least 5 must be gained)"
    out = [Check("held-out gain", held["better"] > 0.5, words)]
    for name in ("flag", "block"):
        found, limit, n = benign[name], getattr(limits, name), benign["texts"]
        verb = "flagged" if name == "flag" else "blocked"
        bound = f"at most {found['added_bound']:.2%} at {CONFIDENCE:.0%} confidence{bounds.in_short(found['added'], n)}"
        words = f"{found['added']:,} of {n:,} benign texts {verb} anew, {bound}; the limit is {limit:.2%}"
        passed = n > 0 and found["added_bound"] <= limit
        if not passed and not found["added"]:
            words += f": it takes {bounds.needed(limit):,} texts to show"
        out.append(Check(f"benign texts {verb}", passed, words))
    return tuple(out)


def policy_check(value: Value) -> Check:
    """The condition for a policy over responses: the doubly robust lower bound of its gain is above 0."""
    enough = value.effective >= LEAST_EFFECTIVE
    words = (
        f"gain {value.gain:+.4f} a choice, at least {value.lower:+.4f} at {CONFIDENCE:.0%} confidence (doubly robust); "
        f"the log says as much as {value.effective:,.0f} rows of equal weight"
    )
    if not enough:
        words += f", and {LEAST_EFFECTIVE:,.0f} are needed"
    return Check("value of the policy", enough and value.lower > 0, words)
