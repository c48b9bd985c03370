"""How a scan follows sessions, and what the process that hands out its work has to know of that.

Judging is imported where it is asked for: a process that only hands out work holds neither compiler nor kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from aimds.jobs.scan import rows
from aimds.jobs.scan.columns import FLAGS
from aimds.jobs.scan.tasks import Factory
from aimds.jobs.scan.work import Across, Kind
from aimds.schema import VERDICTS

KIND: Final = Kind("scan", "verdicts", VERDICTS, rows.add_counts)


@dataclass(frozen=True, slots=True)
class Following:
    """How sessions are followed: judged by the `traces.load` ``policies``, if any; ``across_files``: their scores go on
    from file to file; ``attractor``: with that column; ``joined``: turns are judged together with those before them
    too."""

    policies: str | None = None
    across_files: bool = False
    attractor: bool = False
    joined: bool = False


def kind(following: Following, screener: Factory) -> Kind:
    """A scan that follows sessions so, with what ``screener`` makes.

    Raises:
        AimdsError: as `traces.load`.
    """
    across: list[Across] = []
    more = following.across_files or following.attractor or following.joined
    remarks = _without_sessions if more else KIND.remarks
    if following.across_files:
        from aimds.analyze.attractors import Attractors
        from aimds.analyze.session_model import SessionModel
        from aimds.jobs.scan import across as together

        types = Attractors.load().codes if following.attractor else None
        across.append(
            functools.partial(together.judge, SessionModel.load(), types, screener if following.joined else None)
        )
    if following.policies is not None:
        from aimds.jobs.scan import traces

        loaded = traces.load(following.policies)
        across.append(functools.partial(traces.judge, loaded))
        remarks = functools.partial(traces.remarks, loaded)
    return replace(KIND, across=tuple(across), remarks=remarks)


def _without_sessions(used: Mapping[str, str]) -> Sequence[str]:
    from aimds.jobs.scan import session_column

    return [] if session_column.wanted(used) else [f"no session column ({FLAGS['session_id']}): no session to follow"]


def factory(screener: Factory, following: Following) -> Factory:
    """What makes a `screening.Screening` with the screener that ``screener`` makes."""
    arguments = {"target": screener.target, "arguments": screener.arguments, "following": asdict(following)}
    return Factory("aimds.jobs.scan.screening:make", arguments)
