"""What the commands of `aimds review` share: the place, who asks, the time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aimds.respond.review import Queue, Reviewer

QueuePlace = Annotated[
    str,
    typer.Option("--queue", "-q", metavar="FILE|URL", help="The review queue: a file, or postgresql://HOST/DATABASE."),
]
ReviewerName = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who you are.  \\[default: the user of this system]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ItemId = Annotated[int, typer.Argument(help="Its number, as in the list.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; stays in the history.")]


@contextlib.contextmanager
def opened(where: Path | str, *, create: bool = False) -> Iterator[Queue]:
    """The queue in ``where``."""
    from aimds.respond.review import Queue

    found = Queue(where, create=create)
    try:
        yield found
    finally:
        found.close()


def reviewer(name: str | None) -> Reviewer:
    """Who asks. Whoever may write the queue may say any name: it is as good as the permissions of file or database.

    Raises:
        ConfigError: this system does not say who its user is.
    """
    from aimds.errors import ConfigError
    from aimds.respond.review import Reviewer

    if name is None:
        import getpass

        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            raise ConfigError("--as", None, "a name: this system does not say who its user is") from None
    return Reviewer(name)


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)
