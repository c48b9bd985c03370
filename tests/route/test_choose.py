from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from routed import tier

from aimds.route.choose import Table, choose
from aimds.route.tiers import Tiers

PRICES = st.sampled_from([0.0, 0.5, 1.0, 4.0])
TIER = st.tuples(st.booleans(), PRICES, PRICES, st.sampled_from([10, 100, 1000]), st.sampled_from([0.0, 0.3, 0.6, 1.0]))
ROW = st.tuples(
    st.booleans(), st.booleans(), st.sampled_from([0.0, 0.3, 0.5, 0.9]), st.integers(1, 1200), st.integers(0, 50)
)


def naive(tiers: list[Any], rows: list[Any], owner: list[int], left: list[float]) -> tuple[list[int], list[list[int]]]:
    chosen, orders = [], []
    left = list(left)
    for (wanted, private, need, given_, out), name in zip(rows, owner, strict=True):
        costs = [(given_ * one.input_price + out * one.output_price) / 1e6 for one in tiers]
        allowed = [
            k for k, one in enumerate(tiers) if wanted and (one.local or not private) and given_ + out <= one.context
        ]
        able = [k for k in allowed if np.float32(tiers[k].capability) >= np.float32(need)]
        others = [k for k in allowed if k not in able]
        order = sorted(able, key=lambda k: costs[k]) + sorted(others, key=lambda k: (-tiers[k].capability, costs[k]))
        paid = next((k for k in order if costs[k] <= left[name]), -1)
        if paid >= 0:
            left[name] -= costs[paid]
        chosen.append(paid)
        orders.append(order + [-1] * (len(tiers) - len(order)))
    return chosen, orders


# The first example compiles.
@settings(deadline=None)
@given(st.lists(TIER, min_size=1, max_size=5), st.lists(ROW, max_size=12), st.data())
def test_choice_is_that_of_a_router_that_sorts_row_by_row(
    tiers: list[Any], rows: list[Any], data: st.DataObject
) -> None:
    listed = [
        tier(f"t{i}", place="local" if own else "remote", input_price=a, output_price=b, context=c, capability=d)
        for i, (own, a, b, c, d) in enumerate(tiers)
    ]
    made = Tiers.parse({"tier": listed})
    owner = [data.draw(st.integers(0, 1)) for _ in rows]
    left = [data.draw(st.sampled_from([0.0, 0.0005, 0.002, float("inf")])) for _ in range(2)]
    table = Table.of(made)
    given_, out = (np.array([row[k] for row in rows], np.int64) for k in (3, 4))
    costs = table.costs(given_, out)
    found, order = choose(
        table,
        np.array([row[0] for row in rows], np.bool_),
        np.array([row[1] for row in rows], np.bool_),
        np.array([row[2] for row in rows], np.float32),
        given_ + out,
        costs,
        np.array(owner, np.int32),
        np.array(left),
    )
    wanted = naive(list(made.tiers), rows, owner, left)
    assert found.tolist() == wanted[0]
    assert order.tolist() == wanted[1]
