"""CHOICES, the table that routing answers with, and a sentence that says why a row was chosen so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.route.tiers import Tiers

REASONS = (
    *("cheapest", "kept_local", "stretched", "saving", "cache"),
    *("blocked", "escalated", "held", "unjudged", "flagged", "unmitigated", "no_text", "no_prompt"),
    *("private", "too_long", "budget"),
)
"""The first five are answered, the others go nowhere."""
ANSWERED = REASONS[:5]
SENDS = ("nothing", "text", "mitigated_text")
CACHE = ("barred", "miss", "exact", "near")
_ENUM = pa.dictionary(pa.int8(), pa.string())

CHOICES = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("tenant", pa.string()),
        pa.field("tier", _ENUM),
        pa.field("reason", _ENUM, nullable=False),
        pa.field("sends", _ENUM, nullable=False),
        pa.field("private", pa.bool_(), nullable=False),
        pa.field("complexity", pa.float32(), nullable=False),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("cost", pa.float64(), nullable=False),
        pa.field("strongest_cost", pa.float64(), nullable=False),
        pa.field("cache", _ENUM, nullable=False),
        pa.field("fallbacks", pa.list_(pa.string()), nullable=False),
    ]
)
"""``tier`` is null for a row that goes nowhere or that the cache answers. ``sends``: the column of the verdicts whose
text is sent. ``strongest_cost``: what the most capable tier would have cost, 0 for a row that is not answered.
``fallbacks``: where the row may go if its tier fails, in that order; privacy and context of each were checked."""

_WHY = {
    "cheapest": "the cheapest that can do it",
    "kept_local": "private, so the cheapest local one that can do it",
    "stretched": "none that is allowed can do it, so the most capable of those",
    "saving": "the budget does not pay for a better one",
    "cache": "answered before",
    "blocked": "the prompt is blocked",
    "escalated": "a person has to decide first",
    "held": "the session is held",
    "unjudged": "it could not be judged",
    "flagged": "flagged prompts go nowhere",
    "unmitigated": "there is no mitigated text to send",
    "no_text": "there is no text",
    "no_prompt": "a system or assistant text asks no model on its own",
    "private": "private, and no local tier can take it",
    "too_long": "longer than the context of every tier that is allowed",
    "budget": "the budget of the tenant is spent",
}


def explain(choice: Mapping[str, Any], tiers: Tiers) -> str:
    """Why a row of CHOICES was chosen so, and what it would have cost otherwise, in one line."""
    why = _WHY[choice["reason"]]
    if choice["reason"] not in ANSWERED:
        return f"nowhere: {why}"
    strongest = tiers.tiers[tiers.strongest].name
    other = f"{strongest} would have cost {money(choice['strongest_cost'])}"
    if choice["reason"] == "cache":
        return f"cache ({choice['cache']}): {why}; {other}"
    tier = tiers.named(choice["tier"])
    # Compared as float32, as the choice was.
    able = ">=" if np.float32(tier.capability) >= np.float32(choice["complexity"]) else "<"
    sums = f"capability {tier.capability:.2f} {able} complexity {choice['complexity']:.2f}"
    line = f"{tier.name}: {why} ({sums}); {money(choice['cost'])} for about {choice['input_tokens']} + "
    line += f"{choice['output_tokens']} tokens"
    return line if tier.name == strongest else f"{line}; {other}"


def money(amount: float) -> str:
    """``amount`` with four digits that count, and no more than a person needs."""
    return f"{amount:,.2f}" if amount >= 100 or amount == 0 else f"{amount:.4g}" if amount >= 1e-4 else f"{amount:.2e}"
