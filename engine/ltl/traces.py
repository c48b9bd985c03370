"""Traces as arrays: a mask of events a step, a time a step, and where each trace begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from aimds.errors import AimdsError
from aimds.kernels import ragged

MAX_EVENTS: Final = 64


class TraceError(AimdsError):
    """Traces cannot be used: names the trace where one is at fault."""

    def __init__(self, problem: str, *, trace: int | None = None) -> None:
        self.problem, self.trace = problem, trace
        super().__init__((f"trace {trace}: " if trace is not None else "traces: ") + problem)


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """B traces of N steps in all.

    ``values`` uint64 (N,): bit k is event ``names[k]``; ``offsets`` int64 (B+1,); ``times`` int64 (N,) microseconds, or
    None where time is not known. The clock of a trace never goes back: a step with an earlier time than one before it
    counts as happening at the time of that one.

    Raises:
        TraceError: more than 64 events, arrays that do not fit each other, or a trace without a step.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if len(self.names) > MAX_EVENTS or len(set(self.names)) != len(self.names):
            raise TraceError(f"have {len(self.names)} names of events, expected at most {MAX_EVENTS} different ones")
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise TraceError(f"offsets do not run from 0 to {len(self.values)}, the number of steps")
        ragged.check("traces", "offsets", self.offsets, len(self.values))
        empty = np.flatnonzero(np.diff(self.offsets) == 0)
        if len(empty):
            raise TraceError("has no step, and a policy speaks of at least one", trace=int(empty[0]))
        if self.times is not None:
            if len(self.times) != len(self.values):
                raise TraceError(f"have {len(self.times)} times for {len(self.values)} steps")
            object.__setattr__(self, "times", forward(self.times, self.offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(
        cls,
        steps: Sequence[Sequence[Iterable[str]]],
        times: Sequence[Sequence[int]] | None = None,
        names: Iterable[str] = (),
    ) -> Traces:
        """Traces of sets of event names; ``names`` are those that come first."""
        known = {name: bit for bit, name in enumerate(dict.fromkeys(names))}
        for trace in steps:
            for step in trace:
                for name in step:
                    known.setdefault(name, len(known))
        if len(known) > MAX_EVENTS:
            raise TraceError(f"have {len(known)} names of events, expected at most {MAX_EVENTS} different ones")
        masks = [sum(1 << known[name] for name in set(step)) for trace in steps for step in trace]
        offsets = np.cumsum([0, *map(len, steps)], dtype=np.int64)
        flat = None if times is None else np.array([time for trace in times for time in trace], np.int64)
        return cls(tuple(known), np.array(masks, np.uint64), offsets, flat)

    def steps(self, trace: int) -> list[tuple[int | None, frozenset[str]]]:
        """Time and events of each step of trace number ``trace``."""
        begin, end = int(self.offsets[trace]), int(self.offsets[trace + 1])
        times: list[int | None] = [None] * (end - begin)
        if self.times is not None:
            times = self.times[begin:end].tolist()
        masks = self.values[begin:end].tolist()
        sets = (frozenset(name for bit, name in enumerate(self.names) if mask >> bit & 1) for mask in masks)
        return list(zip(times, sets, strict=True))


def forward(times: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``times`` with each one that lies before an earlier one of its trace set to that; a copy only where needed."""
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    rows = np.unique(np.searchsorted(offsets, falls, side="right") - 1)
    out = times
    for row in rows.tolist():
        begin, end = offsets[row], offsets[row + 1]
        if (np.diff(times[begin:end]) < 0).any():
            out = times.copy() if out is times else out
            out[begin:end] = np.maximum.accumulate(times[begin:end])
    return out
