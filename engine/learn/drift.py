"""An alarm when a rate rises: the test of Page 1954 (doi:10.1093/biomet/41.1-2.100) in the form of Hinkley."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, types

from aimds.errors import ConfigError, SchemaError

_STATE, _VALUES = types.float64[::1], types.Array(types.float64, 1, "C", readonly=True)


@njit(
    types.void(_STATE, _VALUES, types.float64, types.float64, types.int64, types.boolean[::1]), cache=True, nogil=True
)
def _run(state, values, slack, threshold, least, alarms):  # type: ignore[no-untyped-def]
    for i in range(len(values)):
        state[0] += 1.0
        state[1] += (values[i] - state[1]) / state[0]
        state[2] += values[i] - state[1] - slack
        state[3] = min(state[3], state[2])
        alarms[i] = state[0] >= least and state[2] - state[3] > threshold
        if alarms[i]:
            state[:] = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """``slack``: rises let pass; ``threshold``: what the others may add up to; ``least``: values before any alarm."""

    slack: float = 0.005
    threshold: float = 50.0
    least: int = 30

    def __post_init__(self) -> None:
        if not (self.slack >= 0 and self.threshold > 0 and self.least >= 1):
            raise ConfigError("drift", self, "slack of at least 0, a threshold above 0, at least 1 value")


class PageHinkley:
    """Watches one stream; after an alarm it begins anew. ``state`` float64 (4,): count, mean, sum, its least."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.limits = limits
        self.state: npt.NDArray[np.float64] = np.zeros(4)

    def update(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Where the next N ``values`` give an alarm, bool (N,).

        Raises:
            SchemaError: a value is no number; none is taken up.
        """
        found = np.ascontiguousarray(values, np.float64).reshape(-1)
        if not np.isfinite(found).all():
            raise SchemaError("values", "is no number", row=int(np.flatnonzero(~np.isfinite(found))[0]))
        alarms = np.zeros(len(found), np.bool_)
        _run(self.state, found, self.limits.slack, self.limits.threshold, self.limits.least, alarms)
        return alarms


class Traffic:
    """Watches how many rows are caught, as counts come; a state for `aimds.actors.keeper.Keeper`."""

    def __init__(self) -> None:
        self._drift = PageHinkley()

    def seen(self, rows: int, caught: int) -> int:
        """Take ``rows`` of which ``caught`` were caught; alarms at them."""
        # The order in which they came is not known: those caught are spread evenly over the others.
        steps = np.arange(rows + 1) * caught // max(1, rows)
        return int(self._drift.update(np.diff(steps)).sum())

    def snapshot(self) -> list[float]:
        """Where it stands."""
        return [float(one) for one in self._drift.state]

    def restore(self, snapshot: list[float]) -> None:
        """Go on from there."""
        self._drift.state[:] = snapshot
