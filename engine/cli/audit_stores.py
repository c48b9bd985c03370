"""What else holds a subject of an audit log: the review queue, the memory graph, the feedback that learning keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aimds.record.subject import Subject


@dataclass(frozen=True, slots=True)
class Holding:
    """``count`` things of a subject in a store; ``given``: the user named it. ``way`` says how else to erase there,
    ``left`` what an erasure leaves, ``unknown`` why it could not be asked."""

    name: str
    where: Path | str
    given: bool
    count: int = 0
    what: str = ""
    way: str = ""
    left: str = ""
    unknown: str = ""
    tenants: dict[str, int] = field(default_factory=dict)
    erase: Callable[[], int] = lambda: 0


def one_tenant(subject: Subject, found: list[dict[str, int]]) -> None:
    """Refuse a session or request of several tenants: a client chooses its ids, so they are different subjects.

    Raises:
        ConfigError: the tenant has to be named; the message lists them.
    """
    from aimds.errors import ConfigError

    tenants = sorted({name for one in found for name in one})
    if subject.tenant is None and (subject.session is not None or subject.request is not None) and len(tenants) > 1:
        listed = ", ".join(name or '"" (rows of none)' for name in tenants)
        raise ConfigError("--tenant", None, f"one of {listed}: more than one has such an id")


def holdings(subject: Subject, *, review: str | None, graph: Path | None, learning: Path | None) -> list[Holding]:
    """What the stores hold of ``subject``: those given, and those in the usual places.

    Raises:
        AimdsError: a store that was given cannot be read.
    """
    from aimds.cli.graph_file import usual
    from aimds.cli.learn_state import state_folder
    from aimds.errors import AimdsError, ConfigError
    from aimds.learn.rounds import FEEDBACK
    from aimds.respond.review.store import place

    places: tuple[tuple[str, Path | str | None, Path, Callable[[Subject, Any, bool], Holding]], ...] = (
        ("review", None if review is None else place(review), Path("review.db"), _review),
        ("graph", graph, usual(), _graph),
        ("learning", learning, state_folder(None), _learning),
    )
    out = []
    for name, asked, default, look in places:
        where = asked or default
        if isinstance(where, Path):
            present = (where / FEEDBACK).is_dir() if name == "learning" else where.exists()
            if asked is None and not present:
                continue
            if asked is not None and not where.exists():
                raise ConfigError(f"--{name}", str(asked), "a store that is there")
        if subject.identity is not None:
            out.append(
                Holding(name, where, False, unknown=f"{where} does not know identities; name a session or tenant")
            )
            continue
        try:
            out.append(look(subject, where, asked is not None))
        except AimdsError as error:
            if asked is not None:
                raise
            out.append(Holding(name, where, False, unknown=f"could not be looked at: {error}"))
    return out


def _review(subject: Subject, where: Path | str, given: bool) -> Holding:
    from aimds.cli.review_options import now, opened, reviewer
    from aimds.respond.review import retention

    def erase() -> int:
        with opened(where) as queue:
            return retention.erase(queue.store, subject, now(), reviewer(None).name)

    with opened(where) as queue:
        tenants = retention.tenants(queue.store, subject)
    return Holding(
        *("review", where, given, sum(tenants.values()), "items", "aimds review erase, or --review here"),
        left="an empty item each, with its label and its times",
        tenants=tenants,
        erase=erase,
    )


def _graph(subject: Subject, where: Path, given: bool) -> Holding:
    from aimds.cli.graph_file import opened
    from aimds.cli.graph_keep import subject_of, take_out

    with opened(where) as (store, _):
        names, tenants = subject_of(store, subject.session, subject.tenant, subject.request)

    def erase() -> int:
        with opened(where) as (store, _):
            return take_out(store, subject.session, subject.tenant, subject.request)

    return Holding(
        *("graph", where, given, len(names), "events", "aimds graph erase, or --graph here"),
        left="nameless stubs where a chain of others leads through",
        tenants=tenants,
        erase=erase,
    )


def _learning(subject: Subject, where: Path, given: bool) -> Holding:
    from aimds.learn.feedback import Replay
    from aimds.learn.rounds import FEEDBACK

    replay = Replay(where / FEEDBACK)
    whose = {"session": subject.session, "tenant": subject.tenant, "request": subject.request}
    tenants = replay.tenants(**whose)
    return Holding(
        *("learning", where, given, sum(tenants.values()), "rows", "aimds learn erase, or --learning here"),
        left="what was learnt from the rows stays in force until another round is promoted",
        tenants=tenants,
        erase=lambda: replay.erase(**whose),
    )
