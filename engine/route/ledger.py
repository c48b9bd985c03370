"""What tenants have spent in this period: booked when a tier is chosen, put right when the real count is known."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from aimds.errors import ConfigError
from aimds.route.tiers import Budgets

F64 = npt.NDArray[np.float64]


@dataclass(slots=True)
class Hold:
    """The tenants of a batch while it is decided, float64, one a name: what each may still spend, infinity where there
    is no limit, and what was ``booked`` for it, filled in by who decides; ``period`` says in which one."""

    left: F64
    booked: F64
    period: int


@dataclass(slots=True)
class Ledger:
    """Spending by tenant, for one process. Thread-safe: the choices of a batch are one step, so two batches at once
    cannot both spend the last of a budget."""

    budgets: Budgets
    _spent: dict[str, float] = field(default_factory=dict)
    _period: int | None = None
    _turns: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def use(self, budgets: Budgets) -> None:
        """Go by ``budgets`` from now on. What was spent stays so, unless the period is another: then all begin anew."""
        with self._lock:
            if budgets.period_s != self.budgets.period_s:
                self._period = None
            self.budgets = budgets

    def spent(self, tenant: str, now: float) -> float:
        """What ``tenant`` has spent in the period of ``now`` (seconds since 1970)."""
        with self._lock:
            self._turn(now)
            return self._spent.get(tenant, 0.0)

    def period(self, now: float) -> int:
        """The period that is booked into at ``now``, as a `Hold` names it."""
        with self._lock:
            self._turn(now)
            return self._turns

    @contextmanager
    def hold(self, names: Sequence[str], now: float) -> Iterator[Hold]:
        """Decide over the budgets of ``names``, different ones; nothing is booked if the body raises."""
        with self._lock:
            self._turn(now)
            limits = np.array([self.budgets.of(name) for name in names], np.float64)
            before = np.array([self._spent.get(name, 0.0) for name in names], np.float64)
            held = Hold(np.maximum(limits - before, 0.0), np.zeros(len(names)), self._turns)
            yield held
            for name, cost in zip(names, held.booked.tolist(), strict=True):
                if cost:
                    self._spent[name] = self._spent.get(name, 0.0) + cost

    def settle(self, tenant: str, estimated: float, actual: float, now: float, *, period: int) -> None:
        """Replace an ``estimated`` cost, booked in ``period`` when the tier was chosen, by the ``actual`` one.

        A call that ends in a later period than it began in is booked in neither: the estimate is gone with its period.

        Raises:
            ConfigError: a cost that is no finite number from 0 up.
        """
        for name, value in (("estimated", estimated), ("actual", actual)):
            if not 0 <= value < float("inf"):
                raise ConfigError(name, value, "a finite number from 0 up")
        with self._lock:
            self._turn(now)
            if period == self._turns and tenant in self._spent:
                self._spent[tenant] = max(0.0, self._spent[tenant] + actual - estimated)

    def swap(self, tenant: str, booked: float, other: float, now: float, *, period: int) -> bool:
        """Book ``other`` instead of ``booked``, for a fallback; False, and nothing done, where the budget lacks it.

        Where ``period`` is an earlier one, True and nothing done: see `settle`.
        """
        with self._lock:
            self._turn(now)
            if period != self._turns:
                return True
            spent = self._spent.get(tenant, 0.0) - booked + other
            if other > booked and spent > self.budgets.of(tenant):
                return False
            self._spent[tenant] = max(0.0, spent)
            return True

    def _turn(self, now: float) -> None:
        period = int(now // self.budgets.period_s)
        # A clock that goes back does not give a tenant its budget again.
        if self._period is None or period > self._period:
            self._period = period
            # Numbers by the clock would repeat where the length of periods changes.
            self._turns += 1
            self._spent.clear()
