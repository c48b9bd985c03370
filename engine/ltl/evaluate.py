"""Whole batches of finished traces: does each formula hold on each trace?

Formulas without intervals go through `bitslice`, those with intervals or with the future inside the past, and very
long traces, through `columns`; of many steps, formulas with one deadline each go through `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from aimds.kernels import ragged
from aimds.ltl import bitslice, columns
from aimds.ltl.automaton import PRESUMABLY_YES, automaton
from aimds.ltl.core import FragmentError, LimitError, Pool
from aimds.ltl.formula import Formula
from aimds.ltl.tables import Tables
from aimds.ltl.traces import TraceError, Traces

MANY: Final = 1 << 16
"""Steps from which an automaton of a formula with a deadline is worth making."""
MAX_SLICED: Final = 1 << 14
"""Longest trace, in steps, that is cut into bits: a block of 1,024 takes 128 bytes a step and event."""


class Evaluator:
    """``formulas`` made ready for traces whose events are called ``names``; events of no other name occur in them."""

    def __init__(self, formulas: Sequence[Formula], names: Sequence[str]) -> None:
        self.names, self._formulas = tuple(names), list(formulas)
        self._tables: tuple[Tables | None] | None = None
        pool = Pool()
        roots = [pool.add(formula) for formula in formulas]
        place = {name: bit for bit, name in enumerate(self.names)}
        bits = {number: place[name] for number, name in enumerate(pool.atoms) if name in place}
        self._all = columns.Program.of(pool, roots, bits)
        timed = [any(pool.nodes[n].within is not None for n in pool.under(root)) for root in roots]
        self._timed = np.array(timed, np.bool_)
        hard = self._timed | np.array([pool.mixed(root) for root in roots], np.bool_)
        self._hard, self._easy = np.flatnonzero(hard), np.flatnonzero(~hard)
        self._columns = columns.Program.of(pool, [roots[k] for k in self._hard], bits)
        self._sliced = bitslice.Program.of(pool, [roots[k] for k in self._easy], bits)

    def run(self, traces: Traces, *, threads: int = 1) -> npt.NDArray[np.bool_]:
        """Whether each formula holds on each trace, bool (B, P).

        Raises:
            TraceError: the traces name their events otherwise, or have no times although a formula asks for them.
        """
        if traces.names != self.names:
            raise TraceError(f"name the events {', '.join(traces.names)}, expected {', '.join(self.names)}")
        if traces.times is None and self._timed.any():
            raise TraceError("have no times, and a formula has an interval")
        out = np.zeros((len(traces), len(self._timed)), np.bool_)
        lengths = np.diff(traces.offsets)
        order = np.argsort(lengths, kind="stable")
        short = order[: np.searchsorted(lengths[order], MAX_SLICED, side="right")]
        if len(self._easy) and len(short):
            values, offsets = (traces.values, traces.offsets) if len(short) == len(traces) else _chosen(traces, short)
            rows = slice(None) if len(short) == len(traces) else short[:, None]
            out[rows, self._easy] = self._sliced.run(values, offsets, threads=threads)
        if len(self._hard):
            swift = self._swift() if len(traces.values) >= MANY and lengths.min() > 0 else None
            out[:, self._hard] = self._by_columns(self._columns, traces, threads) if swift is None else swift(traces)
        long = order[len(short) :]
        if len(self._easy) and len(long):
            values, offsets = _chosen(traces, long)
            times = np.zeros(len(values), np.int64) if traces.times is None else traces.times
            part = Traces(traces.names, values, offsets, times[: len(values)] * 0)
            out[long[:, None], self._easy] = self._by_columns(self._all, part, threads)[:, self._easy]
        return out

    def _swift(self) -> Callable[[Traces], npt.NDArray[np.bool_]] | None:
        # By tables, where each of the hard formulas has one with one deadline.
        if self._tables is None:
            try:
                found = tuple(automaton(self._formulas[k]) for k in self._hard.tolist())
            except (FragmentError, LimitError):
                found = ()
            made = Tables.of(found, self.names) if all(len(one.limits_us) == 1 for one in found) else None
            self._tables = (made if found and made is not None and made.swift else None,)
        tables = self._tables[0]
        if tables is None:
            return None
        return lambda traces: tables.trail(traces.values, traces.times, traces.offsets)[0] >= PRESUMABLY_YES

    @staticmethod
    def _by_columns(program: columns.Program, traces: Traces, threads: int) -> npt.NDArray[np.bool_]:
        found = np.zeros((len(traces), len(program.roots)), np.uint8)
        times = np.zeros(len(traces.values), np.int64) if traces.times is None else traces.times

        def part(first: int, last: int) -> None:
            program.run(traces.values, times, traces.offsets, first, last, found)

        ragged.each(part, traces.offsets, threads)
        return found.astype(np.bool_)


def _chosen(traces: Traces, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    # The values of ``rows`` alone, and their offsets.
    values = np.concatenate([traces.values[traces.offsets[r] : traces.offsets[r + 1]] for r in rows])
    return values, np.concatenate([[0], np.cumsum(np.diff(traces.offsets)[rows])]).astype(np.int64)


def evaluate(formulas: Sequence[Formula], traces: Traces, *, threads: int = 1) -> npt.NDArray[np.bool_]:
    """Whether each of P ``formulas`` holds on each of B ``traces``, bool (B, P).

    Raises:
        TraceError: a formula has an interval, but the traces have no times.
        LimitError: the formulas have too many different parts.
    """
    return Evaluator(formulas, traces.names).run(traces, threads=threads)
