"""When a file of the audit log is closed, and how the next one takes its place."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from aimds.errors import ConfigError, DataError
from aimds.record.journal import Journal


@dataclass(frozen=True, slots=True)
class Rotation:
    """When a file is closed and the next one begun, and how often a signed log is signed within itself. By default size
    alone counts, not age.

    Raises:
        ConfigError: a value that cannot be used.
    """

    segment_bytes: int = 256 << 20
    segment_s: float = math.inf
    checkpoint_records: int = 10_000
    checkpoint_s: float = 60.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ConfigError(f"rotation.{name}", value, "more than 0")


BY_SIZE = Rotation()


def follow(journal: Journal, path: Path, target: Path, line: bytes) -> Journal:
    """A fresh file that begins with ``line``, in the place of ``journal`` at ``path``, which is closed as ``target``.

    Raises:
        DataError: there is such a closed file, or the files cannot be exchanged; ``journal`` goes on where ``path``
            is still there, else it is broken.
    """
    if target.exists():
        raise DataError(target, "is there already; see aimds audit verify")
    fresh = path.with_name(f"{path.name}.next")
    following = Journal(fresh, fresh=True)
    try:
        following.append(line)
        os.rename(path, target)
        os.rename(fresh, path)
    except BaseException as error:
        following.close()
        if not path.exists():
            journal.broken = "could not be followed by another file; open it anew"
        if not isinstance(error, (OSError, DataError)):
            raise
        raise DataError(path, f"cannot be closed and followed by another file: {error}") from error
    journal.close()
    following.path = path
    return following
