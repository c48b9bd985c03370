"""Which model tier a row may go to, beside its verdict: for rows that ask for it alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from aimds.errors import AimdsError
from aimds.gateway.pieces import LOCAL_TIERS, Piece
from aimds.gateway.problem import Problem
from aimds.gateway.rows import encoded
from aimds.metrics import Metrics
from aimds.route.choices import CHOICES
from aimds.route.ledger import Ledger
from aimds.route.router import NEEDED, Router
from aimds.route.tiers import Tiers
from aimds.schema import VERDICTS

TOLD = tuple(name for name in CHOICES.names if name not in ("request_id", "tenant", "cache"))
"""Fields of a choice: the first two stand in the verdict, and a gateway keeps no answers."""
_READ = (*NEEDED, "mitigated_text")
_PASSED = {
    "request_id": "",
    "channel": "user",
    "action": "allow",
    "session_action": "none",
    "status": "ok",
    "spans": [],
}


class Routing:
    """Chooses among ``tiers`` and books what it costs, by estimate, on the budget of the tenant.

    Args:
        metrics: counted into.
        wall: seconds since 1970, for the budgets.
        ledger: what tenants have spent; by default a new one with the budgets of ``tiers``.
    """

    def __init__(
        self,
        tiers: Tiers,
        metrics: Metrics,
        *,
        wall: Callable[[], float] = time.time,
        ledger: Ledger | None = None,
    ) -> None:
        self.router, self._metrics, self._wall = Router(tiers, ledger), metrics, wall
        # What is compiled at its first use is not compiled while somebody waits; nothing is booked here.
        warm = pa.RecordBatch.from_pylist([_PASSED], schema=pa.schema([VERDICTS.field(name) for name in _READ]))
        other, texts = Router(tiers), pa.array(["a"], pa.large_string())
        other.route(warm, now=0.0, standing=other.standing(warm, texts=texts))

    def __call__(
        self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, pieces: Sequence[Piece], answers: Sequence[Any]
    ) -> list[Any]:
        """The ``answers`` of ``pieces``, JSON lines, with a member ``route`` in those that ask for a tier.

        ``requests`` and ``verdicts`` are all rows of the pieces, in order. A piece whose tier cannot be chosen has a
        Problem in the place of its answer.
        """
        out, chosen, start = list(answers), [], 0
        for place, piece in enumerate(pieces):
            if piece.tiers:
                chosen.append((place, start))
            start += piece.count
        if not chosen:
            return out
        asking = [pieces[place] for place, _ in chosen]
        rows = np.concatenate([np.arange(first, first + pieces[place].count) for place, first in chosen])
        local = np.repeat([piece.tiers == LOCAL_TIERS for piece in asking], [piece.count for piece in asking])
        try:
            found = iter(self._choices(requests, verdicts, rows, local))
        except AimdsError as error:
            problem = Problem("internal", f"a tier could not be chosen: {error}")
            for place, _ in chosen:
                out[place] = problem
            return out
        for place, _ in chosen:
            out[place] = [line[:-1] + b',"route":' + encoded(next(found)) + b"}" for line in out[place]]
        return out

    def _choices(
        self, requests: pa.RecordBatch, verdicts: pa.RecordBatch, rows: Any, local: Any
    ) -> list[dict[str, Any]]:
        index = pa.array(rows)
        wanted = verdicts.select(list(_READ)).take(index)
        standing = self.router.standing(wanted, private=local, texts=requests.column("text").take(index))
        choices = self.router.route(wanted, now=self._wall(), standing=standing)
        told: list[dict[str, Any]] = choices.select(list(TOLD)).to_pylist()
        for one in told:
            self._metrics.routed.labels(one["tier"] or "none", one["reason"]).inc()
            if one["tier"] is not None:
                self._metrics.routed_cost.labels(one["tier"]).inc(one["cost"])
        return told
