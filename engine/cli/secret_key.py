"""The secret key that a command signs with: the one asked for, by default the user's, outside of what it signs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aimds.detect.patterns.keys import SigningKey


def key_file(asked: Path | None, name: str) -> Path:
    """The file ``asked`` for, by default ``name`` in the user's data folder."""
    from aimds.detect.patterns.store import home

    return asked or home(os.environ) / name


def signer(asked: Path | None, name: str, *, made_by: str) -> SigningKey:
    """The key in `key_file`; ``made_by`` is the command that makes one.

    Raises:
        ConfigError: there is none, or the file holds no key.
    """
    from aimds.detect.patterns import keys

    return keys.load(key_file(asked, name), made_by=made_by)
