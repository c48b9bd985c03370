"""The choice itself: for each row the tiers it may go to, best first, and the first of them that the budget pays for.

Tiers that are good enough come first, cheapest first; then the others, most capable first. A row takes the first that
its tenant can still pay, row by row in order: a choice depends on the rows of the same tenant before it, and on nothing
else. Whoever is not allowed is in no list at all: a fallback cannot reach what the choice could not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from aimds.route.tiers import Tiers

I8 = npt.NDArray[np.int8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PER = 1e6
"""Tokens that a price is for."""


@dataclass(frozen=True, slots=True)
class Table:
    """T tiers as arrays: prices float64 a million tokens, ``context`` int64, ``capability`` float32, ``local`` bool."""

    input_price: F64
    output_price: F64
    context: I64
    capability: F32
    local: Flags

    @classmethod
    def of(cls, tiers: Tiers) -> Table:
        """The tiers of a file, in its order."""
        rows = tiers.tiers
        return cls(
            np.array([tier.input_price for tier in rows], np.float64),
            np.array([tier.output_price for tier in rows], np.float64),
            np.array([tier.context for tier in rows], np.int64),
            np.array([tier.capability for tier in rows], np.float32),
            np.array([tier.local for tier in rows], np.bool_),
        )

    def costs(self, input_tokens: I64, output_tokens: I64) -> F64:
        """What B rows cost with each tier, float64 (B, T)."""
        given = input_tokens[:, None] * self.input_price + output_tokens[:, None] * self.output_price
        return np.asarray(given / PER, np.float64)


def choose(
    table: Table, wanted: Flags, local_only: Flags, need: F32, tokens: I64, costs: F64, tenant: I32, left: F64
) -> tuple[I8, I8]:
    """The tier of each of B rows, and all it may go to.

    Args:
        wanted: bool (B,), False for a row that goes nowhere. local_only: bool (B,). need: float32 (B,), the complexity.
        tokens: int64 (B,), of prompt and answer. costs: float64 (B, T). tenant: int32 (B,) into ``left``, float64, what
            each tenant may still spend; it is reduced in place.

    Returns:
        the tier int8 (B,), -1 for none, and the allowed ones int8 (B, T), best first, then -1.
    """
    return _choose(wanted, local_only, need, tokens, costs, tenant, left, table.context, table.capability, table.local)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _choose(wanted, local_only, need, tokens, costs, tenant, left, context, capability, local):  # type: ignore[no-untyped-def]
    rows, count = costs.shape
    chosen = np.full(rows, -1, np.int8)
    order = np.full((rows, count), -1, np.int8)
    for row in range(rows):
        if not wanted[row]:
            continue
        n = 0
        for k in range(count):
            if (local_only[row] and not local[k]) or tokens[row] > context[k]:
                continue
            # Insertion: of equals the tier that stands first in the file stays first.
            able = capability[k] >= need[row]
            at = n
            while at > 0:
                other = order[row, at - 1]
                other_able = capability[other] >= need[row]
                if able != other_able:
                    before = able
                elif able or capability[k] == capability[other]:
                    before = costs[row, k] < costs[row, other]
                else:
                    before = capability[k] > capability[other]
                if not before:
                    break
                order[row, at] = other
                at -= 1
            order[row, at] = k
            n += 1
        for at in range(n):
            cost = costs[row, order[row, at]]
            if cost <= left[tenant[row]]:
                chosen[row] = order[row, at]
                left[tenant[row]] -= cost
                break
    return chosen, order
