"""Verdicts in, choices out: who may go where, how hard it is, what it costs, and which tier that makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import ConfigError, SchemaError
from aimds.route.choices import CACHE, CHOICES, REASONS, SENDS
from aimds.route.choose import Table, choose
from aimds.route.complexity import Complexity, complexity
from aimds.route.ledger import Ledger
from aimds.route.tiers import Tiers
from aimds.schema import enum, text_column

Flags = npt.NDArray[np.bool_]
I8 = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]

NEEDED = ("request_id", "tenant", "channel", "action", "session_action", "status", "spans", "session_id", "turn")
"""Columns of VERDICTS that routing reads; ``mitigated_text`` too where an action sends it."""
_CODE = {name: code for code, name in enumerate(REASONS)}
MITIGATED = ("redact", "sandwich")
PROMPTS = ("user", "tool", "document")
"""Channels whose texts a model is asked to answer."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the verdicts of B rows allow.

    ``reason`` int8 (B,): of those that go nowhere, else -1. ``private`` bool (B,): local tiers only, for what the row
    holds; ``local_only``: also what the settings keep local. ``cacheable``: an answer may be kept and given again.
    ``sends`` int8 (B,) into SENDS; ``texts`` large_string (B,), what would be sent.
    """

    reason: I8
    private: Flags
    local_only: Flags
    cacheable: Flags
    sends: I8
    texts: pa.Array


class Router:
    """Chooses tiers for batches.

    Args:
        tiers: the checked file.
        ledger: what tenants have spent; by default a new one with the budgets of ``tiers``.
        threads: for the kernels.
    """

    def __init__(self, tiers: Tiers, ledger: Ledger | None = None, *, threads: int = 1) -> None:
        self.tiers, self.threads = tiers, threads
        self.ledger = ledger or Ledger(tiers.budgets)
        self.table = Table.of(tiers)

    def standing(
        self, verdicts: pa.Table | pa.RecordBatch, *, private: Flags | None = None, texts: pa.Array | None = None
    ) -> Standing:
        """What ``verdicts`` allow; ``private`` marks rows that are private for reasons of the caller's own, ``texts``
        are the rows' texts where the verdicts have no column ``text``.

        Raises:
            SchemaError: a column is missing, or has another length.
        """
        for name in NEEDED:
            if verdicts.schema.get_field_index(name) < 0:
                raise SchemaError(name, "missing; routing needs whole verdicts, as aimds scan writes them")
        if not pa.types.is_list(verdicts.schema.field("spans").type):
            raise SchemaError("spans", f"holds {verdicts.schema.field('spans').type}, expected a list")
        n = verdicts.num_rows
        if texts is None:
            if verdicts.schema.get_field_index("text") < 0:
                raise SchemaError("text", "missing; aimds scan --with-text keeps it beside the verdicts")
            texts = _column(verdicts, "text")
        given = text_column(texts)
        if len(given) != n or (private is not None and len(private) != n):
            raise SchemaError("text" if len(given) != n else "private", f"has other rows than the {n} verdicts")
        action, status = _strings(verdicts, "action"), _strings(verdicts, "status")
        mitigated = _is(action, *MITIGATED)
        reason = np.full(n, -1, np.int8)

        def nowhere(rows: Flags, why: str) -> None:
            reason[rows & (reason < 0)] = _CODE[why]

        # An action that is not known here is not one that lets a row pass.
        passes = _is(action, "allow", "flag", *MITIGATED)
        nowhere(_is(status, "error") | ~_is(status, "ok", "partial"), "unjudged")
        nowhere(_is(action, "escalate"), "escalated")
        nowhere(~passes, "blocked")
        session = _strings(verdicts, "session_action")
        # A limited session may send a few turns; one that is too many is blocked by its action.
        nowhere(~_is(session, "none", "rate_limit"), "held")
        private_rows = self._private(verdicts, status) | (np.zeros(n, np.bool_) if private is None else private)
        flagged = ~_is(action, "allow")
        if self.tiers.privacy.flagged == "nowhere":
            nowhere(flagged, "flagged")
        sent = given
        if mitigated.any():
            index = verdicts.schema.get_field_index("mitigated_text")
            instead = text_column(_column(verdicts, "mitigated_text")) if index >= 0 else pa.nulls(n, pa.large_string())
            sent = pc.if_else(pa.array(mitigated), instead, given)
            nowhere(mitigated & _nulls(sent), "unmitigated")
        nowhere(_nulls(sent), "no_text")
        nowhere(~_is(_strings(verdicts, "channel"), *PROMPTS), "no_prompt")
        sends = np.where(reason >= 0, 0, np.where(mitigated, 2, 1)).astype(np.int8)
        local_only = private_rows | (flagged & (self.tiers.privacy.flagged == "local"))
        cacheable = (
            (reason < 0) & ~flagged & ~private_rows & _is(status, "ok") & _is(session, "none") & _alone(verdicts)
        )
        return Standing(reason, private_rows, local_only, cacheable, sends, sent)

    def route(
        self,
        verdicts: pa.Table | pa.RecordBatch,
        *,
        now: float,
        standing: Standing | None = None,
        cached: I8 | None = None,
        output_tokens: I64 | None = None,
    ) -> pa.RecordBatch:
        """CHOICES for ``verdicts``, same rows, same order; the budgets are charged.

        Args:
            now: seconds since 1970, for the budgets.
            standing: what `standing` made of the verdicts; by default made here.
            cached: int8 (B,) into CACHE, what the cache said; a hit costs nothing and goes to no tier.
            output_tokens: int64 (B,), how long the answers may be; by default what the file says.

        Raises:
            SchemaError: a column is missing.
            ConfigError: a length that does not fit, or a hit of a row that may not have one.
        """
        return self.booked(verdicts, now=now, standing=standing, cached=cached, output_tokens=output_tokens)[0]

    def booked(
        self,
        verdicts: pa.Table | pa.RecordBatch,
        *,
        now: float,
        standing: Standing | None = None,
        cached: I8 | None = None,
        output_tokens: I64 | None = None,
    ) -> tuple[pa.RecordBatch, int]:
        """As `route`, and the period in which the budgets were charged, for who puts them right: not always that of
        ``now``, since another batch may have begun the next one meanwhile."""
        stand = standing or self.standing(verdicts)
        n = verdicts.num_rows
        found = np.zeros(n, np.int8) if cached is None else cached
        out = np.full(n, self.tiers.output_tokens, np.int64) if output_tokens is None else output_tokens
        if len(stand.reason) != n or len(found) != n or len(out) != n:
            raise ConfigError("cached, output_tokens", (len(stand.reason), len(found), len(out)), f"{n} rows each")
        if n and int(out.min()) < 0:
            raise ConfigError("output_tokens", int(out.min()), "whole numbers from 0 up")
        hit = found >= CACHE.index("exact")
        if bool((hit & ~stand.cacheable).any()):
            raise ConfigError(
                "cached", int(np.flatnonzero(hit & ~stand.cacheable)[0]), "no hit of a row that is barred"
            )
        asked = complexity(stand.texts, threads=self.threads)
        wanted = (stand.reason < 0) & ~hit
        names, tenant = _tenants(verdicts)
        costs = self.table.costs(asked.tokens, out)
        total = asked.tokens + out
        with self.ledger.hold(names, now) as held:
            chosen, order = choose(
                self.table, wanted, stand.local_only, asked.score, total, costs, tenant, held.left
            )  # fmt: skip
            cost = np.where(chosen >= 0, costs[np.arange(n), np.maximum(chosen, 0)], 0.0)
            held.booked += np.bincount(tenant, cost, len(names))
        return self._table(verdicts, stand, found, asked, out, costs, chosen, order, cost), held.period

    def _private(self, verdicts: pa.Table | pa.RecordBatch, status: pa.Array) -> Flags:
        spans = _column(verdicts, "spans")
        counts = pc.fill_null(pc.list_value_length(spans), 0)
        found: Flags = np.asarray(counts) > 0
        settings = self.tiers.privacy
        if settings.ignored and found.any():
            kinds = pc.struct_field(pc.list_flatten(spans), "kind")
            counted = ~np.asarray(pc.is_in(kinds, pa.array(settings.ignored, pa.string())))
            found = np.bincount(np.asarray(pc.list_parent_indices(spans))[counted], minlength=len(spans)) > 0
        # A detector that could not judge may be the one that looks for personal data.
        found = found | ~_is(status, "ok") | _nulls(spans)
        return found | _is(_strings(verdicts, "tenant"), *settings.tenants)

    def _table(
        self,
        verdicts: pa.Table | pa.RecordBatch,
        stand: Standing,
        found: I8,
        asked: Complexity,
        out: I64,
        costs: Any,
        chosen: I8,
        order: I8,
        cost: Any,
    ) -> pa.RecordBatch:
        hit = found >= CACHE.index("exact")
        reason = stand.reason.copy()
        sent, first = chosen >= 0, order[:, 0]
        able = sent & (self.table.capability[np.maximum(chosen, 0)] >= asked.score)
        reason[sent] = _CODE["cheapest"]
        reason[able & stand.local_only] = _CODE["kept_local"]
        reason[sent & ~able] = _CODE["stretched"]
        reason[sent & (chosen != first)] = _CODE["saving"]
        lost = (stand.reason < 0) & ~hit & ~sent
        fits = asked.tokens + out <= self.table.context.max()
        reason[lost] = np.where(
            first[lost] >= 0,
            _CODE["budget"],
            np.where(stand.local_only[lost] & fits[lost], _CODE["private"], _CODE["too_long"]),
        )
        reason[hit] = _CODE["cache"]
        strongest = np.where(sent | hit, costs[:, self.tiers.strongest], 0.0)
        names = tuple(tier.name for tier in self.tiers.tiers)
        rest = (order >= 0) & (order != chosen[:, None]) & sent[:, None]
        # A tier that stands before the chosen one was too dear, and is no fallback.
        rest &= np.cumsum(order == chosen[:, None], axis=1) > 0
        bounds = np.zeros(len(chosen) + 1, np.int32)
        np.cumsum(rest.sum(1), out=bounds[1:])
        columns = {
            "request_id": _strings(verdicts, "request_id"),
            "tenant": _strings(verdicts, "tenant"),
            "tier": pa.DictionaryArray.from_arrays(pa.array(chosen, mask=~sent), pa.array(names)),
            "reason": enum(REASONS, reason),
            "sends": enum(SENDS, np.where(sent, stand.sends, 0).astype(np.int8)),
            "private": pa.array(stand.private),
            "complexity": pa.array(asked.score),
            "input_tokens": pa.array(asked.tokens),
            "output_tokens": pa.array(np.where(sent, out, 0)),
            "cost": pa.array(cost),
            "strongest_cost": pa.array(strongest),
            "cache": enum(CACHE, found),
            "fallbacks": pa.ListArray.from_arrays(pa.array(bounds), pa.array(names).take(pa.array(order[rest]))),
        }
        return pa.RecordBatch.from_arrays([columns[field.name] for field in CHOICES], schema=CHOICES)


def _column(table: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def _strings(table: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = _column(table, name)
    return column.cast(pa.string()) if column.type != pa.string() else column


def _is(column: pa.Array, *names: str) -> Flags:
    if not names:
        return np.zeros(len(column), np.bool_)
    return np.asarray(pc.is_in(column, pa.array(names, pa.string())))


def _nulls(column: pa.Array) -> Flags:
    return np.asarray(column.is_null())


def _alone(verdicts: pa.Table | pa.RecordBatch) -> Flags:
    # An answer belongs to its whole conversation: only a user's first words can be asked by another.
    turn = _column(verdicts, "turn")
    first: Flags = _nulls(_column(verdicts, "session_id")) | np.asarray(pc.fill_null(pc.equal(turn, 0), False))
    return first & _is(_strings(verdicts, "channel"), "user")


def _tenants(verdicts: pa.Table | pa.RecordBatch) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Different tenants, "" for rows without one, and the place of each row's."""
    encoded = pc.fill_null(_strings(verdicts, "tenant"), "").dictionary_encode()
    return encoded.dictionary.to_pylist(), np.asarray(encoded.indices).astype(np.int32)
