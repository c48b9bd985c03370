"""What the commands of `aimds learn` share: options, where state and key lie, the clock."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimds.cli import secret_key
from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.detect.patterns.keys import SigningKey

KEY_FILE = "learning-key.pem"

StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="The state.  \\[default: learning in the user's data folder]", show_default=False
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        "--key", metavar="FILE", help="Secret key.  \\[default: learning-key.pem beside the state]", show_default=False
    ),
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="The person who answers for it; kept.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why; kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def state_folder(asked: Path | None) -> Path:
    """The state ``asked`` for, by default the user's."""
    from aimds.detect.patterns.store import home
    from aimds.learn.rounds import FOLDER

    return asked or home(os.environ) / FOLDER


def key_file(asked: Path | None) -> Path:
    """The secret key ``asked`` for, by default the user's; it lies outside the state."""
    return secret_key.key_file(asked, KEY_FILE)


def signer(asked: Path | None) -> SigningKey:
    """The secret key ``asked`` for, by default the user's.

    Raises:
        ConfigError: there is none, or the file holds no key.
    """
    return secret_key.signer(asked, KEY_FILE, made_by="aimds learn keygen")


def now() -> datetime:
    """The time that is written into events."""
    return datetime.now(UTC)


def say(line: str) -> None:
    """Print ``line`` with what would steer a terminal written out."""
    typer.echo(visible(line, LINE))
