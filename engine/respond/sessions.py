"""What follows from a whole session: its score above a threshold, or a policy over sessions that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aimds.errors import ConfigError
from aimds.respond.scored import BY_STRENGTH, RANK, SESSION, TRACE, Codes
from aimds.respond.settings import Section, merged
from aimds.schema import ACTIONS, SESSION_ACTIONS

BANDS = ("low", "medium", "high", "critical")
BAND_ABOVE = np.array([0.70, 0.85, 0.95])
QUARANTINED, RATE_LIMITED = "session_quarantined", "session_rate_limited"
"""What stands among the violations of a turn of a session that is held."""
HELD = {QUARANTINED: "quarantine", RATE_LIMITED: "rate_limit"}
MOST_MINUTES = 60 * 24 * 366
LATER_ACTIONS = ("allow", "flag", "escalate", "block")
"""What may follow from a session: a text that was judged before is not changed any more."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """``action`` for the row and ``session_action`` for its session."""

    action: str
    session_action: str


@dataclass(frozen=True, slots=True)
class Band:
    """The `Consequence` ``then`` of a session whose score is greater than ``above``."""

    above: float
    then: Consequence


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """``bands`` by name, of BANDS all but low; ``traces`` by name of a policy, ``default`` for those not named."""

    bands: dict[str, Band]
    traces: dict[str, Consequence]


@dataclass(frozen=True, slots=True)
class Holding:
    """``action`` for the turns of sessions that are held for ``hold_s`` seconds, 0: until released. With a
    ``turns_per_minute``, turns up to it are none of them."""

    action: str
    hold_s: float
    turns_per_minute: float = 0.0


def read_quarantine(top: Section) -> Holding:
    """The key quarantine of ``top``.

    Raises:
        ConfigError: a value is missing or out of range, or a key is unknown.
    """
    section = top.section("quarantine")
    found = Holding(section.choice("action", LATER_ACTIONS), 60 * section.number("minutes", 0.0, MOST_MINUTES))
    section.end()
    return found


def read_rate_limit(top: Section) -> Holding:
    """The key rate_limit of ``top``.

    Raises:
        ConfigError: as `read_quarantine`.
    """
    section = top.section("rate_limit")
    found = Holding(
        section.choice("action", LATER_ACTIONS),
        60 * section.number("minutes", 0.0, MOST_MINUTES, open_low=True),
        section.number("turns_per_minute", 0.0, 1e6, open_low=True),
    )
    section.end()
    return found


def severity_band(confidence: npt.ArrayLike) -> Codes:
    """Code into BANDS, int8 (B,): above 0.95 critical, above 0.85 high, above 0.70 medium, else low; NaN is low."""
    values = np.nan_to_num(np.asarray(confidence, np.float64))
    return np.asarray(np.searchsorted(BAND_ABOVE, values, side="left"), np.int8)


def read_session_settings(top: Section) -> SessionSettings:
    """The keys sessions and traces of ``top``.

    Raises:
        ConfigError: a value is missing or out of range, or a key is unknown; names its place.
    """
    named = top.sections("sessions", BANDS[1:])
    bands: dict[str, Band] = {}
    for place, name in enumerate(BANDS[1:]):
        if name not in named:
            raise ConfigError(f"{top.key('sessions')}.{name}", None, "a table; the key is missing")
        above = named[name].number("above", 0.0, 1.0) if named[name].has("above") else float(BAND_ABOVE[place])
        bands[name] = Band(above, _consequence(named[name]))
        if place and above < bands[BANDS[place]].above:
            expected = f"a number from that of {BANDS[place]} ({bands[BANDS[place]].above:g}) to 1"
            raise ConfigError(named[name].key("above"), above, expected)
    found = top.sections("traces")
    if "default" not in found:
        raise ConfigError(f"{top.key('traces')}.default", None, "a table; the key is missing")
    for name in (QUARANTINED, RATE_LIMITED):
        if name in found:
            raise ConfigError(found[name].path, found[name].values, f"nothing; [{HELD[name]}] says what follows")
    general = found["default"].values
    parts = {name: Section(merged(general, part.values), part.path) for name, part in found.items()}
    return SessionSettings(bands, {name: _consequence(part) for name, part in parts.items()})


def _consequence(section: Section) -> Consequence:
    found = Consequence(section.choice("action", LATER_ACTIONS), section.choice("session_action", SESSION_ACTIONS))
    section.end()
    return found


class Consequences:
    """``settings`` of S tenants (0: those without their own) as arrays; `of` looks a whole batch up."""

    def __init__(self, settings: Sequence[SessionSettings], quarantine: Holding, rate_limit: Holding) -> None:
        held = {
            QUARANTINED: Consequence(quarantine.action, "quarantine"),
            RATE_LIMITED: Consequence(rate_limit.action, "rate_limit"),
        }
        self._above = np.array([[band.above for band in one.bands.values()] for one in settings], np.float32)
        self._bands = _codes([[band.then for band in one.bands.values()] for one in settings])
        own = [name for one in settings for name in one.traces if name != "default"]
        self._names = tuple(dict.fromkeys([*held, *own]))
        # The last column stands for every policy that is not named.
        names = (*self._names, "default")
        listed = [[held.get(name) or one.traces.get(name, one.traces["default"]) for name in names] for one in settings]
        self._traces = _codes(listed)
        self._known = pa.array(self._names, pa.string())

    def of(
        self, who: npt.NDArray[np.intp], session_score: npt.NDArray[np.float32], violations: pa.ListArray
    ) -> tuple[Codes, Codes, Codes]:
        """Action, session action and reason (0: nothing follows), int8 (B,) each.

        Args:
            who: place of each row's tenant (B,).
            session_score: float32 (B,), NaN where there is none.
            violations: B lists of names of policies.
        """
        n = len(who)
        rank, session, reason = np.zeros(n, np.int8), np.zeros(n, np.int8), np.zeros(n, np.int8)
        scored = np.flatnonzero(~np.isnan(session_score))
        for band in range(self._above.shape[1]) if len(scored) else ():
            rows = scored[session_score[scored] > self._above[who[scored], band]]
            self._take(rows, self._bands[:, who[rows], band], SESSION, rank, session, reason)
        counts = pc.fill_null(pc.list_value_length(violations), 0).to_numpy(zero_copy_only=False)
        if counts.any():
            rows = np.repeat(np.arange(n), counts)
            names = pc.list_flatten(violations).cast(pa.string())
            places = pc.fill_null(pc.index_in(names, value_set=self._known), len(self._names))
            column = places.to_numpy(zero_copy_only=False)
            self._take(rows, self._traces[:, who[rows], column], TRACE, rank, session, reason)
        return BY_STRENGTH[rank], session, reason

    def of_score(self, who: int, session_score: float) -> tuple[int, int]:
        """Action and session action that the score of one session leads to; ``who`` and NaN as in `of`."""
        over = self._bands[:, who, session_score > self._above[who]]
        return int(BY_STRENGTH[RANK[over[0]].max(initial=0)]), int(over[1].max(initial=0))

    def of_policy(self, who: int, name: str) -> tuple[int, int]:
        """Action and session action that follow where one session breaks the policy ``name``."""
        place = self._names.index(name) if name in self._names else len(self._names)
        return int(self._traces[0, who, place]), int(self._traces[1, who, place])

    @staticmethod
    def _take(rows: npt.NDArray[np.int64], found: Codes, why: int, rank: Codes, session: Codes, reason: Codes) -> None:
        before = rank[rows]
        strength = RANK[found[0]].astype(np.int8)
        np.maximum.at(rank, rows, strength)
        np.maximum.at(session, rows, found[1])
        reason[rows[strength > before]] = why


def _codes(listed: Sequence[Sequence[Consequence]]) -> Codes:
    actions = [[ACTIONS.index(one.action) for one in row] for row in listed]
    sessions = [[SESSION_ACTIONS.index(one.session_action) for one in row] for row in listed]
    return np.array([actions, sessions], np.int8)
